"""Export and import of the whole state, each in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import transaction

from core.errors import Invalid
from mep.mp1 import bell
from mep.mp1.models import Counter
from mep.state import sections
from mep.state.file import State
from mep.state.sections import Import, Problems

#: Counters that give rows their revision, and so their ETag.
REVISIONS = ("services", "traffic", "dns")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import did."""

    counts: dict[str, int]
    remarks: list[str]


@transaction.atomic
def collect(*, with_secrets: bool) -> State:
    """Return the state as it is now."""
    secrets: dict[str, str] | None = {} if with_secrets else None
    found = {each.name: msgspec.to_builtins(each.dump(secrets)) for each in sections.known()}
    counters = dict(Counter.objects.filter(name__in=REVISIONS).values_list("name", "value"))
    return State(found, {name: counters.get(name, 0) for name in REVISIONS}, secrets)


def bring(state: State, *, replace: bool, now: float | None = None) -> Outcome:
    """Make the state that of this MEP, or merge it into it.

    `Invalid` lists everything that is wrong, and then nothing has changed.
    """
    problems = Problems()
    known = {each.name: each for each in sections.known()}
    for name in state.sections.keys() - known.keys():
        problems.add(
            name[:120], "this MEP has no such section; the file is of another version, or of a MEP with more parts"
        )
    rows: dict[str, list[Any]] = {}
    for name, section in known.items():
        if name in state.sections:
            rows[name] = sections.read(section, state.sections[name], problems)
        elif not section.optional:
            problems.add(name, "is missing")
    for name, value in state.revisions.items():
        problems.unless(name in REVISIONS and 0 <= value <= 2**53, f"revisions.{name[:40]}", "is no counter")
    _stop_at(problems)
    job = Import(rows, state.revisions, state.secrets, replace, time.time() if now is None else now)
    with transaction.atomic():
        for name in rows:
            known[name].check(rows[name], job)
        _stop_at(job.problems)
        if replace:
            for name in reversed(list(rows)):
                known[name].wipe(job)
        for name in rows:
            known[name].load(rows[name], job)
        _stop_at(job.problems)
        bell.ring_on_commit()
    return Outcome({name: len(each) for name, each in rows.items()}, job.remarks)


def give_revisions(counter: str, rows: list[Any], job: Import, *, gone: bool = False) -> list[int]:
    """Return a revision for each row and raise the counter, so that every process sees the rows as new.

    A MEP whose counter is below every row keeps the revisions of the file, and so their ETags. Otherwise each
    gets the next one above both counters: no ETag that somebody holds may mean something else.
    """
    own = Counter.objects.filter(name=counter).values_list("value", flat=True).first() or 0
    theirs = max([job.revisions.get(counter, 0), *(row.revision for row in rows)])
    if rows and own < min(row.revision for row in rows):
        found, value = [row.revision for row in rows], theirs
    else:
        start = max(own, theirs)
        found = list(range(start + 1, start + 1 + len(rows)))
        value = start + len(rows) + (1 if gone and not rows else 0)
    if value != own:
        Counter.objects.update_or_create(name=counter, defaults={"value": value})
    return found


def _stop_at(problems: Problems) -> None:
    if problems.found:
        count = len(problems.found)
        raise Invalid(
            f"The state cannot be imported, {count} mistake{'s' if count > 1 else ''} found; nothing was changed",
            errors=problems.found,
        )
