"""Clauses in the kernel's own terms: nf_tables expressions that load, compare, and give the verdict. Pure."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from upf_adapter.nftables.lowering import SPACE, Clause, Exit, Test, Verdict
from upf_adapter.nftables.netlink import attr, nest, number, text

#: Verdict codes, as 32 bits.
DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, 0xFFFFFFFD, 0xFFFFFFFC, 0xFFFFFFFB
#: Data types as `nft` knows them, so that it can print what we made.
TYPES = {"ipv4": (7, 4), "ipv6": (8, 16), "protocol": (12, 1), "port": (13, 2), "interface": (41, 16)}
_MARK, _IIFNAME, _L4PROTO = 3, 6, 16
_NETWORK, _TRANSPORT = 1, 2
#: Offset and length of the source and the destination in the IP header.
_SOURCE = {4: (12, 4), 6: (8, 16)}
_DESTINATION = {4: (16, 4), 6: (24, 16)}


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A set that rules look into: ranges of `kind`. Named by its content and shared, because a set of its own for each
    rule is found by a walk through all sets: 5,000 of them took seconds.
    """

    kind: str
    ranges: tuple[tuple[bytes, bytes], ...]

    @property
    def name(self) -> str:
        """Return what the set is called."""
        return _set_name(self)

    @property
    def intervals(self) -> bool:
        """Return whether the set holds ranges."""
        return any(first != last for first, last in self.ranges)


class Ending(msgspec.Struct, frozen=True, gc=False):
    """A chain with what is done with a packet in the end: a copy, a mark. Named by its content and shared, because the kernel
    takes a rule that goes there in two thirds of the time that it needs for one with all of that in it.
    """

    data: bytes

    @property
    def name(self) -> str:
        """Return what the chain is called."""
        return "v" + blake2b(self.data, digest_size=12).hexdigest()


class Code(msgspec.Struct, frozen=True, gc=False):
    """The expressions of one rule, and the sets and chains that they lead to."""

    data: bytes
    needs: tuple[Choice | Ending, ...] = ()


#: What the rule of a clause needs in one family.
Needs = tuple[tuple[int, Choice | Ending], ...]


@lru_cache(4096)
def _set_name(choice: Choice) -> str:
    return "s" + blake2b(repr((choice.kind, choice.ranges)).encode(), digest_size=12).hexdigest()


def expression(name: str, *data: bytes) -> bytes:
    """Return one expression."""
    return nest(1, text(1, name), nest(2, *data))


#: What stands around the name in a reference to a counter; the names are all of one length.
_NAME = "r" + "0" * 24
_COUNT = expression("objref", number(1, 1), text(2, _NAME)).split(_NAME.encode())
_LOAD_PROTOCOL = expression("meta", number(1, 1), number(2, _L4PROTO))


def code(*parts: bytes | Choice) -> Code:
    """Return the code of a rule; a Choice is a look whether what was loaded is among it."""
    data = b"".join(part if isinstance(part, bytes) else _look(part) for part in parts)
    return Code(data, tuple(part for part in parts if isinstance(part, Choice)))


def _look(choice: Choice, *, inverted: bool = False) -> bytes:
    return expression("lookup", text(1, choice.name), number(2, 1), number(5, 1) if inverted else b"")


class Codes:
    """Makes the rules of clauses, as long as exits keep their marks.

    Most clauses share their test and their verdict, the very objects, with many others: what becomes of those is made once.
    """

    def __init__(self, mark: Callable[[Exit], int], mask: int) -> None:
        self._mark, self._mask = mark, mask
        # The objects are kept with what became of them, so that no other can come to have their number.
        self._known: dict[tuple[int, int, int], tuple[Test, Verdict, bytes, bytes, Needs]] = {}

    def of(self, clause: Clause, counter: str) -> tuple[bytes, Needs]:
        """Return the rule of a clause: the test, its rule's counter, a copy, the mark that routing follows, the verdict.

        With it comes what the rule needs, the very object for all rules of one kind.
        """
        key = clause.family, id(clause.test), id(clause.verdict)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._made(clause)
        _, _, head, tail, needs = known
        return b"".join((head, counter.encode(), tail)), needs

    def _made(self, clause: Clause) -> tuple[Test, Verdict, bytes, bytes, Needs]:
        verdict = clause.verdict
        copy = verdict.copy.address if verdict.copy else ""
        onward = self._mark(verdict.onward) if verdict.onward else 0
        test, end = _test_code(clause.test, clause.family), _verdict(verdict.drop, copy, onward, self._mask)
        head, tail = _COUNT
        needs = tuple((clause.family, need) for need in dict.fromkeys(test.needs + end.needs))
        return clause.test, verdict, test.data + head, tail + end.data, needs


@lru_cache(4096)
def _test_code(test: Test, family: int) -> Code:
    return code(*_test(test, family))


@lru_cache(4096)
def _verdict(drop: bool, copy: str, mark: int, mask: int) -> Code:
    if drop or not (copy or mark):
        return Code(verdict_code(DROP if drop else ACCEPT))
    parts = []
    if copy:
        parts += [_immediate(ipaddress.ip_address(copy).packed), expression("dup", number(1, 1))]
    if mark:
        # Bits outside of our mask belong to others. Marks are in the machine's own byte order.
        keep, ours = nest(4, attr(1, _host(~mask & 0xFFFFFFFF))), nest(5, attr(1, _host(mark)))
        parts += [
            expression("meta", number(1, 1), number(2, _MARK)),
            expression("bitwise", number(1, 1), number(2, 1), number(3, 4), keep, ours),
            expression("meta", number(2, _MARK), number(3, 1)),
        ]
    ending = Ending(b"".join(parts) + verdict_code(ACCEPT))
    return Code(verdict_code(GOTO, ending.name), (ending,))


def nothing_code() -> Code:
    """Return a rule that decides nothing; it only has a comment to carry."""
    return code(expression("counter"))


@lru_cache(4096)
def verdict_code(code: int, chain: str = "") -> bytes:
    """Return the expression that gives a verdict."""
    return expression("immediate", number(1, 0), nest(2, verdict_data(code, chain)))


def verdict_data(code: int, chain: str = "") -> bytes:
    """Return a verdict as data of a map."""
    return nest(2, number(1, code), text(2, chain) if chain else b"")


def interfaces_code(names: Iterable[str]) -> Code:
    """Return a rule that lets pass what came in elsewhere."""
    padded = sorted({name.encode().ljust(16, b"\0") for name in names})
    load = expression("meta", number(1, 1), number(2, _IIFNAME))
    if len(padded) == 1:
        other = expression("cmp", number(1, 1), number(2, 1), nest(3, attr(1, padded[0])))
        return code(load, other, verdict_code(ACCEPT))
    choice = Choice("interface", tuple((each, each) for each in padded))
    return Code(load + _look(choice, inverted=True) + verdict_code(ACCEPT), (choice,))


def neighbours_code() -> Code:
    """Return a rule that lets neighbour and router discovery pass: no rule of an app may cut the link itself (RFC 4861)."""
    return code(
        _LOAD_PROTOCOL,
        _equal(b"\x3a"),
        _payload(_TRANSPORT, 0, 1),
        _range(b"\x85", b"\x89"),
        verdict_code(ACCEPT),
    )


def map_code(family: int, name: str) -> Code:
    """Return the rule that looks the destination up."""
    look = expression("lookup", text(1, name), number(2, 1), number(3, 0))
    return code(_payload(_NETWORK, *_DESTINATION[family]), look)


def _test(test: Test, family: int) -> Iterable[bytes | Choice]:
    if test.protocols:
        # In IPv4 the header tells, which the kernel reads fastest; in IPv6 the protocol may stand behind others.
        yield _payload(_NETWORK, 9, 1) if family == 4 else _LOAD_PROTOCOL
        yield _among("protocol", [(value, value) for value in test.protocols], 1)
    for offset, ports in ((2, test.dst_ports), (0, test.src_ports)):
        if ports:
            yield _payload(_TRANSPORT, offset, 2)
            yield _among("port", [(each.first, each.last) for each in ports], 2)
    if test.src:
        offset, size = _SOURCE[family]
        yield _payload(_NETWORK, offset, size)
        yield _among(f"ipv{family}", [(each.first, each.last) for each in test.src], size)
    if test.dscp is not None:
        yield from _masked(1, b"\xfc", bytes([test.dscp << 2]))
    if test.traffic_class is not None:
        # Version, traffic class and flow label share the first four octets (RFC 8200, 3).
        yield from _masked(0, b"\x0f\xf0", (test.traffic_class << 4).to_bytes(2, "big"))


def _masked(offset: int, mask: bytes, value: bytes) -> Iterable[bytes]:
    yield _payload(_NETWORK, offset, len(mask))
    zero = bytes(len(mask))
    yield expression(
        "bitwise", number(1, 1), number(2, 1), number(3, len(mask)), nest(4, attr(1, mask)), nest(5, attr(1, zero))
    )
    yield _equal(value)


def _among(kind: str, ranges: list[tuple[int, int]], size: int) -> bytes | Choice:
    edges = tuple((first.to_bytes(size, "big"), last.to_bytes(size, "big")) for first, last in ranges)
    if len(edges) > 1:
        return Choice(kind, edges)
    first, last = edges[0]
    return _equal(first) if first == last else _range(first, last)


@lru_cache(4096)
def _payload(base: int, offset: int, size: int) -> bytes:
    return expression("payload", number(1, 1), number(2, base), number(3, offset), number(4, size))


@lru_cache(4096)
def _equal(value: bytes) -> bytes:
    return expression("cmp", number(1, 1), number(2, 0), nest(3, attr(1, value)))


@lru_cache(4096)
def _range(first: bytes, last: bytes) -> bytes:
    return expression("range", number(1, 1), number(2, 0), nest(3, attr(1, first)), nest(4, attr(1, last)))


@lru_cache(4096)
def _immediate(value: bytes) -> bytes:
    return expression("immediate", number(1, 1), nest(2, attr(1, value)))


def _host(value: int) -> bytes:
    return struct.pack("=I", value)


def element_bytes(key: bytes, data: bytes = b"", *, end: bool = False) -> bytes:
    """Return one element of a set or map, by its key as the kernel has it."""
    return nest(1, nest(1, attr(1, key)), nest(2, data) if data else b"", number(3, 1) if end else b"")


def intervals(found: Iterable[tuple[int, int, str]], family: int) -> tuple[list[bytes], list[bytes]]:
    """Return the elements of intervals of addresses that lead to chains: of single addresses, and of wider ones."""
    single: list[bytes] = []
    wide: list[bytes] = []
    for first, last, chain in found:
        size, head, middle, close, tail = _interval(family, len(chain))
        element = b"".join((head, first.to_bytes(size, "big"), middle, chain.encode(), close))
        if first == last:
            single.append(element)
        else:
            end = (last + 1).to_bytes(size, "big").join(tail) if last < SPACE[family] else b""
            wide.append(element + end)
    return single, wide


@lru_cache
def _interval(family: int, length: int) -> tuple[int, bytes, bytes, bytes, tuple[bytes, bytes]]:
    """Return what stands around the two addresses and the name in an interval, because 10,000 of them are made at once."""
    size = _DESTINATION[family][1]
    key, chain = b"K" * size, "C" * length
    head, rest = element_bytes(key, verdict_data(GOTO, chain)).split(key)
    middle, close = rest.split(chain.encode())
    before, after = element_bytes(key, end=True).split(key)
    return size, head, middle, close, (before, after)


def choice_elements(choice: Choice) -> list[bytes]:
    """Return the elements of a set of its own."""
    found: list[bytes] = []
    for first, last in choice.ranges:
        found.append(element_bytes(first))
        if choice.intervals and last != b"\xff" * len(last):
            after: Any = int.from_bytes(last, "big") + 1
            found.append(element_bytes(after.to_bytes(len(last), "big"), end=True))
    return found
