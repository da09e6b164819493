"""Many datagrams with two system calls: recvmmsg(2) and sendmmsg(2), which Python's socket module does not offer.

Answers go back to the very bytes of the address that a query came from, so no address is ever written as text but
the first time that it is seen.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from typing import Any

from mep.dns.limits import MOST, make_room
from mep.dns.wire import UDP_SIZE

#: Datagrams in one call, and the longest that is read whole; what is longer is no query.
SIZE, LONGEST = 64, 4096
_ADDRESS = 128  # struct sockaddr_storage
# They never wait, so keeping the interpreter is cheaper than handing it to another thread and asking it back.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Head(ctypes.Structure):
    """struct msghdr."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    """struct mmsghdr: a head, and how many bytes there were."""

    _fields_ = [("head", _Head), ("length", ctypes.c_uint)]


#: Where the members are, counted in pointers and in ints.
_STRIDE = ctypes.sizeof(_Message)
_WORDS, _INTS, _VECTOR_WORDS = _STRIDE // 8, _STRIDE // 4, ctypes.sizeof(_Vector) // 8
_NAME_LENGTH, _LENGTH = _Head.name_length.offset // 4, _Message.length.offset // 4


class _Room:
    """Memory for one batch, and views of it that are cheaper to use than ctypes' own objects."""

    def __init__(self, longest: int) -> None:
        self.data = (ctypes.c_char * (SIZE * longest))()
        self.addresses = (ctypes.c_char * (SIZE * _ADDRESS))()
        self.vectors = (_Vector * SIZE)()
        self.messages = (_Message * SIZE)()
        for at in range(SIZE):
            self.vectors[at] = _Vector(ctypes.addressof(self.data) + at * longest, longest)
            vector = ctypes.addressof(self.vectors) + at * ctypes.sizeof(_Vector)
            address = ctypes.addressof(self.addresses) + at * _ADDRESS
            self.messages[at].head = _Head(address, _ADDRESS, vector, 1, None, 0, 0)
        self.start = ctypes.addressof(self.messages)
        self.data_bytes = memoryview(self.data).cast("B")
        self.address_bytes = memoryview(self.addresses).cast("B")
        messages = memoryview(self.messages).cast("B")
        self.words, self.ints = messages.cast("P"), messages.cast("I")
        self.vector_words = memoryview(self.vectors).cast("B").cast("P")


class Batch:
    """The room for one batch of datagrams of one socket."""

    def __init__(self, udp: socket.socket) -> None:
        self._fd = udp.fileno()
        self._six = udp.family == socket.AF_INET6
        self._in, self._out = _Room(LONGEST), _Room(UDP_SIZE)
        self._base = ctypes.addressof(self._in.addresses)
        self._names: dict[bytes, str] = {}
        self._waiting = 0

    def receive(self) -> list[tuple[bytes, str]]:
        """Return what has arrived: each datagram with the address of its sender; empty when there is nothing."""
        count = _libc.recvmmsg(self._fd, self._in.start, SIZE, socket.MSG_DONTWAIT, None)
        ints, data, addresses, names = self._in.ints, self._in.data_bytes, self._in.address_bytes, self._names
        low, high = (8, 24) if self._six else (4, 8)
        found = []
        for at in range(count):
            start = at * _ADDRESS
            raw = addresses[start + low : start + high].tobytes()
            source = names.get(raw) or self._name(raw)
            start = at * LONGEST
            found.append((data[start : start + ints[at * _INTS + _LENGTH]].tobytes(), source))
        return found

    def address(self, at: int) -> Any:
        """Return the address of a sender as the socket module wants it."""
        raw = self._in.address_bytes[at * _ADDRESS : at * _ADDRESS + 28].tobytes()
        port = int.from_bytes(raw[2:4], "big")
        if not self._six:
            return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
        flow, scope = int.from_bytes(raw[4:8], "big"), struct.unpack_from("=I", raw, 24)[0]
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port, flow, scope

    def put(self, at: int, response: bytes) -> None:
        """Keep an answer to the datagram `at` for `send`."""
        number = self._waiting
        self._waiting = number + 1
        length = len(response)
        start = number * UDP_SIZE
        self._out.data_bytes[start : start + length] = response
        self._out.vector_words[number * _VECTOR_WORDS + 1] = length
        self._out.words[number * _WORDS] = self._base + at * _ADDRESS
        self._out.ints[number * _INTS + _NAME_LENGTH] = self._in.ints[at * _INTS + _NAME_LENGTH]

    def send(self) -> None:
        """Send what was put. What cannot be sent is lost: the client asks again."""
        done, count = 0, self._waiting
        self._waiting = 0
        while done < count:
            sent = _libc.sendmmsg(self._fd, self._out.start + done * _STRIDE, count - done, socket.MSG_DONTWAIT)
            if sent < 0 and ctypes.get_errno() == errno.EAGAIN:
                return
            done += max(sent, 1)  # an error is about the first one

    def _name(self, raw: bytes) -> str:
        make_room(self._names, MOST)
        name = self._names[raw] = socket.inet_ntop(socket.AF_INET6 if self._six else socket.AF_INET, raw)
        return name
