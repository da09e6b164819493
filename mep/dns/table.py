"""The ACTIVE DNS rules as a table of answers that are packed already."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from mep.dns import wire

#: domain name, family (IP_V4, IP_V6), address, ttl
Row = tuple[str, str, str, int | None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known about one name: its records packed one after the other, and what says that there is nothing."""

    a: bytes
    a_count: int
    aaaa: bytes
    aaaa_count: int
    nothing: bytes
    any: bytes


class Table:
    """Answers by name in wire form. It is never changed: a new one takes its place."""

    def __init__(self, rows: Iterable[Row] = (), *, default_ttl: int = 30, serial: int = 0) -> None:
        grouped: dict[str, list[Row]] = {}
        for row in rows:
            grouped.setdefault(row[0], []).append(row)
        self._names = {wire.wire_name(name): _pack(of, default_ttl, serial) for name, of in grouped.items()}

    def __len__(self) -> int:
        return len(self._names)

    def find(self, name: bytes) -> Answers | None:
        """Return what the rules say about a name (wire form, lower case); None when they say nothing.

        Answers by who asks (UE, application, zone) will be looked up here, before the ones for everybody.
        """
        return self._names.get(name)


def _pack(rows: list[Row], default_ttl: int, serial: int) -> Answers:
    # RFC 2181 5.2: the records of one answer have one TTL. No ttl in a rule means that it never expires,
    # but apps move, so nobody may keep an answer for ever.
    ttl = min(default_ttl if ttl is None else ttl for _, _, _, ttl in rows)
    four = sorted({ipaddress.IPv4Address(address).packed for _, family, address, _ in rows if family == "IP_V4"})
    six = sorted({ipaddress.IPv6Address(address).packed for _, family, address, _ in rows if family == "IP_V6"})
    return Answers(
        a=b"".join(wire.record(wire.A, ttl, data) for data in four),
        a_count=len(four),
        aaaa=b"".join(wire.record(wire.AAAA, ttl, data) for data in six),
        aaaa_count=len(six),
        nothing=wire.soa(ttl, serial),
        # RFC 8482 4.2: a short answer to ANY
        any=wire.record(wire.HINFO, ttl, b"\x07RFC8482\x00"),
    )
