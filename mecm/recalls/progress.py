"""How far a recall got at one place, and on the whole. Decisions only: no database, no network."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from core.recalls import STOP
from core.words import say


class Standing(enum.StrEnum):
    """How far it got; a place is dark when nobody can tell what runs there now."""

    DONE = "done"
    UNDER_WAY = "under-way"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one deployment that ran a recalled package."""

    action: str
    #: Whether the wish of now still is a recalled package.
    recalled_still: bool
    state: str
    reason: str
    #: Whether the reported state is about the wish of now.
    current: bool
    #: Whether its node is linked and was heard of lately.
    linked: bool
    #: Whether its node holds a list that tells the recall; on a direct node the centre itself does.
    told: bool


def standing(facts: Facts) -> tuple[Standing, str]:
    """Return how far the recall got there, and in words what happened.

    What a node said before it went dark stays true as far as it was final: stopped, removed, changed to another
    release. Anything else on a dark node may still run.
    """
    settled = facts.current and facts.state in ("ready", "failed", "removed")
    if facts.state == "removed":
        return Standing.DONE, "removed"
    if settled and not facts.recalled_still:
        return Standing.DONE, say("runs another release")
    if facts.action == STOP and settled and facts.reason == "recalled":
        return Standing.DONE, "stopped"
    if facts.action != STOP and facts.told:
        return Standing.DONE, "told"
    if not facts.linked:
        return Standing.DARK, say("may still run")
    return Standing.UNDER_WAY, say("is being stopped") if facts.action == STOP else say("is being told")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many nodes of a recall are how far; a node is as far as the last of its deployments."""

    total: int = 0
    done: int = 0
    under_way: int = 0
    dark: int = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done anywhere."""
        return self.done == self.total

    @property
    def percent(self) -> int:
        """How much of it is done."""
        return 100 * self.done // self.total if self.total else 100

    @property
    def words(self) -> str:
        """The sum in words, as `2 of 3 done, 1 dark`."""
        if not self.total:
            return say("runs nowhere")
        done, total, under_way, dark = self.done, self.total, self.under_way, self.dark
        if not under_way and not dark:
            return say("{done} of {total} done", done=done, total=total)
        if not dark:
            return say("{done} of {total} done, {under_way} under way", done=done, total=total, under_way=under_way)
        if not under_way:
            return say("{done} of {total} done, {dark} dark", done=done, total=total, dark=dark)
        return say(
            "{done} of {total} done, {under_way} under way, {dark} dark",
            done=done,
            total=total,
            under_way=under_way,
            dark=dark,
        )

    def __str__(self) -> str:
        return str(self.words)


def counts(places: Iterable[tuple[Hashable, Standing]]) -> Counts:
    """Sum up by node."""
    by_node: dict[Hashable, set[Standing]] = defaultdict(set)
    for node, how in places:
        by_node[node].add(how)
    found = Counter(
        Standing.DARK if Standing.DARK in seen else Standing.UNDER_WAY if Standing.UNDER_WAY in seen else Standing.DONE
        for seen in by_node.values()
    )
    return Counts(len(by_node), found[Standing.DONE], found[Standing.UNDER_WAY], found[Standing.DARK])
