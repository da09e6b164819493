"""What the kernel says that it has: counters, our note, and a fingerprint of the two tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b

from upf_adapter.nftables import netlink as nl
from upf_adapter.nftables.batch import BASE, ONE, STATE, WIDE

_HEADER = 4


def counters(kernel: nl.Kernel, family: int, table: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, packets and octets of each counter."""
    for answer in kernel.ask(nl.GETOBJ, family, nl.text(1, table) + nl.number(3, 1), dump=True):
        name, packets, octets = "", 0, 0
        for kind, start, end in nl.attributes(answer, _HEADER):
            if kind == 2:
                name = answer[start : end - 1].decode("ascii", "replace")
            elif kind == 4:
                for inner, low, high in nl.attributes(answer, start, end):
                    if inner == 1:
                        octets = int.from_bytes(answer[low:high], "big")
                    elif inner == 2:
                        packets = int.from_bytes(answer[low:high], "big")
        yield name, packets, octets


def note(kernel: nl.Kernel, table: str) -> str:
    """Return what our ruleset says about itself; empty when there is none."""
    for answer in kernel.ask(nl.GETRULE, 4, nl.text(1, table) + nl.text(2, STATE), dump=True):
        for kind, start, end in nl.attributes(answer, _HEADER):
            if kind == 7 and answer[start : start + 1] == b"\0":
                return answer[start + 2 : end].rstrip(b"\0").decode("ascii", "replace")
    return ""


def fingerprint(kernel: nl.Kernel, table: str, maps: Mapping[int, str]) -> str:
    """Return a digest of tables, base chains, rules and maps. Handles are in it, so what was made anew is seen too.

    Counters are not, nor the chain with our note, which holds this digest.
    """
    found = blake2b(digest_size=12)
    name = nl.text(1, table)
    apart = name + nl.text(2, STATE)
    for family, turn in maps.items():
        for kind, body in ((nl.GETTABLE, name), (nl.GETCHAIN, name + nl.text(3, BASE))):
            for answer in kernel.ask(kind, family, body, dump=False):
                found.update(answer[_HEADER:])
        for answer in kernel.ask(nl.GETRULE, family, name, dump=True):
            if not answer.startswith(apart, _HEADER):
                found.update(answer[_HEADER:])
        for map_ in (ONE + turn, WIDE + turn):
            for answer in kernel.ask(nl.GETSETELEM, family, name + nl.text(2, map_), dump=True):
                # How many elements come in one message depends on the reader.
                for kind, start, end in nl.attributes(answer, _HEADER):
                    if kind == 3:
                        found.update(answer[start:end])
    return found.hexdigest()
