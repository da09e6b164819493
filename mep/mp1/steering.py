"""Traffic rules reach the user plane: what should be in force is compared with what is, and the difference made.

`reconcile(adapter)` is called by the watch of `manage.py mp1`, after each change and every two seconds, with the one
adapter of that process. It costs one query while nothing has changed. The first call after a start compares
everything, so rules survive a crash of either side; a rule that is refused is reported on its row with the
reason and tried again when it changes.
"""

from __future__ import annotations

import json
import logging
import weakref
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

import upf_adapter
from core.errors import BreakwaterError, Invalid
from mep.mp1.models import Counter
from mep.mp1.models import TrafficRule as Row
from mep.mp1.states import Enforcement, RuleState
from mep.upf import services as notifications
from upf_adapter.contract import TrafficRule, UpfAdapter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done to the user plane: first what goes, then what comes, the highest priority first."""

    delete: tuple[str, ...]
    put: tuple[TrafficRule, ...]


def plan(wanted: dict[str, TrafficRule], present: dict[str, TrafficRule]) -> Plan:
    """Compare what should be with what is; touch nothing."""
    put = [rule for key, rule in wanted.items() if present.get(key) != rule]
    return Plan(
        delete=tuple(sorted(present.keys() - wanted.keys())),
        put=tuple(sorted(put, key=lambda rule: (rule.priority, rule.id))),
    )


class _Memory:
    """What is known about one adapter: the version of the rules it has, and the revisions it has refused."""

    def __init__(self) -> None:
        self.version = -1
        self.refused: dict[str, int] = {}


_memories: weakref.WeakKeyDictionary[UpfAdapter, _Memory] = weakref.WeakKeyDictionary()


def reconcile(adapter: UpfAdapter) -> Plan | None:
    """Make the user plane have the ACTIVE rules and no others; None when there was nothing to look at.

    A user plane that cannot be reached at the moment is tried again at the next call; its rules stay `pending`.
    """
    memory = _memories.setdefault(adapter, _Memory())
    version = Counter.objects.filter(name="traffic").values_list("value", flat=True).first() or 0
    if version == memory.version:
        return None
    rows = {f"{row.app_id}/{row.rule_id}": row for row in Row.objects.all()}
    active = {key: row for key, row in rows.items() if row.state == RuleState.ACTIVE}
    memory.refused = {
        key: revision for key, revision in memory.refused.items() if key in active and active[key].revision == revision
    }
    try:
        made = plan(
            {key: as_rule(key, row) for key, row in active.items() if key not in memory.refused}, adapter.rules()
        )
        for rule_id in made.delete:
            adapter.delete(rule_id)
    except BreakwaterError as problem:
        log.warning("the user plane %s cannot be brought up to date: %s", adapter.name, problem.detail)
        return None
    settled = True
    for key, row in rows.items():
        if key not in active:
            _report(row, Enforcement.WITHDRAWN, "")
    for rule in made.put:
        settled &= _put(adapter, memory, rule, active[rule.id])
    unchanged = active.keys() - memory.refused.keys() - {rule.id for rule in made.put}
    for key in unchanged:
        _report(active[key], Enforcement.IN_FORCE, "")
    if settled:
        memory.version = version
    return made


def make_adapter() -> UpfAdapter:
    """Return the adapter that MEP_UPF names, with the options of MEP_UPF_CONFIG; `Invalid` when they cannot be read."""
    options: object = {}
    if settings.UPF_CONFIG:
        try:
            options = json.loads(Path(settings.UPF_CONFIG).read_text())
        except (OSError, ValueError) as problem:
            raise Invalid(f"MEP_UPF_CONFIG: {settings.UPF_CONFIG} cannot be read: {problem}") from None
    if not isinstance(options, dict):
        raise Invalid(f"MEP_UPF_CONFIG: {settings.UPF_CONFIG} must hold one JSON object")
    return upf_adapter.create(settings.UPF, notifications.equipped(settings.UPF, options))


def as_rule(key: str, row: Row) -> TrafficRule:
    """Return the row as adapters want it."""
    return TrafficRule(
        id=key,
        filter_type=row.body["filterType"],
        priority=row.body["priority"],
        filters=tuple(row.body["trafficFilter"]),
        action=row.body["action"],
        destinations=tuple(row.body.get("dstInterface") or ()),
    )


def _put(adapter: UpfAdapter, memory: _Memory, rule: TrafficRule, row: Row) -> bool:
    """Put one rule and return whether that is settled; only a user plane that is away leaves it open."""
    try:
        try:
            adapter.put(rule)
        except BreakwaterError as problem:
            if not problem.retryable:
                # An older version of the rule may be in force; it is not what is wanted, so it goes.
                adapter.delete(rule.id)
            raise
    except BreakwaterError as problem:
        if problem.retryable:
            _report(row, Enforcement.PENDING, problem.detail)
            return False
        memory.refused[rule.id] = row.revision
        _report(row, Enforcement.REFUSED, problem.detail)
        log.warning("the user plane %s refuses rule %s: %s", adapter.name, rule.id, problem.detail)
        return True
    _report(row, Enforcement.IN_FORCE, "")
    return True


def _report(row: Row, enforcement: Enforcement, reason: str) -> None:
    if (row.enforcement, row.reason) != (enforcement, reason[:500]):
        # Only for the revision that was looked at: a newer one is still to come.
        Row.objects.filter(pk=row.pk, revision=row.revision).update(enforcement=enforcement, reason=reason[:500])
        Counter.bump("steering")
