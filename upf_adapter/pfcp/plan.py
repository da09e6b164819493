"""From what a session holds to what it should hold: the differences, and the elements that make them.

`changes` compares two images rule by rule, so that whatever belongs to one rule is in one message and the rule is never
half there. A `Writer` turns changes into octets.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from upf_adapter.pfcp.compile import Action, Far, Image, Key, Pdr
from upf_adapter.pfcp.options import Options, Site
from upf_adapter.pfcp.wire import (
    Ie,
    Tunnel,
    UeIp,
    choose_f_teid,
    f_teid,
    four,
    group,
    ie,
    labels,
    octet,
    outer_header_creation,
    sdf_filter,
    two,
    ue_ip_address,
)

ACCESS, CORE = 0, 1
#: 3GPP Interface Type (8.2.118). Open5GS sends packets to its tunnel device only where N3 and N6 are told.
N3, N9, N6 = 11, 15, 17
#: The copy of a packet leaves by the interface for lawful interception, the only use that the standard knows for it.
LI_FUNCTION = 4
_CLOSED_GATES = 0b0101
_VOLUME, _COUNT_PACKETS = 0b010, 0b10000


_KINDS = ("pdr", "far", "urr", "qer")


def _order(which: tuple[str, Key]) -> tuple[int, Key]:
    return _KINDS.index(which[0]), which[1]


class Numbers:
    """The ids of one kind of elements in a session: the lowest that is free. Steps can be taken back until `keep`."""

    def __init__(self) -> None:
        self._given: dict[Key, int] = {}
        self._free: list[int] = []
        self._next = 1
        #: What was done since `keep`: the element, its number, and whether it got or lost it.
        self._steps: list[tuple[Key, int, bool]] = []

    def __getitem__(self, key: Key) -> int:
        """Return the number of an element; a new one gets it now."""
        number = self._given.get(key)
        if number is None:
            if self._free:
                number = heapq.heappop(self._free)
            else:
                number, self._next = self._next, self._next + 1
            self._given[key] = number
            self._steps.append((key, number, True))
        return number

    def take(self, key: Key) -> int:
        """Take the number from an element and return it; nobody else gets it before `keep`."""
        number = self._given.pop(key)
        self._steps.append((key, number, False))
        return number

    def keep(self) -> None:
        """The UPF has agreed to what was done."""
        for _, number, got in self._steps:
            if not got:
                heapq.heappush(self._free, number)
        self._steps.clear()

    def undo(self) -> None:
        """The UPF has not agreed: everything is as it was at the last `keep`."""
        for key, number, got in reversed(self._steps):
            if got:
                del self._given[key]
                heapq.heappush(self._free, number)
            else:
                self._given[key] = number
        self._steps.clear()

    def elements(self) -> dict[int, Key]:
        """Return which element has which number."""
        return {number: key for key, number in self._given.items()}


@dataclass(slots=True)
class Change:
    """What happens to the elements of one rule ("" for what every session has), all of it or nothing."""

    rule: str
    #: The elements as they are after the change.
    after: Image
    removed: set[tuple[str, Key]] = field(default_factory=set)
    created: set[tuple[str, Key]] = field(default_factory=set)
    updated: set[tuple[str, Key]] = field(default_factory=set)


def changes(present: dict[str, Image], wanted: dict[str, Image]) -> Iterator[Change]:
    """Yield the difference rule by rule: first what goes, then what every session has, then by priority."""
    for rule in sorted(present.keys() - wanted.keys()):
        change = Change(rule, Image())
        change.removed |= _elements(present[rule])
        yield change
    for rule, after in sorted(wanted.items(), key=lambda each: (each[0] != "", _first(each[1]))):
        before = present.get(rule, Image())
        if before != after:
            yield _difference(rule, before, after)


def _first(image: Image) -> int:
    return min((pdr.precedence for pdr in image.pdrs.values()), default=0)


def _elements(image: Image) -> set[tuple[str, Key]]:
    found = {("pdr", key) for key in image.pdrs} | {("far", key) for key in image.fars}
    return found | {("qer", key) for key in image.qers} | {("urr", key) for key in image.urrs}


def _difference(rule: str, before: Image, after: Image) -> Change:
    old, new = _elements(before), _elements(after)
    change = Change(rule, after, removed=old - new, created=new - old)
    for kind, key in old & new:
        if kind == "pdr" and before.pdrs[key] != after.pdrs[key]:
            same = _updatable_pdr(before.pdrs[key], after.pdrs[key])
        elif kind == "far" and before.fars[key] != after.fars[key]:
            same = _updatable_far(before.fars[key], after.fars[key])
        else:
            continue
        if same:
            change.updated.add((kind, key))
        else:
            # The same key on both sides: it gets a new number, and the old one goes.
            change.removed.add((kind, key))
            change.created.add((kind, key))
    # A FAR that gets a new number: the PDRs that stay must be told.
    renewed = {key for kind, key in change.created & change.removed if kind == "far"}
    told = {("pdr", key) for key, pdr in after.pdrs.items() if pdr.far in renewed}
    change.updated |= told - change.created
    return change


def _updatable_pdr(before: Pdr, after: Pdr) -> bool:
    """An Update PDR can replace values, but cannot take an element away."""
    return before.uplink == after.uplink and before.qer == after.qer and before.urr == after.urr


def _updatable_far(before: Far, after: Far) -> bool:
    return (
        (before.outer is None, before.copy is None, before.instance == "", before.to_access)
        == (after.outer is None, after.copy is None, after.instance == "", after.to_access)
        and bool(before.action & Action.FORWARD) == bool(after.action & Action.FORWARD)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """A change in octets."""

    removals: bytes
    creations: bytes
    updates: bytes

    def __len__(self) -> int:
        return len(self.removals) + len(self.creations) + len(self.updates)


def join(several: Iterable[Written]) -> bytes:
    """Return the body of one message that makes several changes: what goes first, then what comes, then what differs."""
    several = list(several)
    return b"".join(
        [each.removals for each in several] + [each.creations for each in several] + [each.updates for each in several]
    )


class Writer:
    """Writes the changes of one session as elements; knows the numbers that its elements have."""

    def __init__(self, site: Site, options: Options, *, count_packets: bool = True) -> None:
        self._site, self._options, self._count_packets = site, options, count_packets
        self.numbers = {kind: Numbers() for kind in _KINDS}
        self.access = site.access
        self._remember()

    def _remember(self) -> None:
        """Prepare what every PDI of a direction starts with, and what every FAR to one interface does."""
        options, site = self._options, self._site
        self._instances = {name: self._instance(name) for name in (options.access_instance, options.core_instance)}
        version = site.radio.address.version
        tunnel = f_teid(self.access) if self.access else choose_f_teid(version, 1)
        source = octet(Ie.SOURCE_INTERFACE, ACCESS) + tunnel + self._instances[options.access_instance]
        self._uplink = source + self._ue(False) + octet(Ie.INTERFACE_TYPE, N3)
        self._uplink_qfi = source + self._ue(False)
        self._downlink_end = self._ue(True) + octet(Ie.INTERFACE_TYPE, N6)
        self._removal = octet(Ie.OUTER_HEADER_REMOVAL, 0 if version == 4 else 1)

    def chosen(self, access: Tunnel) -> None:
        """Take the end of the N3 tunnel that the UPF chose: later PDRs name it."""
        self.access = access
        self._remember()

    def _instance(self, name: str) -> bytes:
        if not name:
            return b""
        return ie(Ie.NETWORK_INSTANCE, labels(name) if self._options.instance_form == "labels" else name.encode())

    def _ue(self, destination: bool) -> bytes:
        if not self._site.single:
            return b""
        v4, v6 = self._site.lone(4), self._site.lone(6)
        return ue_ip_address(UeIp(v4, v6, destination))  # type: ignore[arg-type]

    def write(self, change: Change) -> Written:
        """Return the elements of a change; `keep` or `undo` must follow once the UPF has answered."""
        removals = [_REMOVE[kind](self.numbers[kind].take(key)) for kind, key in sorted(change.removed)]
        creations = [self._element(each, change.after, update=False) for each in sorted(change.created, key=_order)]
        updates = [self._element(each, change.after, update=True) for each in sorted(change.updated, key=_order)]
        return Written(b"".join(removals), b"".join(creations), b"".join(updates))

    def keep(self) -> None:
        """The UPF has accepted what was written."""
        for numbers in self.numbers.values():
            numbers.keep()

    def undo(self) -> None:
        """The UPF has refused what was written."""
        for numbers in self.numbers.values():
            numbers.undo()

    def _element(self, which: tuple[str, Key], after: Image, update: bool) -> bytes:
        kind, key = which
        number = self.numbers[kind][key]
        if kind == "pdr":
            return self._pdr(Ie.UPDATE_PDR if update else Ie.CREATE_PDR, number, after.pdrs[key])
        if kind == "far":
            return self._far(Ie.UPDATE_FAR if update else Ie.CREATE_FAR, number, after.fars[key])
        return create_qer(number) if kind == "qer" else create_urr(number, self._count_packets)

    def _pdr(self, element: int, number: int, pdr: Pdr) -> bytes:
        if pdr.uplink:
            start, end = self._uplink, b""
            if pdr.qfi is not None:
                start, end = self._uplink_qfi, octet(Ie.QFI, pdr.qfi) + octet(Ie.INTERFACE_TYPE, N3)
        else:
            core = self._instances[self._options.core_instance] if pdr.from_core else b""
            start, end = octet(Ie.SOURCE_INTERFACE, CORE) + core + self._downlink_end, b""
        return group(
            element,
            two(Ie.PDR_ID, number),
            four(Ie.PRECEDENCE, pdr.precedence),
            group(Ie.PDI, start, *(sdf_filter(each) for each in pdr.filters), end),
            self._removal if pdr.uplink else b"",
            four(Ie.FAR_ID, self.numbers["far"][pdr.far]),
            four(Ie.URR_ID, self.numbers["urr"][pdr.urr]) if pdr.urr else b"",
            four(Ie.QER_ID, self.numbers["qer"][pdr.qer]) if pdr.qer else b"",
        )

    def _far(self, element: int, number: int, far: Far) -> bytes:
        update = element == Ie.UPDATE_FAR
        parts = [four(Ie.FAR_ID, number), two(Ie.APPLY_ACTION, far.action << 8)]
        if far.action & Action.FORWARD:
            kind = N3 if far.to_access else N9 if far.outer else N6
            parts.append(
                group(
                    Ie.UPDATE_FORWARDING_PARAMETERS if update else Ie.FORWARDING_PARAMETERS,
                    octet(Ie.DESTINATION_INTERFACE, ACCESS if far.to_access else CORE),
                    self._instances.get(far.instance) or self._instance(far.instance),
                    outer_header_creation(far.outer) if far.outer else b"",
                    octet(Ie.INTERFACE_TYPE, kind),
                )
            )
        if far.copy:
            parts.append(
                group(
                    Ie.UPDATE_DUPLICATING_PARAMETERS if update else Ie.DUPLICATING_PARAMETERS,
                    octet(Ie.DESTINATION_INTERFACE, LI_FUNCTION),
                    outer_header_creation(far.copy),
                )
            )
        return group(element, *parts)


def create_qer(number: int) -> bytes:
    """Return a QER that lets nothing through, in neither direction."""
    return group(Ie.CREATE_QER, four(Ie.QER_ID, number), octet(Ie.GATE_STATUS, _CLOSED_GATES))


def create_urr(number: int, count_packets: bool) -> bytes:
    """Return a URR that counts octets, and packets if wanted, and reports when it is asked."""
    return group(
        Ie.CREATE_URR,
        four(Ie.URR_ID, number),
        octet(Ie.MEASUREMENT_METHOD, _VOLUME),
        ie(Ie.REPORTING_TRIGGERS, b"\0\0\0"),
        octet(Ie.MEASUREMENT_INFORMATION, _COUNT_PACKETS) if count_packets else b"",
    )


def query_urr(number: int) -> bytes:
    """Return the element that asks for a usage report."""
    return group(Ie.QUERY_URR, four(Ie.URR_ID, number))


_REMOVE = {
    "pdr": lambda number: group(Ie.REMOVE_PDR, two(Ie.PDR_ID, number)),
    "far": lambda number: group(Ie.REMOVE_FAR, four(Ie.FAR_ID, number)),
    "urr": lambda number: group(Ie.REMOVE_URR, four(Ie.URR_ID, number)),
    "qer": lambda number: group(Ie.REMOVE_QER, four(Ie.QER_ID, number)),
}
