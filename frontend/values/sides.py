"""Two texts side by side, line by line: what stayed, came, went and changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

#: Lines that are compared at most; a longer text is cut, and the caller says so.
MOST_LINES = 1500
#: Lines that are shown around a difference.
_AROUND = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the picture. `kind` is same, removed, added, changed or folded; then `count` lines are left out."""

    kind: str
    left: str = ""
    right: str = ""
    count: int = 0


def side_by_side(left: str, right: str) -> list[Line]:
    """Return the lines of both texts beside each other; long stretches without a difference are folded."""
    before, after = left.splitlines()[:MOST_LINES], right.splitlines()[:MOST_LINES]
    found: list[Line] = []
    steps = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for number, (what, a, b, c, d) in enumerate(steps):
        if what == "equal":
            found += _folded(before[a:b], first=number == 0, last=number == len(steps) - 1)
        else:
            found += _changed(before[a:b], after[c:d])
    return found


def _changed(before: list[str], after: list[str]) -> Iterator[Line]:
    for index in range(max(len(before), len(after))):
        if index >= len(after):
            yield Line("removed", before[index])
        elif index >= len(before):
            yield Line("added", "", after[index])
        else:
            yield Line("changed", before[index], after[index])


def _folded(lines: list[str], *, first: bool, last: bool) -> Iterator[Line]:
    head, tail = 0 if first else _AROUND, 0 if last else _AROUND
    if len(lines) <= head + tail + 1:
        yield from (Line("same", line, line) for line in lines)
        return
    yield from (Line("same", line, line) for line in lines[:head])
    yield Line("folded", count=len(lines) - head - tail)
    yield from (Line("same", line, line) for line in lines[len(lines) - tail :])
