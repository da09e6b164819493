"""What the engine keeps of each rule in force."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import msgspec

from upf_adapter.contract import TrafficRule
from upf_adapter.nftables import expressions as ex
from upf_adapter.nftables.lowering import Clause, Exit

#: What chains need beside themselves, in one family: a counter by its name, a set to look into, a chain to end in.
Thing = tuple[int, str | ex.Choice | ex.Ending]


class Held(msgspec.Struct, frozen=True, eq=False):
    """One rule in force."""

    rule: TrafficRule
    clauses: tuple[Clause, ...]
    counter: str
    #: Each once.
    things: tuple[Thing, ...]

    @property
    def exits(self) -> tuple[Exit, ...]:
        return self.clauses[0].verdict.exits

    def of(self, family: int) -> list[Clause]:
        return [clause for clause in self.clauses if clause.family == family]


class Books:
    """The rules in force, and what they need."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        #: How many rules need each.
        self.exits: Counter[Exit] = Counter()
        self.things: Counter[Thing] = Counter()
        #: Tells one set of rules from another.
        self.content = 0

    def same(self, rules: Mapping[str, TrafficRule]) -> bool:
        """Return whether it is these very objects that are held."""
        return rules.keys() == self.held.keys() and all(self.held[key].rule is rule for key, rule in rules.items())

    def hold(self, held: dict[str, Held]) -> None:
        """Have this set instead of the one before; `tidy` has to follow."""
        self.held = held
        # There are few verdicts, and rules share the very objects: to look into each would take longer.
        verdicts = [each.clauses[0].verdict for each in held.values()]
        apart = {id(verdict): verdict for verdict in verdicts}
        self.exits = Counter()
        for key, count in Counter(map(id, verdicts)).items():
            for exit_ in apart[key].exits:
                self.exits[exit_] += count
        self.content = 0
        for each in held.values():
            self.content ^= int(each.counter[1:], 16)

    def tidy(self) -> set[Thing]:
        """Return what the set before needed and this one does not."""
        before, self.things = self.things, Counter(chain.from_iterable(each.things for each in self.held.values()))
        return before.keys() - self.things.keys()

    def change(self, key: str, before: Held | None, after: Held | None) -> tuple[set[Thing], set[Thing]]:
        """Have one rule instead of another; return what is needed more, and what no more."""
        touched = {*(before.things if before else ()), *(after.things if after else ())}
        had = {thing for thing in touched if self.things[thing]}
        for each, step in ((before, -1), (after, 1)):
            if each:
                for thing in each.things:
                    self.things[thing] += step
                self.content ^= int(each.counter[1:], 16)
                for exit_ in each.exits:
                    self.exits[exit_] += step
        self.held.pop(key, None)
        if after:
            self.held[key] = after
        has = {thing for thing in touched if self.things[thing]}
        for thing in touched - has:
            del self.things[thing]
        return has - had, had - has


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector away while hundreds of thousands of objects come into being that all stay."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
