"""The ACTIVE DNS rules as a table of answers that are packed already, for everybody and for each scope."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mep.dns import wire
from mep.dns.backends.contract import Key, RecordSet
from mep.dns.scopes import Address, Order, Scope

#: Responses that are kept, over all views: about 15 MB.
KEPT = 50_000
Kept = tuple[bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known about one name: its records packed one after the other, and what says that there is nothing."""

    a: bytes
    a_count: int
    aaaa: bytes
    aaaa_count: int
    nothing: bytes
    any: bytes
    sets: tuple[RecordSet, ...]


@dataclass(slots=True)
class View:
    """What clients of the same scopes see.

    `memo` holds responses to whole queries: the header without the id, where the question ends, what follows it.
    """

    names: tuple[str, ...]
    layers: tuple[dict[bytes, Answers], ...]
    memo: dict[bytes, Kept] = field(default_factory=dict)

    def find(self, name: bytes) -> Answers | None:
        """Return what is answered about a name (wire form, lower case); None when no rule knows it.

        The first scope that has the name decides about all of it, so that one app's IPv4 address is never mixed
        with another's IPv6 address.
        """
        for layer in self.layers:
            found = layer.get(name)
            if found is not None:
                return found
        return None


class Table:
    """Answers by scope and name in wire form; belongs to one thread."""

    def __init__(self, sets: Iterable[RecordSet] = (), scopes: Iterable[Scope] = ()) -> None:
        #: Written into the SOA of negative answers.
        self.serial = 0
        self.everybody: dict[bytes, Answers] = {}
        self._layers: dict[str, dict[bytes, Answers]] = {"": self.everybody}
        self._views: dict[tuple[str, ...], View] = {}
        self._kept = 0
        self.order = Order(scopes)
        self.change(sets)

    def __len__(self) -> int:
        return sum(len(layer) for layer in self._layers.values())

    def sets(self) -> Iterator[RecordSet]:
        """Return every set of records."""
        return (each for layer in self._layers.values() for answers in layer.values() for each in answers.sets)

    def change(self, put: Iterable[RecordSet] = (), delete: Iterable[Key] = ()) -> None:
        """Change some sets; costs as much as they are many, not as the table is large."""
        touched: dict[tuple[str, str], dict[str, RecordSet | None]] = {}
        for scope, name, kind in delete:
            touched.setdefault((scope, name), {})[kind] = None
        for each in put:
            touched.setdefault((each.scope, each.name), {})[each.kind] = each
        for (scope, name), kinds in touched.items():
            layer = self._layers.setdefault(scope, {})
            owner = wire.wire_name(name)
            known = layer.get(owner)
            now = {each.kind: each for each in known.sets} if known else {}
            left = [each for each in (now | kinds).values() if each is not None]
            if left:
                layer[owner] = _pack(left, self.serial)
            else:
                layer.pop(owner, None)
        if touched:
            self.forget()

    def use(self, scopes: Iterable[Scope]) -> None:
        """Take over who belongs to which scope; views handed out before are void."""
        self.order = Order(scopes)
        self.forget()
        self._views = {}

    def view(self, source: Address) -> View:
        """Return what a client sees: UE scopes first, then application, then zone, then what is for everybody."""
        names = self.order.of(source)
        known = self._views.get(names)
        if known is None:
            layers = tuple(self._layers.setdefault(name, {}) for name in (*names, ""))
            known = self._views[names] = View(names, layers)
        return known

    def keep(self, view: View, query: bytes, response: Kept) -> None:
        """Keep a response until something changes."""
        if self._kept >= KEPT:
            self.forget()
        self._kept += 1
        view.memo[query] = response

    def forget(self) -> None:
        """Drop the responses that were kept."""
        self._kept = 0
        for view in self._views.values():
            if view.memo:
                view.memo.clear()


def _pack(sets: list[RecordSet], serial: int) -> Answers:
    a, aaaa = b"", b""
    counts = {"A": 0, "AAAA": 0}
    for each in sets:
        counts[each.kind] = len(each.addresses)
        packed = [ipaddress.ip_address(address).packed for address in each.addresses]
        if each.kind == "A":
            a = b"".join(wire.record(wire.A, each.ttl, data) for data in sorted(packed))
        else:
            aaaa = b"".join(wire.record(wire.AAAA, each.ttl, data) for data in sorted(packed))
    ttl = min(each.ttl for each in sets)
    return Answers(
        a=a,
        a_count=counts["A"],
        aaaa=aaaa,
        aaaa_count=counts["AAAA"],
        nothing=wire.soa(ttl, serial),
        # RFC 8482 4.2: a short answer to ANY
        any=wire.record(wire.HINFO, ttl, b"\x07RFC8482\x00"),
        sets=tuple(sets),
    )
