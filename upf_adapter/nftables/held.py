"""What the engine keeps of each rule in force."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import xor
from typing import TypeVar

import msgspec

from upf_adapter.contract import TrafficRule
from upf_adapter.nftables import expressions as ex
from upf_adapter.nftables.lowering import Clause, Exit

Shared = TypeVar("Shared")
#: What chains need beside themselves, in one family: a set to look into, a chain to end in; both are shared between rules.
Need = tuple[int, ex.Choice | ex.Ending]
#: A need, or the counter of a rule by its name.
Thing = tuple[int, str | ex.Choice | ex.Ending]


class Held(msgspec.Struct, frozen=True, eq=False):
    """One rule in force."""

    rule: TrafficRule
    clauses: tuple[Clause, ...]
    counter: str
    #: Each once.
    needs: tuple[Need, ...]

    @property
    def families(self) -> tuple[int, ...]:
        """Return the families that the rule is about, and so has a counter in."""
        if len(self.clauses) == 1:
            return (self.clauses[0].family,)
        return tuple(sorted({clause.family for clause in self.clauses}))

    @property
    def counters(self) -> set[Thing]:
        return {(family, self.counter) for family in self.families}

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
        self.needs: Counter[Need] = Counter()
        self._before: tuple[dict[str, Held], Counter[Need]] = {}, Counter()
        #: Tells one set of rules from another.
        self.content = 0

    def same(self, rules: Mapping[str, tuple[TrafficRule, tuple[Clause, ...]]]) -> bool:
        """Return whether it is these very objects that are held."""
        return rules.keys() == self.held.keys() and all(self.held[key].rule is rule for key, (rule, _) in rules.items())

    def hold(self, held: dict[str, Held]) -> None:
        """Have this set instead of the one before; `tidy` has to follow."""
        self._before = self.held, self.needs
        self.held = held
        self.exits, self.needs = Counter(), Counter()
        for verdict, count in _counted(each.clauses[0].verdict for each in held.values()):
            for exit_ in verdict.exits:
                self.exits[exit_] += count
        for needs, count in _counted(each.needs for each in held.values()):
            for need in needs:
                self.needs[need] += count
        self.content = reduce(xor, (int(each.counter[1:], 16) for each in held.values()), 0)

    def tidy(self) -> tuple[dict[int, list[str]], set[Thing]]:
        """Return what the set before needed and this one does not: counters by family, because they are many, and the rest."""
        before, needed = self._before
        self._before = {}, Counter()
        counters: dict[int, list[str]] = {4: [], 6: []}
        for key, each in before.items():
            now = self.held.get(key)
            if now is None or now.counter != each.counter:
                for family in each.families:
                    counters[family].append(each.counter)
        return counters, {need for need in needed if need not in self.needs}

    def change(self, key: str, before: Held | None, after: Held | None) -> tuple[set[Thing], set[Thing]]:
        """Have one rule instead of another; return what is needed more, and what no more."""
        touched = {*(before.needs if before else ()), *(after.needs if after else ())}
        had: set[Thing] = {need for need in touched if self.needs[need]}
        for each, step in ((before, -1), (after, 1)):
            if each:
                for need in each.needs:
                    self.needs[need] += step
                self.content ^= int(each.counter[1:], 16)
                for exit_ in each.exits:
                    self.exits[exit_] += step
        self.held.pop(key, None)
        if after:
            self.held[key] = after
        has: set[Thing] = {need for need in touched if self.needs[need]}
        for need in touched - has:
            del self.needs[need]
        had |= before.counters if before else set()
        has |= after.counters if after else set()
        return has - had, had - has


def _counted(found: Iterable[Shared]) -> Iterator[tuple[Shared, int]]:
    """Count objects that few are different of, and rules share the very objects: to look into each would take longer."""
    known = list(found)
    apart = dict(zip(map(id, known), known, strict=True))
    for key, count in Counter(map(id, known)).items():
        yield apart[key], count


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
