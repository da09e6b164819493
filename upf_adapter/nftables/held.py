"""What the engine keeps of each rule in force."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

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
