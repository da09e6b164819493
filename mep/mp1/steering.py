"""Traffic rules reach the user plane: what should be in force is compared with what is, and the difference made.

`reconcile(adapter)` is called by the watch of `manage.py mp1`, after each change and every two seconds, with the one
adapter of that process. It costs one query and one question to the user plane while nothing has changed. The first call
after a start brings the whole set, so rules survive a crash of either side; a user plane that lost rules, or that
somebody else changed, gets them again. A rule that is refused is reported on its row with the reason and tried again
when it changes.
"""

from __future__ import annotations

import json
import logging
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

import upf_adapter
from core.errors import BreakwaterError, Invalid
from mep.mp1 import alarms
from mep.mp1.models import Counter
from mep.mp1.models import TrafficRule as Row
from mep.mp1.states import Enforcement, RuleState, Severity
from mep.upf import services as notifications
from upf_adapter.contract import Counters, Outcome, TrafficRule, UpfAdapter

log = logging.getLogger(__name__)
#: Seconds between looks at what the user plane has counted.
COUNT_EVERY = 5.0
#: Rules that wait for something are tried one by one up to this number, otherwise with the whole set.
FEW = 20
#: Rows in one statement.
CHUNK = 500
#: The kind of alarm that stands while the user plane cannot be reached.
AWAY = "user-plane-away"


@dataclass(frozen=True, slots=True)
class Known:
    """What a row said when it was last looked at."""

    pk: int
    revision: int
    state: str
    enforcement: str
    reason: str


@dataclass(slots=True)
class _Memory:
    """What is known about one adapter."""

    #: The version of the rules that `rows` and `rules` are of.
    version: int = -1
    rows: dict[str, Known] = field(default_factory=dict)
    rules: dict[str, TrafficRule] = field(default_factory=dict)
    #: The revision of each rule that was refused for good, with the reason.
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: What the user plane has, as far as we brought it there; None: not known.
    put: dict[str, TrafficRule] | None = None
    #: Rules that wait for something, with the reason.
    waiting: dict[str, str] = field(default_factory=dict)
    away: str = ""
    #: Whether an alarm stands; None: not known.
    alarmed: bool | None = None
    counted_at: float = 0.0
    counted: dict[str, Counters] = field(default_factory=dict)


_memories: weakref.WeakKeyDictionary[UpfAdapter, _Memory] = weakref.WeakKeyDictionary()


def reconcile(adapter: UpfAdapter, now: float | None = None) -> Outcome | None:
    """Make the user plane have the ACTIVE rules and no others; None when there was nothing to do.

    A user plane that cannot be reached at the moment is tried again at the next call; new rules stay `pending`.
    """
    memory = _memories.setdefault(adapter, _Memory())
    version = Counter.objects.filter(name="traffic").values_list("value", flat=True).first() or 0
    changed = version != memory.version
    if changed:
        _read(memory, version)
    try:
        if memory.put is not None and not adapter.intact():
            log.warning("the user plane %s has lost or changed rules; they are put again", adapter.name)
            memory.put = None
        outcome = _bring(adapter, memory)
    except BreakwaterError as problem:
        _fail(adapter, memory, problem)
        return None
    if memory.away:
        log.info("the user plane %s is back", adapter.name)
        memory.away = ""
    if memory.alarmed is not False:
        # After a start nobody here knows whether an alarm of the process before still stands.
        alarms.clear(AWAY, f"user-plane={adapter.name}")
        memory.alarmed = False
    if outcome is not None or changed:
        _report(memory)
    _count(adapter, memory, time.time() if now is None else now)
    return outcome


def check(row: Row, body: Mapping[str, Any], state: RuleState | None) -> None:
    """Raise `Invalid` or `Refused`, with the nearest thing, when the row would be ACTIVE and the user plane cannot do it."""
    if (state or row.state) == RuleState.ACTIVE:
        _checker(settings.UPF, settings.UPF_CONFIG).check(_rule(f"{row.app_id}/{row.rule_id}", body))


def expressible(key: str, body: Mapping[str, Any]) -> None:
    """Raise `Invalid` or `Refused`, with the nearest thing, when the user plane cannot do what this body says."""
    _checker(settings.UPF, settings.UPF_CONFIG).check(_rule(key, body))


def abilities() -> dict[str, Any]:
    """Return what the user plane can express as JSON values; empty while its adapter cannot be set up."""
    try:
        can = _checker(settings.UPF, settings.UPF_CONFIG).capabilities()
    except BreakwaterError:
        return {}
    return {
        "actions": sorted(can.actions),
        "filters": sorted(can.filters),
        "interfaces": sorted(can.interfaces),
        "filterTypes": sorted(can.filter_types),
        "families": sorted(can.families),
        "counters": can.counters,
        "mostRules": can.most_rules,
        "notes": list(can.notes),
    }


def make_adapter() -> UpfAdapter:
    """Return the adapter that MEP_UPF names, with the options of MEP_UPF_CONFIG; `Invalid` when they cannot be read."""
    options = adapter_options()
    if settings.UPF == "nftables":
        options = {**options, "socket": options.get("socket") or str(helper_socket())}
    return upf_adapter.create(settings.UPF, notifications.equipped(settings.UPF, options))


def adapter_options() -> dict[str, Any]:
    """Return what MEP_UPF_CONFIG holds; `Invalid` when it cannot be read."""
    options: object = {}
    if settings.UPF_CONFIG:
        try:
            options = json.loads(Path(settings.UPF_CONFIG).read_text())
        except (OSError, ValueError) as problem:
            raise Invalid(f"MEP_UPF_CONFIG: {settings.UPF_CONFIG} cannot be read: {problem}") from None
    if not isinstance(options, dict):
        raise Invalid(f"MEP_UPF_CONFIG: {settings.UPF_CONFIG} must hold one JSON object")
    return options


def helper_socket() -> Path:
    """Return where the helper of the data plane listens that `manage.py edge` starts."""
    return Path(settings.VAR) / "upf.sock"


def as_rule(key: str, row: Row) -> TrafficRule:
    """Return the row as adapters want it."""
    return _rule(key, row.body)


def _rule(key: str, body: Mapping[str, Any]) -> TrafficRule:
    return TrafficRule(
        id=key,
        filter_type=body["filterType"],
        priority=body["priority"],
        filters=tuple(body["trafficFilter"]),
        action=body["action"],
        destinations=tuple(body.get("dstInterface") or ()),
    )


@lru_cache(1)
def _checker(name: str, config: str) -> UpfAdapter:
    """Return an adapter that is only asked what it can do; it opens no connection."""
    return make_adapter()


def _read(memory: _Memory, version: int) -> None:
    """Look at all rows, and at the bodies of those that changed."""
    before, memory.rows = memory.rows, {}
    members = ("app_id", "rule_id", "pk", "revision", "state", "enforcement", "reason")
    for app_id, rule_id, *known in Row.objects.order_by().values_list(*members):
        memory.rows[f"{app_id}/{rule_id}"] = Known(*known)
    active = {key: row for key, row in memory.rows.items() if row.state == RuleState.ACTIVE}
    memory.rules = {key: rule for key, rule in memory.rules.items() if key in active}
    stale = {
        row.pk: key
        for key, row in active.items()
        if key not in memory.rules or before[key].revision != row.revision or before[key].pk != row.pk
    }
    for chunk in _chunks(list(stale)):
        for pk, body in Row.objects.filter(pk__in=chunk).values_list("pk", "body"):
            memory.rules[stale[pk]] = _rule(stale[pk], body)
    # A row that went away between the two looks has raised the version, and is seen to at the next call.
    memory.rules = {key: rule for key, rule in memory.rules.items() if key in active}
    memory.refused = {
        key: refusal for key, refusal in memory.refused.items() if key in active and active[key].revision == refusal[0]
    }
    memory.waiting = {key: reason for key, reason in memory.waiting.items() if key in memory.rules}
    memory.version = version


def _bring(adapter: UpfAdapter, memory: _Memory) -> Outcome | None:
    """Make the difference; None when there is none."""
    wanted = {key: rule for key, rule in memory.rules.items() if key not in memory.refused}
    put = memory.put
    if put is None:
        return _settled(memory, wanted, adapter.replace(wanted.values()))
    gone = put.keys() - wanted.keys()
    come = [rule for key, rule in wanted.items() if put.get(key) != rule]
    if not gone and not come:
        return None
    if len(gone) + len([rule for rule in come if rule.id not in memory.waiting]) > 1 or len(come) > FEW:
        # In one step where the user plane can, so that no packet is judged by half of it.
        return _settled(memory, wanted, adapter.replace(wanted.values()))
    problems: dict[str, BreakwaterError] = {}
    for key in gone:
        adapter.delete(key)
        del put[key]
    for rule in come:
        try:
            adapter.put(rule)
            put[rule.id] = rule
        except BreakwaterError as problem:
            problems[rule.id] = problem
            if rule.id in put:
                # An older version of the rule is in force; it is not what is wanted, so it goes.
                adapter.delete(rule.id)
                del put[rule.id]
    return _settled(memory, wanted, Outcome(frozenset(wanted.keys() - problems.keys()), problems))


def _settled(memory: _Memory, wanted: dict[str, TrafficRule], outcome: Outcome) -> Outcome:
    """Remember what came of it."""
    memory.put = {key: wanted[key] for key in outcome.in_force}
    memory.waiting = {}
    for key, problem in outcome.problems.items():
        if problem.retryable:
            memory.waiting[key] = problem.detail
        else:
            memory.refused[key] = memory.rows[key].revision, problem.detail
            log.warning("the user plane refuses rule %s: %s", key, problem.detail)
    return outcome


def _fail(adapter: UpfAdapter, memory: _Memory, problem: BreakwaterError) -> None:
    """Tell that the user plane is away: what is in force stays so, the rest waits."""
    if memory.away != problem.detail:
        log.warning("the user plane %s cannot be brought up to date: %s", adapter.name, problem.detail)
        memory.away = problem.detail
        text = f"The user plane {adapter.name} is away: {problem.detail}. What is in force stays so, new rules wait"
        alarms.raise_alarm(AWAY, f"user-plane={adapter.name}", Severity.MAJOR, text)
        memory.alarmed = True
    # It may have got part of what was asked.
    memory.put = None
    for key, row in memory.rows.items():
        if key in memory.rules and row.enforcement != Enforcement.IN_FORCE:
            memory.waiting[key] = problem.detail
    _report(memory)


def _report(memory: _Memory) -> None:
    """Write down what became of each rule, where that is news; in a few statements, however many rules there are."""
    news: dict[tuple[str, str], list[str]] = {}
    for key, row in memory.rows.items():
        told = _told(memory, key, row)
        if told != (row.enforcement, row.reason):
            news.setdefault(told, []).append(key)
    if not news:
        return
    with transaction.atomic():
        for (enforcement, reason), keys in news.items():
            for chunk in _chunks([memory.rows[key].pk for key in keys]):
                # Revisions come from the counter: a row that changed since has a higher one, and is still to come.
                Row.objects.filter(pk__in=chunk, revision__lte=memory.version).update(
                    enforcement=enforcement, reason=reason
                )
        Counter.bump("steering")
    for (enforcement, reason), keys in news.items():
        for key in keys:
            row = memory.rows[key]
            memory.rows[key] = Known(row.pk, row.revision, row.state, enforcement, reason)


def _told(memory: _Memory, key: str, row: Known) -> tuple[str, str]:
    if key not in memory.rules:
        return Enforcement.WITHDRAWN.value, ""
    if key in memory.refused:
        return Enforcement.REFUSED.value, memory.refused[key][1][:500]
    if memory.put is not None and memory.put.get(key) == memory.rules[key]:
        return Enforcement.IN_FORCE.value, ""
    if key in memory.waiting:
        return Enforcement.PENDING.value, memory.waiting[key][:500]
    return row.enforcement, row.reason


def _count(adapter: UpfAdapter, memory: _Memory, now: float) -> None:
    """Write down what the user plane has counted, every few seconds, where it counted anything."""
    if not adapter.capabilities().counters or 0 <= now - memory.counted_at < COUNT_EVERY:
        return
    memory.counted_at = now
    try:
        seen = adapter.counters()
    except BreakwaterError as problem:
        log.info("the user plane %s does not tell its counters: %s", adapter.name, problem.detail)
        return
    news = [
        (each.packets, each.octets, now, memory.rows[key].pk)
        for key, each in seen.items()
        if key in memory.rows and memory.counted.get(key, Counters()) != each
    ]
    memory.counted = seen
    if news:
        _write(news)


def _write(news: Iterable[tuple[int, int, float, int]]) -> None:
    table = connection.ops.quote_name(Row._meta.db_table)
    with transaction.atomic(), connection.cursor() as cursor:
        # One statement per row, in one transaction: bulk_update would build one of 10,000 cases.
        cursor.executemany(
            f"UPDATE {table} SET packets = %s, octets = %s, counted_at = %s WHERE id = %s",  # noqa: S608 - our table
            list(news),
        )


def _chunks(values: list[int]) -> Iterable[list[int]]:
    return (values[at : at + CHUNK] for at in range(0, len(values), CHUNK))
