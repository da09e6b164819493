"""Reading PFCP (3GPP TS 29.244): `decode` returns a `Message`, or raises `Malformed` and nothing else, whatever the octets are.

Elements that are not known here are skipped (7.2.2.1); octets behind the known part of an element are skipped too (7.3.1).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.errors import Rejected
from upf_adapter.pfcp.wire import FSeid, Ie, Sdf, Tunnel, UeIp, Volume

#: Elements in one message, those in groups included. A datagram could hold four times as many empty ones.
MOST_ELEMENTS = 4096
#: Groups within groups; the standard needs three.
MOST_DEPTH = 4


#: Elements whose value is a list of elements.
GROUPS = frozenset(
    {
        Ie.CREATE_PDR, Ie.PDI, Ie.CREATE_FAR, Ie.FORWARDING_PARAMETERS, Ie.DUPLICATING_PARAMETERS, Ie.CREATE_URR,
        Ie.CREATE_QER, Ie.CREATED_PDR, Ie.UPDATE_PDR, Ie.UPDATE_FAR, Ie.UPDATE_FORWARDING_PARAMETERS, Ie.UPDATE_URR,
        Ie.UPDATE_QER, Ie.REMOVE_PDR, Ie.REMOVE_FAR, Ie.REMOVE_URR, Ie.REMOVE_QER, Ie.QUERY_URR,
        Ie.USAGE_REPORT_MODIFIED, Ie.USAGE_REPORT_DELETED, Ie.USAGE_REPORT, Ie.DOWNLINK_DATA_REPORT,
        Ie.ERROR_INDICATION_REPORT, Ie.UPDATE_DUPLICATING_PARAMETERS,
    }
)  # fmt: skip


class Malformed(Rejected):
    """These octets are no PFCP message that can be read."""


class UnknownVersion(Malformed):
    """The message is of a version of PFCP that is not spoken here; `sequence` is what an answer must carry."""

    def __init__(self, detail: str, sequence: int, kind: int) -> None:
        super().__init__(detail)
        self.sequence, self.kind = sequence, kind


class Fields(dict[int, list[Any]]):
    """Elements by number, in the order in which they came; a group is `Fields` again."""

    def one(self, number: int) -> Any:
        """Return the first of this number, None when there is none."""
        found = self.get(number)
        return found[0] if found else None

    def all(self, number: int) -> list[Any]:
        """Return all of this number."""
        return self.get(number, [])

    def need(self, number: int) -> Any:
        """Return the first of this number; `Malformed` when there is none."""
        found = self.get(number)
        if not found:
            raise Malformed(f"information element {number} is missing")
        return found[0]


@dataclass(frozen=True, slots=True)
class Message:
    """One PFCP message. `seid` is None for messages between nodes."""

    kind: int
    sequence: int
    seid: int | None
    ies: Fields


_HEAD = struct.Struct("!HH")
_NODE_HEADER, _SESSION_HEADER = struct.Struct("!BBHI"), struct.Struct("!BBHQI")


def decode(datagram: bytes) -> Message:
    """Return the message in a datagram."""
    try:
        flags, kind, length, rest = _NODE_HEADER.unpack_from(datagram)
        if flags >> 5 != 1:
            raise UnknownVersion(f"version {flags >> 5} of PFCP", sequence=rest >> 8, kind=kind)
        with_seid = bool(flags & 1)
        if with_seid != (50 <= kind <= 99):
            raise Malformed(f"message {kind} must{' not' if with_seid else ''} have a SEID")
        end, start = length + 4, 16 if with_seid else 8
        # Bit 3 says that another message follows; that needs the feature BUNDL, which is never announced here.
        if end > len(datagram) or end < start or (end < len(datagram) and not flags & 4):
            raise Malformed(f"the header tells {end} octets, there are {len(datagram)}")
        seid = None
        if with_seid:
            _, _, _, seid, rest = _SESSION_HEADER.unpack_from(datagram)
    except struct.error:
        raise Malformed(f"{len(datagram)} octets are no PFCP header") from None
    return Message(kind, rest >> 8, seid, _fields(datagram, start, end, 1, [MOST_ELEMENTS]))


def _fields(data: bytes, at: int, end: int, depth: int, budget: list[int]) -> Fields:
    """Read the elements between `at` and `end`; `budget` counts down over the whole message."""
    if depth > MOST_DEPTH:
        raise Malformed(f"groups are nested more than {MOST_DEPTH} deep")
    found = Fields()
    while at < end:
        if at + 4 > end:
            raise Malformed("an information element ends within its head")
        number, length = _HEAD.unpack_from(data, at)
        at += 4
        if at + length > end:
            raise Malformed(f"information element {number} is longer than what holds it")
        budget[0] -= 1
        if budget[0] < 0:
            raise Malformed(f"more than {MOST_ELEMENTS} information elements")
        if number in GROUPS:
            found.setdefault(number, []).append(_fields(data, at, at + length, depth + 1, budget))
        elif number in _READERS:
            try:
                value = _READERS[number](data[at : at + length])
            except (struct.error, IndexError, ValueError):
                raise Malformed(f"information element {number} cannot be read") from None
            found.setdefault(number, []).append(value)
        at += length
    return found


def _unsigned(octets: int) -> Callable[[bytes], int]:
    def read(value: bytes) -> int:
        if len(value) < octets:
            raise ValueError
        return int.from_bytes(value[:octets], "big")

    return read


def _bits(value: bytes) -> int:
    """Flags: octet 5 is the lowest, however many octets follow."""
    if not 1 <= len(value) <= 32:
        raise ValueError
    return int.from_bytes(value, "little")


def _nibble(value: bytes) -> int:
    return value[0] & 0x0F


def _text(value: bytes) -> str:
    """A name, as DNS labels or, as some write it, as plain text."""
    parts, at = [], 0
    while at < len(value) and at + value[at] < len(value) and value[at]:
        parts.append(value[at + 1 : at + 1 + value[at]])
        at += value[at] + 1
    whole = b".".join(parts) if parts and at == len(value) else value
    return whole.decode("utf-8", "replace")


def _addresses(flags: int, value: bytes, at: int) -> tuple[ipaddress.IPv4Address | None, ipaddress.IPv6Address | None]:
    """Read the addresses at `at`: bit 2 says that there is one of IPv4, bit 1 one of IPv6."""
    v4 = v6 = None
    if flags & 2:
        v4, at = ipaddress.IPv4Address(value[at : at + 4]), at + 4
    if flags & 1:
        v6 = ipaddress.IPv6Address(value[at : at + 16])
    return v4, v6


def _node_id(value: bytes) -> str:
    kind = _nibble(value)
    if kind == 0:
        return str(ipaddress.IPv4Address(value[1:5]))
    if kind == 1:
        return str(ipaddress.IPv6Address(value[1:17]))
    return _text(value[1:])


def _f_seid(value: bytes) -> FSeid:
    flags, seid = struct.unpack_from("!BQ", value)
    return FSeid(seid, *_addresses(flags, value, 9))


def _f_teid(value: bytes) -> Tunnel | None:
    """None stands for one that is to be chosen."""
    if value[0] & 4:
        return None
    flags, teid = struct.unpack_from("!BI", value)
    v4, v6 = _addresses((flags & 1) << 1 | (flags & 2) >> 1, value, 5)
    if v4 is None and v6 is None:
        raise ValueError
    return Tunnel(teid, v4 or v6)  # type: ignore[arg-type]


def _sdf_filter(value: bytes) -> Sdf:
    flags, text, tos, at = value[0], "", None, 2
    if flags & 1:
        (length,) = struct.unpack_from("!H", value, at)
        at += 2 + length
        if at > len(value):
            raise ValueError
        text = value[at - length : at].decode("utf-8", "replace")
    if flags & 2:
        tos = (value[at], value[at + 1])
    return Sdf(text, tos)


def _ue_ip_address(value: bytes) -> UeIp:
    return UeIp(*_addresses(value[0], value, 1), bool(value[0] & 4))


def _outer_header_creation(value: bytes) -> Tunnel | None:
    """None stands for a header that is not GTP-U."""
    flags, teid = struct.unpack_from("!HI", value)
    if not flags & 0x0300:
        return None
    v4, v6 = _addresses((flags >> 8 & 1) << 1 | flags >> 9 & 1, value, 6)
    return Tunnel(teid, v4 or v6)  # type: ignore[arg-type]


def _volume(value: bytes) -> Volume:
    numbers: list[int | None] = []
    at = 1
    for bit in range(6):
        if value[0] & 1 << bit:
            numbers.append(struct.unpack_from("!Q", value, at)[0])
            at += 8
        else:
            numbers.append(None)
    return Volume(*numbers)


def _failed_rule(value: bytes) -> str:
    names = {0: ("PDR", 2), 1: ("FAR", 4), 2: ("QER", 4), 3: ("URR", 4), 4: ("BAR", 1)}
    name, octets = names.get(value[0] & 0x1F, ("rule", 4))
    return f"{name} {_unsigned(octets)(value[1:])}"


_READERS: dict[int, Callable[[bytes], Any]] = {
    Ie.CAUSE: _unsigned(1),
    Ie.SOURCE_INTERFACE: _nibble,
    Ie.DESTINATION_INTERFACE: _nibble,
    Ie.F_TEID: _f_teid,
    Ie.NETWORK_INSTANCE: _text,
    Ie.SDF_FILTER: _sdf_filter,
    Ie.GATE_STATUS: _unsigned(1),
    Ie.PRECEDENCE: _unsigned(4),
    Ie.REPORTING_TRIGGERS: _bits,
    Ie.REPORT_TYPE: _unsigned(1),
    Ie.OFFENDING_IE: _unsigned(2),
    Ie.UP_FEATURES: _bits,
    Ie.CP_FEATURES: _bits,
    Ie.APPLY_ACTION: _bits,
    Ie.PDR_ID: _unsigned(2),
    Ie.F_SEID: _f_seid,
    Ie.NODE_ID: _node_id,
    Ie.MEASUREMENT_METHOD: _unsigned(1),
    Ie.USAGE_REPORT_TRIGGER: _bits,
    Ie.VOLUME_MEASUREMENT: _volume,
    Ie.URR_ID: _unsigned(4),
    Ie.OUTER_HEADER_CREATION: _outer_header_creation,
    Ie.UE_IP_ADDRESS: _ue_ip_address,
    Ie.OUTER_HEADER_REMOVAL: _unsigned(1),
    Ie.RECOVERY_TIME_STAMP: _unsigned(4),
    Ie.MEASUREMENT_INFORMATION: _unsigned(1),
    Ie.UR_SEQN: _unsigned(4),
    Ie.FAR_ID: _unsigned(4),
    Ie.QER_ID: _unsigned(4),
    Ie.RELEASE_REQUEST: _unsigned(1),
    Ie.PDN_TYPE: _unsigned(1),
    Ie.FAILED_RULE_ID: _failed_rule,
    Ie.QFI: _unsigned(1),
    Ie.INTERFACE_TYPE: _unsigned(1),
}
