"""Reading a zone (RFC 5936): first everything off the wire, then understanding it.

Servers hang up on a reader that pauses for half a second, which a busy node does while it parses 10,000 records.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.xfr

from core.errors import Unavailable
from mep.dns import wire

#: Bytes and seconds that a whole zone may take.
LARGEST, LONGEST = 64 << 20, 60.0


class Where(Protocol):
    """Whom to ask."""

    server: str
    port: int
    algorithm: str
    timeout: float


def transfer(
    zone: dns.name.Name, where: Where, keyring: Mapping[dns.name.Name, dns.tsig.Key] | None
) -> Iterator[dns.rrset.RRset]:
    """Yield the records of a zone; with a key, only after the server's signature was found good."""
    query = dns.message.make_query(zone, dns.rdatatype.AXFR)
    if keyring:
        query.use_tsig(dict(keyring), algorithm=where.algorithm)
    frames = _read(query.to_wire(), where)
    answers: list[dns.rrset.RRset] = []
    context = None
    for frame in frames:
        reply = dns.message.from_wire(
            frame, keyring=dict(keyring or {}), request_mac=query.mac, xfr=True, tsig_ctx=context, multi=True
        )
        if reply.id != query.id:
            raise dns.message.ShortHeader
        context = reply.tsig_ctx
        answers += reply.answer
    if keyring and not reply.had_tsig:
        raise dns.tsig.BadSignature
    yield from answers


def _read(query: bytes, where: Where) -> list[bytes]:
    """Return the messages from the first SOA to the second."""
    over = time.monotonic() + LONGEST
    frames: list[bytes] = []
    size = soas = 0
    with (
        socket.create_connection((where.server, where.port), where.timeout) as stream,
        stream.makefile("rb") as file,
    ):
        stream.sendall(len(query).to_bytes(2, "big") + query)
        while soas < 2:
            frame = file.read(length) if (length := int.from_bytes(file.read(2), "big")) else b""
            if len(frame) < max(length, 12):
                raise EOFError("it hangs up in the middle of the zone")
            if frame[3] & 15:
                raise dns.xfr.TransferError(frame[3] & 15)
            found = wire.count(frame, wire.SOA)
            if not soas and not found:
                raise EOFError("it sends something else than a zone")
            soas += found
            size += length
            if size > LARGEST or time.monotonic() > over:
                raise Unavailable(f"The zone on {where.server} is too large or comes too slowly")
            frames.append(frame)
    return frames
