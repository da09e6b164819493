"""As much of the DNS wire format (RFC 1035, RFC 6891) as a responder of A and AAAA records needs, packed by hand.

Hand-packing answers ten times as many queries as building message objects; dnspython is the oracle in the tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

A, CNAME, SOA, HINFO, AAAA, OPT, SVCB, HTTPS, ANY = 1, 5, 6, 13, 28, 41, 64, 65, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
#: Fits every path without fragments (DNS flag day 2020); what we say we can take, and the most we send over UDP.
UDP_SIZE = 1232
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!2HIH")  # type, class, ttl, rdlength
#: The owner of every record that we send: the name of the question.
_OWNER = b"\xc0\x0c"


class Malformed(Exception):
    """The message cannot be understood; it gets FORMERR."""


@dataclass(slots=True)
class Question:
    """A query as far as we look into it."""

    raw: bytes  # the question section as it came, with the case of its letters (RFC 5452 9.2 wants it echoed)
    name: bytes  # the name in wire form, lower case
    kind: int
    klass: int
    flags: int
    udp_size: int  # 0 without EDNS
    edns_version: int


def opcode(flags: int) -> int:
    """Return the kind of message."""
    return flags >> 11 & 15


def question(data: bytes) -> Question:
    """Return the query in `data`; `Malformed` when there is none."""
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if questions != 1:
        raise Malformed
    at = 12
    end = len(data)
    while True:
        if at >= end:
            raise Malformed
        length = data[at]
        if length == 0:
            break
        if length > 63:  # compression and the reserved label types have no place in a question
            raise Malformed
        at += length + 1
    at += 1
    if at - 12 > 255 or at + 4 > end:
        raise Malformed
    kind, klass = data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]
    size, version = (0, 0) if not additional else _edns(data, at + 4, answers + authorities, additional)
    return Question(data[12 : at + 4], data[12:at].lower(), kind, klass, flags, size, version)


def _edns(data: bytes, at: int, before: int, additional: int) -> tuple[int, int]:
    """Return the UDP size and the version of the OPT record, 0 and 0 without one (RFC 6891 6.1.2)."""
    found: tuple[int, int] | None = None
    for index in range(before + additional):
        owner = at
        at = skip_name(data, at)
        if at + 10 > len(data):
            raise Malformed
        kind, klass, ttl, length = _FIXED.unpack_from(data, at)
        at += 10 + length
        if at > len(data):
            raise Malformed
        if kind == OPT and index >= before:
            if found is not None or data[owner] != 0:
                raise Malformed
            found = (max(512, klass), ttl >> 16 & 255)
    return found or (0, 0)


def skip_name(data: bytes, at: int) -> int:
    """Return where what follows a name begins, be the name compressed or not; `Malformed` when the message ends in it."""
    while True:
        if at >= len(data):
            raise Malformed
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise Malformed
        at += length + 1


def reply(
    message_id: bytes,
    asked: Question,
    flags: int,
    records: bytes = b"",
    answers: int = 0,
    authorities: int = 0,
    code: int = 0,
) -> bytes:
    """Return a response to `asked`; with EDNS when it had EDNS."""
    head = QR | asked.flags & (RD | 0x7800) | flags | code & 15
    if not asked.udp_size:
        return b"".join(
            (message_id, struct.pack("!5H", head, 1, answers, authorities, 0), asked.raw, records),
        )
    opt = b"\0" + _FIXED.pack(OPT, UDP_SIZE, code >> 4 << 24, 0)
    return b"".join((message_id, struct.pack("!5H", head, 1, answers, authorities, 1), asked.raw, records, opt))


def bare(message_id: bytes, flags: int, code: int) -> bytes:
    """Return a response without a question, for a query that has none that we can read."""
    return message_id + struct.pack("!5H", QR | flags & (RD | 0x7800) | code, 0, 0, 0, 0)


def record(kind: int, ttl: int, data: bytes) -> bytes:
    """Return a record of the asked name."""
    return _OWNER + _FIXED.pack(kind, IN, ttl, len(data)) + data


def soa(ttl: int, serial: int) -> bytes:
    """Return the SOA that a negative answer carries, so that it is cached for `ttl` seconds (RFC 2308)."""
    data = (
        wire_name("mep") + wire_name("hostmaster.mep") + struct.pack("!5I", serial & 0xFFFFFFFF, 3600, 600, 86400, ttl)
    )
    return record(SOA, ttl, data)


def wire_name(name: str) -> bytes:
    """Return a domain name in wire form, lower case."""
    labels = [label.encode("ascii") for label in name.rstrip(".").lower().split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def count(data: bytes, kind: int) -> int:
    """Return how many answers in a message are of a kind; `Malformed` when it cannot be read."""
    _, _, questions, answers, _, _ = _HEADER.unpack_from(data)
    at, found = 12, 0
    for _ in range(questions):
        at = skip_name(data, at) + 4
    for _ in range(answers):
        at = skip_name(data, at)
        if at + 10 > len(data):
            raise Malformed
        this, _, _, length = _FIXED.unpack_from(data, at)
        found += this == kind
        at += 10 + length
    return found
