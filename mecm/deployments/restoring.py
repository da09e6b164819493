"""What the MEC platform of a direct node has lost: found by comparing what it holds with what is wished, and told again.

An agent finds its wishes in its own database and provisions anew when that is lost; a platform that the centre reaches
directly has nobody beside it, so the node's watch does the same for it. Whatever is asked for may be asked twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from core.operations.models import Operation
from engines.applier import RECALLED
from mecm.deployments import services
from mecm.deployments.models import TRIAL_NAMESPACE, Deployment
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node
from mecm.steering import services as steering
from mecm.steering.models import RuleSet

logger = logging.getLogger("breakwater.deployments")

#: The reported object that keeps what was told again of a deployment: tries since it was last in order, and events.
KIND = "toldAgain"
#: An app instance, a wish for rules, and what became of a wish that is held (its app has come, or is another release).
APP, RULES, OUTCOME = "app", "rules", "outcome"
#: Pauses before the second and each later try while the first did not help.
_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_EVENTS = 20
_SAID = {
    APP: ("ProvisionedAgain", "the MEC platform did not know this app instance any more; it is provisioned anew"),
    RULES: ("RulesToldAgain", "the MEC platform did not hold the present wish for the rules; it is told again"),
}


@dataclass(frozen=True, slots=True)
class Held:
    """What a platform said that it holds; None where it says nothing of the kind, as older ones do."""

    apps: frozenset[str] | None = None
    #: generation and state of each wish for rules, by appInstanceId
    rules: Mapping[str, tuple[int, str]] | None = None

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Held:
        """Read a platform's snapshot; what is no list of objects says nothing."""
        apps, wishes = state.get("apps"), state.get("rule_wishes")
        rules: dict[str, tuple[int, str]] | None = None
        if isinstance(wishes, list):
            rules = {}
            for each in wishes:
                generation = each.get("generation") if isinstance(each, Mapping) else None
                if isinstance(generation, int) and not isinstance(generation, bool):
                    rules[str(each.get("appInstanceId"))] = (generation, str(each.get("state")))
        known = None
        if isinstance(apps, list):
            known = frozenset(str(each.get("appInstanceId")) for each in apps if isinstance(each, Mapping))
        return cls(known, rules)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the platform should hold for a deployment: its instance when `runs`, and a generation of rules unless 0."""

    deployment: Deployment
    runs: bool
    generation: int = 0
    state: str = ""

    def lacking(self, held: Held) -> list[str]:
        """Return what the platform has to be told again; the answer says what became of it."""
        instance, found = str(self.deployment.app_instance_id), []
        if self.runs and held.apps is not None and instance not in held.apps:
            found.append(APP)
        if self.generation and held.rules is not None:
            generation, state = held.rules.get(instance, (0, ""))
            if generation < self.generation:
                found.append(RULES)
            elif generation == self.generation and state != self.state:
                found.append(OUTCOME)
        return found


@dataclass(slots=True)
class Memory:
    """What was told again of one deployment before: by what, how often in vain and when last; and the events."""

    tries: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Memory:
        """Read what `status` wrote."""
        tries = {what: (number, datetime.fromisoformat(at)) for what, (number, at) in status["tries"].items()}
        return cls(tries, list(status["events"]))

    @property
    def status(self) -> dict[str, Any]:
        """Return it as JSON values."""
        tries = {what: [number, at.isoformat()] for what, (number, at) in self.tries.items()}
        return {"tries": tries, "events": self.events}

    def due(self, what: str, now: datetime) -> bool:
        """Return whether it is time to try (again): the longer it was in vain, the later."""
        number, at = self.tries.get(what, (0, now))
        # The exponent is bounded, or a platform that stays broken for a month would overflow a date.
        return number == 0 or now >= at + min(_LONGEST_PAUSE, _PAUSE * 2 ** min(number - 1, 10))

    def tried(self, what: str, instance: UUID, now: datetime) -> None:
        """Write down one more try, with an event where something was lost."""
        self.tries[what] = (self.tries.get(what, (0, now))[0] + 1, now)
        if what not in _SAID:
            return
        reason, message = _SAID[what]
        told = {"at": now.isoformat(), "type": "Warning", "reason": reason, "message": message, "count": 1}
        self.events = [{**told, "object": f"app_instances/{instance}"}, *self.events][:_EVENTS]


def wishes(deployments: Iterable[Deployment]) -> list[Wish]:
    """Return what the platform should hold of these deployments; one query. Read it before the platform is asked."""
    wanted = [
        each
        for each in deployments
        if each.wish == Deployment.Wish.PRESENT and not each.namespace.startswith(TRIAL_NAMESPACE)
    ]
    rows = RuleSet.objects.filter(deployment__in=[each.pk for each in wanted])
    rules = {pk: (generation, state) for pk, generation, state in rows.values_list("pk", "generation", "state")}
    return [Wish(each, _runs(each), *rules.get(each.pk, (0, ""))) for each in wanted]


def tell_again(node: Node, wanted: list[Wish], state: Mapping[str, Any], *, now: datetime | None = None) -> int:
    """Ask for all that the platform should hold and does not; return how much was asked for.

    Comparing costs one query, however many deployments there are.
    """
    now, held = now or timezone.now(), Held.read(state)
    lacking = {each.deployment.pk: each.lacking(held) for each in wanted}
    rows = ReportedObject.objects.filter(node=node, kind=KIND, key__in=[str(pk) for pk in lacking])
    known = {row.key: Memory.read(row.status) for row in rows}
    changed: dict[str, Memory] = {}
    for key, memory in known.items():
        over = set(memory.tries) - set(lacking[UUID(key)])
        if over:
            memory.tries = {what: each for what, each in memory.tries.items() if what not in over}
            changed[key] = memory
    asked = 0
    under_way = _under_way([pk for pk, found in lacking.items() if found])
    for wish in wanted:
        deployment, memory = wish.deployment, known.get(str(wish.deployment.pk)) or Memory()
        for what in lacking[deployment.pk]:
            if _target(what, deployment.pk) in under_way or not memory.due(what, now):
                continue
            (services if what == APP else steering).ask_applier(deployment)
            memory.tried(what, deployment.app_instance_id, now)
            logger.info("%s on %s: told again (%s)", deployment, node.pk, what)
            changed[str(deployment.pk)] = memory
            asked += 1
    if changed:
        ReportedObject.objects.bulk_create(
            [
                ReportedObject(node=node, kind=KIND, key=key, status=memory.status, reported_at=now)
                for key, memory in changed.items()
            ],
            update_conflicts=True,
            unique_fields=["node", "kind", "key"],
            update_fields=["status", "reported_at"],
        )
    return asked


def _runs(deployment: Deployment) -> bool:
    """Return whether the deployment was brought to the node as it is wished now, whatever its workloads do since.

    An application that cannot sign in any more may well not be ready; that must not keep it from its identity.
    """
    applied = bool(deployment.revision) and deployment.observed_generation == deployment.generation
    return applied and deployment.reason != RECALLED


def _target(what: str, deployment_id: UUID) -> str:
    return services.target_of(deployment_id) if what == APP else steering.target_of(deployment_id)


def _under_way(deployments: list[UUID]) -> set[str]:
    """Return the targets of the work that is being done already; no query where nothing is lacking."""
    if not deployments:
        return set()
    targets = [_target(what, pk) for pk in deployments for what in (APP, RULES)]
    rows = Operation.objects.unfinished().filter(kind__in=["deployment.apply", "rules.apply"], target__in=targets)
    return set(rows.values_list("target", flat=True))
