"""PFCP on the wire (3GPP TS 29.244): numbers, values, and writing them with `struct`; `reading` is the other direction.

One function per element returns its octets; `group` puts elements into one, `message` makes a datagram.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Ie:
    """Numbers of information elements (8.1.2)."""

    CREATE_PDR, PDI, CREATE_FAR, FORWARDING_PARAMETERS, DUPLICATING_PARAMETERS = 1, 2, 3, 4, 5
    CREATE_URR, CREATE_QER, CREATED_PDR, UPDATE_PDR, UPDATE_FAR, UPDATE_FORWARDING_PARAMETERS = 6, 7, 8, 9, 10, 11
    UPDATE_URR, UPDATE_QER, REMOVE_PDR, REMOVE_FAR, REMOVE_URR, REMOVE_QER = 13, 14, 15, 16, 17, 18
    CAUSE, SOURCE_INTERFACE, F_TEID, NETWORK_INSTANCE, SDF_FILTER, GATE_STATUS, PRECEDENCE = 19, 20, 21, 22, 23, 25, 29
    REPORTING_TRIGGERS, REPORT_TYPE, OFFENDING_IE, DESTINATION_INTERFACE, UP_FEATURES, APPLY_ACTION = (
        37,
        39,
        40,
        42,
        43,
        44,
    )
    PDR_ID, F_SEID, NODE_ID, MEASUREMENT_METHOD, USAGE_REPORT_TRIGGER, VOLUME_MEASUREMENT = 56, 57, 60, 62, 63, 66
    QUERY_URR, USAGE_REPORT_MODIFIED, USAGE_REPORT_DELETED, USAGE_REPORT, URR_ID, DOWNLINK_DATA_REPORT = (
        77,
        78,
        79,
        80,
        81,
        83,
    )
    OUTER_HEADER_CREATION, CP_FEATURES, UE_IP_ADDRESS, OUTER_HEADER_REMOVAL, RECOVERY_TIME_STAMP = 84, 89, 93, 95, 96
    ERROR_INDICATION_REPORT, MEASUREMENT_INFORMATION, UR_SEQN, UPDATE_DUPLICATING_PARAMETERS = 99, 100, 104, 105
    FAR_ID, QER_ID, RELEASE_REQUEST, PDN_TYPE, FAILED_RULE_ID, QFI, INTERFACE_TYPE = 108, 109, 111, 113, 114, 124, 160


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One end of a GTP-U tunnel: F-TEID (8.2.3), or what an outer header is created with (8.2.56)."""

    teid: int
    address: IpAddress


@dataclass(frozen=True, slots=True)
class FSeid:
    """A session as one side names it (8.2.37)."""

    seid: int
    ipv4: ipaddress.IPv4Address | None = None
    ipv6: ipaddress.IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Sdf:
    """One SDF filter (8.2.5): an IPFilterRule, always written as the packet to the UE, and ToS or traffic class with its mask."""

    text: str = ""
    tos: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class UeIp:
    """Addresses of a UE (8.2.62); `destination` when the packets looked for go to the UE."""

    ipv4: ipaddress.IPv4Address | None = None
    ipv6: ipaddress.IPv6Address | None = None
    destination: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """What a URR has measured (8.2.40); None for what was not told. The packets need the feature MNOP."""

    octets: int | None = None
    uplink_octets: int | None = None
    downlink_octets: int | None = None
    packets: int | None = None
    uplink_packets: int | None = None
    downlink_packets: int | None = None


# Writing. The functions below are called some fifty times per session, so they do no more than they must.

_HEAD = struct.Struct("!HH")
_OCTET, _TWO, _FOUR = struct.Struct("!HHB"), struct.Struct("!HHH"), struct.Struct("!HHI")
_NODE_HEADER, _SESSION_HEADER = struct.Struct("!BBHI"), struct.Struct("!BBHQI")


def message(kind: int, sequence: int, body: bytes, seid: int | None = None) -> bytes:
    """Return a whole datagram (7.2.2); with `seid` it is one about a session."""
    if seid is None:
        return _NODE_HEADER.pack(0x20, kind, len(body) + 4, sequence << 8) + body
    return _SESSION_HEADER.pack(0x21, kind, len(body) + 12, seid, sequence << 8) + body


def ie(number: int, value: bytes) -> bytes:
    """Return one element with this value."""
    return _HEAD.pack(number, len(value)) + value


def group(number: int, *parts: bytes) -> bytes:
    """Return one element that holds others."""
    value = b"".join(parts)
    return _HEAD.pack(number, len(value)) + value


def octet(number: int, value: int) -> bytes:
    """Return an element of one octet: Cause, interfaces, Gate Status, Measurement Method, QFI ..."""
    return _OCTET.pack(number, 1, value)


def two(number: int, value: int) -> bytes:
    """Return an element of two octets: PDR ID, Apply Action since release 16."""
    return _TWO.pack(number, 2, value)


def four(number: int, value: int) -> bytes:
    """Return an element of four octets: FAR, QER and URR ID, Precedence, Recovery Time Stamp."""
    return _FOUR.pack(number, 4, value)


def node_id(value: str) -> bytes:
    """Return a Node ID (8.2.38): an IP address, or else a name."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return ie(Ie.NODE_ID, b"\2" + labels(value))
    return ie(Ie.NODE_ID, bytes([0 if address.version == 4 else 1]) + address.packed)


def labels(name: str) -> bytes:
    """Return a name as DNS labels without the closing root, as names stand in PFCP."""
    return b"".join(bytes([len(part)]) + part for part in (each.encode() for each in name.split(".")))


def f_seid(value: FSeid) -> bytes:
    """Return an F-SEID."""
    flags = (2 if value.ipv4 else 0) | (1 if value.ipv6 else 0)
    v4 = value.ipv4.packed if value.ipv4 else b""
    v6 = value.ipv6.packed if value.ipv6 else b""
    return ie(Ie.F_SEID, struct.pack("!BQ", flags, value.seid) + v4 + v6)


def f_teid(value: Tunnel) -> bytes:
    """Return an F-TEID that is given."""
    return ie(Ie.F_TEID, struct.pack("!BI", 1 if value.address.version == 4 else 2, value.teid) + value.address.packed)


def choose_f_teid(version: int, choose_id: int) -> bytes:
    """Return an F-TEID that the UPF is asked to choose; one `choose_id` stands for one tunnel within a message."""
    return ie(Ie.F_TEID, bytes([0x0C | (1 if version == 4 else 2), choose_id]))


def sdf_filter(value: Sdf) -> bytes:
    """Return an SDF Filter."""
    parts = [bytes([(1 if value.text else 0) | (2 if value.tos else 0), 0])]
    if value.text:
        text = value.text.encode()
        parts.append(struct.pack("!H", len(text)) + text)
    if value.tos:
        parts.append(bytes(value.tos))
    return group(Ie.SDF_FILTER, *parts)


def ue_ip_address(value: UeIp) -> bytes:
    """Return a UE IP Address."""
    flags = (2 if value.ipv4 else 0) | (1 if value.ipv6 else 0) | (4 if value.destination else 0)
    v4 = value.ipv4.packed if value.ipv4 else b""
    v6 = value.ipv6.packed if value.ipv6 else b""
    return ie(Ie.UE_IP_ADDRESS, bytes([flags]) + v4 + v6)


def outer_header_creation(value: Tunnel) -> bytes:
    """Return the element that makes packets leave in a GTP-U tunnel."""
    flags = 0x0100 if value.address.version == 4 else 0x0200
    return ie(Ie.OUTER_HEADER_CREATION, struct.pack("!HI", flags, value.teid) + value.address.packed)
