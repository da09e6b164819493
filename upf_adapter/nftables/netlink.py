"""A small nfnetlink client: batches that are one transaction, dumps, and the generation of the ruleset.

Spoken directly, because every command of libnftables first reads the whole ruleset back: with 10,000 rules loaded one
small change took it 25 to 280 ms, and takes this one to ten. No text is made, so no name in it can ever be read as a command.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from core.errors import Rejected, Unavailable

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
#: Message types of nf_tables (linux/netfilter/nf_tables.h).
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE = range(9)
NEWSET, GETSET, DELSET, NEWSETELEM, GETSETELEM, DELSETELEM, NEWGEN, GETGEN, _TRACE, NEWOBJ, GETOBJ, DELOBJ = range(
    9, 21
)
CREATE, APPEND = 0x400, 0x800
_REQUEST, _ACK, _DUMP, _DUMP_INTR = 1, 4, 0x300, 0x10
_SUBSYSTEM = 10
_ERROR, _DONE, _BATCH_BEGIN, _BATCH_END = 2, 3, 0x10, 0x11
_NETLINK_NETFILTER, _SOL_NETLINK, _CAP_ACK, _EXT_ACK = 12, 270, 10, 11
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")
_BOTH = struct.Struct("=IHHIIBBH")
_ATTR = struct.Struct("=HH")
_NESTED = 0x8000
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
#: The largest transaction; 20,000 rules of ordinary size need about 20 MiB.
MOST_BYTES = 128 << 20


class Foreign(Unavailable):
    """Somebody else changed the ruleset between our last look and this transaction; nothing was done."""


def attr(kind: int, data: bytes) -> bytes:
    """Return one attribute, padded."""
    return _ATTR.pack(len(data) + 4, kind) + data + _PADDING[len(data) & 3]


def nest(kind: int, *parts: bytes) -> bytes:
    """Return an attribute that holds others."""
    data = b"".join(parts)
    return _ATTR.pack(len(data) + 4, kind | _NESTED) + data


@lru_cache(4096)
def number(kind: int, value: int) -> bytes:
    """Return an attribute of 32 bits."""
    return _ATTR.pack(8, kind) + value.to_bytes(4, "big")


def text(kind: int, value: str) -> bytes:
    """Return an attribute of text."""
    return attr(kind, value.encode() + b"\0")


def message(kind: int, family: int, body: bytes, flags: int = 0) -> bytes:
    """Return one message for a batch."""
    size = _HEADER.size + _GENERIC.size + len(body)
    return _BOTH.pack(size, _SUBSYSTEM << 8 | kind, _REQUEST | flags, 0, 0, FAMILIES[family], 0, 0) + body


def attributes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield each attribute as kind and where its value starts and ends; stops at what is no attribute."""
    end = len(data) if end is None else end
    while at + 4 <= end:
        size, kind = _ATTR.unpack_from(data, at)
        if size < 4 or at + size > end:
            return
        yield kind & 0x3FFF, at + 4, at + size
        at += size + 3 & ~3


class Kernel:
    """One socket to the nf_tables of the network namespace that it was made in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        # Not `settimeout`, which would make even reads that must not wait wait.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 10, 0))
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, MOST_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 4 << 20)
        except PermissionError:
            raise Unavailable("this process may not change the packet filter: it needs CAP_NET_ADMIN") from None

    def generation(self) -> int:
        """Return the number that every change of the ruleset, by anybody, counts up."""
        for body in self._ask(GETGEN, 4, b"", dump=False):
            for kind, start, end in attributes(body, _GENERIC.size):
                if kind == 1:
                    return int.from_bytes(body[start:end], "big")
        raise Rejected("the kernel does not tell the generation of its ruleset")

    def commit(self, messages: Iterable[bytes], generation: int | None = None) -> None:
        """Carry out all messages or none. `Foreign` when the ruleset is not of that generation any more."""
        # A batch acts at once when it ends, and for all packets together.
        begin = struct.pack("=BBH", 0, 0, socket.htons(_SUBSYSTEM))
        limit = number(1, generation) if generation is not None else b""
        parts = [_HEADER.pack(20 + len(limit), _BATCH_BEGIN, _REQUEST, 0, 0) + begin + limit, *messages]
        if len(parts) == 1:
            return
        # One answer is enough; the last part may be several messages, of which the first then asks for it.
        last = bytearray(parts[-1])
        struct.pack_into("=H", last, 6, struct.unpack_from("=H", last, 6)[0] | _ACK)
        parts[-1] = bytes(last)
        parts.append(_HEADER.pack(20, _BATCH_END, _REQUEST, 0, 0) + begin)
        batch = b"".join(parts)
        if len(batch) > MOST_BYTES // 2:
            raise Rejected(
                f"the rules need a transaction of {len(batch) >> 20} MiB, which is more than is taken at once"
            )
        self._drain()
        try:
            self._socket.send(batch)
        except OSError as problem:
            raise Unavailable(f"the kernel does not take the rules: {problem.strerror}") from None
        answered = False
        # The kernel has worked by the time `send` returns, so the answer is there.
        for kind, _, body in self._received():
            answered = True
            code = -struct.unpack_from("=i", body)[0] if kind == _ERROR else 0
            if code == errno.ERESTART:
                raise Foreign("somebody else has just changed the packet filter")
            if code:
                raise Rejected(f"the kernel refuses the rules: {os.strerror(code)}{_told(body)}")
        if not answered:
            raise Unavailable("the kernel did not answer")

    def ask(self, kind: int, family: int, body: bytes, *, dump: bool) -> list[bytes]:
        """Return the answers to one question; none when there is no such thing."""
        for _ in range(5):
            try:
                return list(self._ask(kind, family, body, dump=dump))
            except InterruptedError:
                continue
        raise Unavailable("the packet filter changes all the time, it cannot be read")

    def close(self) -> None:
        """Let go; rules stay."""
        self._socket.close()

    def _ask(self, kind: int, family: int, body: bytes, *, dump: bool) -> Iterator[bytes]:
        asked = bytearray(message(kind, family, body))
        struct.pack_into("=H", asked, 6, _REQUEST | (_DUMP if dump else _ACK))
        self._drain()
        self._socket.send(asked)
        torn = False
        while True:
            for kind_, flags, data in self._received(wait=True):
                torn |= bool(flags & _DUMP_INTR)
                if kind_ in (_ERROR, _DONE):
                    code = -struct.unpack_from("=i", data)[0] if len(data) >= 4 else 0
                    if torn or code == errno.EINTR:
                        raise InterruptedError
                    if code and code != errno.ENOENT:
                        raise Unavailable(f"the packet filter cannot be read: {os.strerror(code)}")
                    return
                yield data

    def _received(self, *, wait: bool = False) -> Iterator[tuple[int, int, bytes]]:
        while True:
            try:
                data = self._socket.recv(1 << 20, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                if wait:
                    raise Unavailable("the kernel does not answer") from None
                return
            except OSError as problem:
                if problem.errno == errno.ENOBUFS:
                    raise InterruptedError from None
                raise Unavailable(f"the kernel does not answer: {problem}") from None
            at = 0
            while at + _HEADER.size <= len(data):
                size, kind, flags, _, _ = _HEADER.unpack_from(data, at)
                yield kind, flags, data[at + _HEADER.size : at + size]
                at += max(size + 3 & ~3, _HEADER.size)
            if wait:
                return

    def _drain(self) -> None:
        for _ in self._received():
            pass


def _told(body: bytes) -> str:
    """Return the kernel's own words in an error, when it has some (NLMSGERR_ATTR_MSG)."""
    for kind, start, end in attributes(body, 4 + _HEADER.size):
        if kind == 1:
            return f" ({body[start:end].rstrip(bytes(1)).decode(errors='replace')})"
    return ""
