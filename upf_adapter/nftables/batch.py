"""One transaction in the making: tables, chains, rules, maps as messages for the kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from upf_adapter.contract import TrafficRule
from upf_adapter.nftables import expressions as ex
from upf_adapter.nftables import netlink as nl
from upf_adapter.nftables.held import Thing
from upf_adapter.nftables.lowering import Clause
from upf_adapter.nftables.plan import Element, Jump, Step

#: The chain that every packet comes through, and the one that only remembers what was put (see `Batch.state`).
BASE, STATE = "steer", "state"
#: What the maps of single addresses and of wider intervals are called, before their turn.
ONE, WIDE = "one_", "where_"
#: NF_INET_PRE_ROUTING and NF_IP_PRI_MANGLE: after connection tracking has seen the packet, before it is routed.
_HOOK, _PRIORITY = 0, -150
_CONSTANT, _INTERVAL, _MAP = 2, 4, 8
_VERDICTS = 0xFFFFFF00
#: Intervals in one message; an attribute holds at most 64 KiB.
_CHUNK = 300
#: Tells `nft` that keys are in network byte order (NFTNL_UDATA_SET_KEYBYTEORDER).
_BIG_ENDIAN = bytes([0, 4]) + struct.pack("=I", 2)
_NAMED_COUNTER = nl.number(3, 1) + nl.nest(4)
_encode = msgspec.json.Encoder().encode


class Batch:
    """Collects messages. Names come from us alone: fixed ones, and digests of what apps chose."""

    def __init__(self, table: str) -> None:
        self.table = table
        #: Each is one message, or a chain with its rules.
        self.messages: list[bytes] = []
        self._ids = 0
        self._name = nl.text(1, table)
        self._frames: dict[tuple[int, int, int], list[bytes]] = {}
        self._rules: dict[tuple[int, int, int], tuple[bytes, bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self.messages)

    def make_table(self, family: int) -> None:
        """Have an empty table, whatever was there before."""
        for kind, flags in ((nl.NEWTABLE, nl.CREATE), (nl.DELTABLE, 0), (nl.NEWTABLE, nl.CREATE)):
            self._add(kind, family, b"", flags)

    def drop_table(self, family: int) -> None:
        """Have no table."""
        self._add(nl.NEWTABLE, family, b"", nl.CREATE)
        self._add(nl.DELTABLE, family, b"")

    def counter(self, family: int, name: str) -> None:
        """Have a counter at zero."""
        self._named(nl.NEWOBJ, family, 2, (name,), _NAMED_COUNTER, nl.CREATE)

    def drop_counters(self, family: int, names: Iterable[str]) -> None:
        """Have the counters no more."""
        self._named(nl.DELOBJ, family, 2, names, nl.number(3, 1))

    def base(self, family: int) -> None:
        """Have the chain that every packet comes through, empty."""
        hook = nl.nest(4, nl.number(1, _HOOK), nl.number(2, _PRIORITY & 0xFFFFFFFF))
        self._add(nl.NEWCHAIN, family, nl.text(3, BASE) + hook + nl.number(5, 1) + nl.text(7, "filter"), nl.CREATE)

    def chain(
        self, family: int, name: str, steps: Iterable[Step] = (), codes: Mapping[Clause, bytes] | None = None
    ) -> None:
        """Have a chain with these steps."""
        head, tail = self._frame(nl.NEWCHAIN, family, 3, len(name), flags=nl.CREATE)
        said = name.encode()
        # The chain and its rules are one piece: fewer pieces are put together sooner.
        parts = [head, said, tail]
        for step in steps:
            code = ex.verdict_code(ex.JUMP, step.chain) if isinstance(step, Jump) else (codes or {})[step]
            before, between = self._around(family, len(said), len(code))
            parts += (before, said, between, code)
        self.messages.append(b"".join(parts))

    def drop_chains(self, family: int, names: Iterable[str]) -> None:
        """Have the chains no more."""
        self._named(nl.DELCHAIN, family, 3, names)

    def flush(self, family: int, chain: str) -> None:
        """Take all rules out of a chain."""
        self._add(nl.DELRULE, family, nl.text(2, chain))

    def rule(self, family: int, chain: str, code: ex.Code, comment: str = "") -> None:
        """Append one rule to a chain."""
        if not comment:
            before, between = self._around(family, len(chain), len(code.data))
            self.messages.append(b"".join((before, chain.encode(), between, code.data)))
            return
        said = comment.encode() + b"\0"
        body = nl.text(2, chain) + nl.nest(4, code.data) + nl.attr(7, bytes([0, len(said)]) + said)
        self._add(nl.NEWRULE, family, body, nl.CREATE | nl.APPEND)

    def _around(self, family: int, name: int, code: int) -> tuple[bytes, bytes]:
        """Return what stands before and after the chain's name in a rule; the code follows, a multiple of four octets."""
        known = self._rules.get((family, name, code))
        if known is None:
            blank = "N" * name
            body = self._name + nl.text(2, blank) + nl.nest(4, bytes(code))
            whole = nl.message(nl.NEWRULE, family, body, nl.CREATE | nl.APPEND)
            before, after = whole.rsplit(blank.encode(), 1)
            known = self._rules[family, name, code] = before, after[: len(after) - code]
        return known

    def state(self, family: int, said: str) -> None:
        """Keep a note in the ruleset itself, where a flush or a restart takes it along."""
        self.flush(family, STATE)
        self.rule(family, STATE, ex.nothing_code(), comment=said)

    def thing(self, thing: Thing) -> None:
        """Have what chains need beside themselves."""
        family, what = thing
        if isinstance(what, str):
            self.counter(family, what)
        elif isinstance(what, ex.Ending):
            self.ending(family, what)
        else:
            self.choice(family, what)

    def drop_thing(self, thing: Thing) -> None:
        """Have it no more."""
        family, what = thing
        if isinstance(what, str):
            self.drop_counters(family, (what,))
        elif isinstance(what, ex.Ending):
            self.drop_chains(family, (what.name,))
        else:
            self.drop_set(family, what.name)

    def ways(self, family: int, interfaces: Iterable[str], turn: str, fallback: str) -> None:
        """Fill the chain that every packet comes through."""
        self.rule(family, BASE, ex.interfaces_code(interfaces))
        if family == 6:
            self.rule(family, BASE, ex.neighbours_code())
        # Also when there are no wider intervals: a chain that is changed while addresses move between the maps could lead a
        # packet past both.
        for name in (ONE, WIDE):
            self.rule(family, BASE, ex.map_code(family, name + turn))
        if fallback:
            self.rule(family, BASE, ex.code(ex.verdict_code(ex.GOTO, fallback)))

    def take(self) -> list[bytes]:
        """Return what was collected, and begin anew."""
        taken, self.messages = self.messages, []
        return taken

    def ending(self, family: int, ending: ex.Ending) -> None:
        """Have a chain that rules can go to in the end."""
        self.chain(family, ending.name)
        self.rule(family, ending.name, ex.Code(ending.data))

    def choice(self, family: int, choice: ex.Choice) -> None:
        """Have a set that rules can look into."""
        self._ids += 1
        kind, size = ex.TYPES[choice.kind]
        flags = _CONSTANT | (_INTERVAL if choice.intervals else 0)
        order = b"" if choice.kind == "interface" else nl.attr(13, _BIG_ENDIAN)
        name = nl.text(2, choice.name)
        described = nl.number(3, flags) + nl.number(4, kind) + nl.number(5, size) + nl.number(10, self._ids)
        self._add(nl.NEWSET, family, name + described + order, nl.CREATE)
        self._add(nl.NEWSETELEM, family, name + nl.nest(3, *ex.choice_elements(choice)), nl.CREATE)

    def maps(self, family: int, turn: str, room: int) -> None:
        """Have two empty maps from addresses to chains, with room for so many single addresses."""
        # Told how many, the kernel takes a hash that is never made larger: quicker, and always read in the same order.
        self._map(family, ONE + turn, 0, nl.nest(9, nl.number(1, room)))
        self._map(family, WIDE + turn, _INTERVAL)

    def drop_maps(self, family: int, turn: str) -> None:
        """Have both no more."""
        for name in (ONE, WIDE):
            self.drop_set(family, name + turn)

    def _map(self, family: int, name: str, flags: int, described: bytes = b"") -> None:
        kind, size = ex.TYPES[f"ipv{family}"]
        self._ids += 1
        self._add(
            nl.NEWSET,
            family,
            nl.text(2, name)
            + nl.number(3, flags | _MAP)
            + nl.number(4, kind)
            + nl.number(5, size)
            + nl.number(6, _VERDICTS)
            + described
            + nl.number(10, self._ids)
            + nl.attr(13, _BIG_ENDIAN),
            nl.CREATE,
        )

    def drop_set(self, family: int, name: str) -> None:
        """Have the set no more."""
        self._add(nl.DELSET, family, nl.text(2, name))

    def elements(self, family: int, turn: str, found: Iterable[Element], *, drop: bool = False) -> None:
        """Put intervals into the map where they belong, or take them out."""
        kind, flags = (nl.DELSETELEM, 0) if drop else (nl.NEWSETELEM, nl.CREATE)
        for name, all_ in zip((ONE, WIDE), ex.intervals(sorted(found), family), strict=True):
            for at in range(0, len(all_), _CHUNK):
                self._add(kind, family, nl.text(2, name + turn) + nl.nest(3, *all_[at : at + _CHUNK]), flags)

    def _named(
        self, kind: int, family: int, attribute: int, names: Iterable[str], rest: bytes = b"", flags: int = 0
    ) -> None:
        """Add a message about each name."""
        for name in names:
            frame = self._frames.get((kind, family, len(name)))
            if frame is None:
                frame = self._frame(kind, family, attribute, len(name), rest, flags)
            self.messages.append(name.encode().join(frame))

    def _frame(
        self, kind: int, family: int, attribute: int, size: int, rest: bytes = b"", flags: int = 0
    ) -> list[bytes]:
        """Return what stands around the name in a message about it; made once for names of one length."""
        frame = self._frames.get((kind, family, size))
        if frame is None:
            blank = "N" * size
            whole = nl.message(kind, family, self._name + nl.text(attribute, blank) + rest, flags)
            frame = self._frames[kind, family, size] = whole.rsplit(blank.encode(), 1)
        return frame

    def _add(self, kind: int, family: int, body: bytes, flags: int = 0) -> None:
        self.messages.append(nl.message(kind, family, self._name + body, flags))


def counter_name(rule: TrafficRule) -> str:
    """Return the name of a rule's counter; a changed rule has another, so counting begins anew."""
    return "r" + blake2b(_encode(rule), digest_size=12).hexdigest()
