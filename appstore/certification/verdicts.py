"""What results mean: which still hold for a new release, and which level they give. Pure, and free of Django."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appstore.certification.contract import Kind, Outcome
from core.findings import Level
from core.words import say

#: A check that ended so stands in nobody's way (a skipped one does not apply).
_FINE = {Outcome.PASSED, Outcome.WARNED, Outcome.SKIPPED}
#: Only what was really found out holds for the next release, too.
_LASTING = {Outcome.PASSED, Outcome.WARNED, Outcome.FAILED}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of one check in one run."""

    name: str
    version: str
    digest: str
    kind: str
    options: Mapping[str, Any]
    parts: frozenset[str]
    outcome: str
    levels: frozenset[str] = frozenset()
    suites: tuple[str, ...] = ()
    #: Digests of the suites that it was part of.
    suite_digests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Demand:
    """What a level asks for: the suites that must hold, and which findings stand in the way."""

    name: str
    suites: tuple[str, ...]
    gates: str = "error"
    without: frozenset[str] = frozenset()


@dataclass(slots=True)
class Verdict:
    """What a run comes to. `level` is the highest one reached; `reasons` say what kept it from the next one."""

    passed: bool
    level: str = ""
    levels: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    waiting: bool = False


def judge(results: Sequence[Seen], demands: Sequence[Demand], ran: Iterable[str]) -> Verdict:
    """Return what the results come to; `demands` from the lowest level up, `ran` the names of the suites that ran.

    A level is reached when all its suites ran, everything in them holds, and the levels below are reached, too.
    """
    present = set(ran)
    verdict = Verdict(passed=bool(results) and not any(_stands(each, "error") for each in results))
    verdict.waiting = any(each.outcome in ("", Outcome.WAITING) for each in results)
    for demand in demands:
        missing = [name for name in demand.suites if name not in present]
        if missing:
            verdict.reasons.append(say("{name}: {missing} did not run", name=demand.name, missing=", ".join(missing)))
            break
        counted = [
            each for each in results if set(each.suites) & set(demand.suites) and each.name not in demand.without
        ]
        against = [each for each in counted if _stands(each, demand.gates)]
        if against or not any(each.outcome in (Outcome.PASSED, Outcome.WARNED) for each in counted):
            words = ", ".join(f"{each.name} ({each.outcome or 'not ended'})" for each in against[:20])
            verdict.reasons.append(f"{demand.name}: {words or 'no check applied'}")
            break
        verdict.levels.append(demand.name)
        verdict.level = demand.name
    return verdict


def _stands(result: Seen, gates: str) -> bool:
    """Return whether this result stands in the way of a level at which findings of `gates` and worse count."""
    if result.outcome not in _FINE:
        return True
    return gates == Level.WARNING and (result.outcome == Outcome.WARNED or Level.WARNING in result.levels)


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier run of the same application."""

    parts: Mapping[str, str]
    environment: Mapping[str, Any]
    results: Mapping[str, Seen]


#: What of the environment a check that deploys nothing can notice.
_STATIC_ENVIRONMENT = ("breakwater", "advisories", "values", "rendering")


def holds(wanted: Seen, before: Before, parts: Mapping[str, str], environment: Mapping[str, Any]) -> bool:
    """Return whether the result of an earlier run still holds, because nothing that the check looks at differs.

    The same check (version and source), the same options, the same suites, the same environment, and the same digest
    of each part that it looks at; a part that is not known on one side differs.
    """
    old = before.results.get(wanted.name)
    if old is None or old.outcome not in _LASTING:
        return False
    if (old.version, old.digest, dict(old.options)) != (wanted.version, wanted.digest, dict(wanted.options)):
        return False
    if not wanted.suite_digests or wanted.suite_digests != old.suite_digests:
        return False
    members = _STATIC_ENVIRONMENT if wanted.kind != Kind.LIVE else sorted({*before.environment, *environment})
    if any(before.environment.get(name) != environment.get(name) for name in members):
        return False
    return bool(wanted.parts) and all(part in parts and before.parts.get(part) == parts[part] for part in wanted.parts)


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value, the same for the same value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()
