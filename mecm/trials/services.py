"""Verbs of trials: mark a sandbox, begin, deploy, command, close. What a trial makes is always removed again."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import Conflict, Denied, Missing, Unavailable
from core.operations import services as operations
from core.words import say
from mecm.deployments import services as deployments
from mecm.deployments.models import TRIAL_NAMESPACE, Deployment
from mecm.edge import services as edge
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node
from mecm.trials.models import Sandbox, Trial

if TYPE_CHECKING:
    from appstore.packages.models import Package
    from core.accounts.models import Organisation

#: Kinds of the edge link; `mep.agent.trials` has the other end.
COMMAND, REPORT, MARK = "trial", "trialReport", "sandbox"
#: A caller who has not been heard of for so long is gone, and what it tried is removed.
LEASE = timedelta(minutes=10)
#: The seconds that a command stays wanted beyond the time its caller waits: clocks differ, and reports take a moment.
_MARGIN = 10.0
_STEPS = (1.0, 30.0)


# --- sandboxes
@transaction.atomic
def mark_sandbox(node: Node, *, on: bool, actor: Actor) -> bool:
    """Say whether `node` may be used for trials; twice is once. Returns whether that is news.

    `Conflict` while a trial runs there: its end needs the mark.
    """
    actor.require("nodes.write", node.organisation_id)
    node = Node.objects.select_for_update().get(pk=node.pk)
    marked = Sandbox.objects.filter(node=node)
    if on == marked.exists():
        return False
    if on:
        Sandbox.objects.create(node=node, marked_by=actor.user)
    elif Trial.objects.under_way().filter(node=node).exists():
        raise Conflict(say("A trial is under way on {name}; try again when it is over.", name=node.name))
    else:
        marked.delete()
    if node.link == Node.Link.AGENT:
        if on:
            edge.put(node, MARK, "self", generation=int(time.time()), spec={"trials": True})
        else:
            edge.delete(node, MARK, "self")
    audit.record(actor, "node.sandbox", node, on=on)
    return True


# --- the life of a trial
def begin(*, actor: Actor, organisation: Organisation, node: Node, package: Package, operation: str = "") -> Trial:
    """Take a sandbox for a package; `Unavailable` while somebody else tries there, `Missing` when it is none.

    The package may be one that is checked and not published. It is the organisation's own, or the organisation runs
    this store and looks at what others bring.
    """
    actor.require("certification.run", organisation)
    if node.organisation_id != organisation.pk:
        raise Missing(say("There is no such node, or you may not see it."))
    if package.organisation_id != organisation.pk and organisation != accounts.operator():
        raise Denied(say("Only the operator of this store tries packages of others."))
    if not Sandbox.objects.filter(node=node).exists():
        raise Missing(say("{name} is no sandbox; switch that on at the page of the node.", name=node.name))
    if node.state != Node.State.ONLINE:
        raise Unavailable(
            say("{name} is {state}; a trial needs a node that answers.", name=node.name, state=node.state)
        )
    try:
        with transaction.atomic():
            trial = Trial.objects.create(
                organisation=organisation,
                node=node,
                package=package,
                namespace=f"{TRIAL_NAMESPACE}{secrets.token_hex(5)}",
                operation=operation,
                lease_until=timezone.now() + LEASE,
                requested_by=actor.user,
            )
            audit.record(actor, "trial.begin", package, organisation=organisation, node=str(node.pk))
            _ask_to_close(trial)
    except IntegrityError:
        raise Unavailable(say("Another trial is under way on {name}; try again later.", name=node.name)) from None
    return trial


def deploy(trial: Trial, values: Mapping[str, Any], *, actor: Actor) -> Deployment:
    """Wish for an instance of the package under trial; the one before must be gone."""
    trial = _open(trial)
    if trial.deployment is not None and trial.deployment.state != Deployment.State.REMOVED:
        raise Conflict(say("An instance of this trial is there already."))
    with transaction.atomic():
        deployment = deployments.request_trial(
            actor=actor,
            organisation=trial.organisation,
            node=trial.node,
            package=trial.package,
            name=_release_name(trial.package.name),
            namespace=trial.namespace,
            values=values,
        )
        Trial.objects.filter(pk=trial.pk).update(deployment=deployment, instances=trial.instances + 1)
    return deployment


@transaction.atomic
def command(trial: Trial, verb: str, deployment: Deployment, *, within: float, **arguments: Any) -> int:
    """Ask the node for one deed and return its number; the answer is a report of that number."""
    row = Trial.objects.select_for_update().get(pk=trial.pk)
    if row.closing:
        raise Conflict(say("This trial is over."))
    row.commands += 1
    row.lease_until = max(row.lease_until, timezone.now() + LEASE)
    row.save(update_fields=["commands", "lease_until"])
    spec = {
        "verb": verb,
        "name": deployment.name,
        "namespace": deployment.namespace,
        "appInstanceId": str(deployment.app_instance_id),
        "until": time.time() + within + _MARGIN,
        "arguments": arguments,
    }
    edge.put(trial.node, COMMAND, str(trial.pk), generation=row.commands, spec=spec)
    return row.commands


def answer(trial: Trial, number: int) -> dict[str, Any] | None:
    """Return what the node says about command `number`; None while it says nothing."""
    row = ReportedObject.objects.filter(
        node=trial.node_id, kind=REPORT, key=str(trial.pk), observed_generation=number
    ).first()
    if row is not None:
        return dict(row.status)
    # An agent that is older than trials says so under the name of the kind.
    told = ReportedObject.objects.filter(node=trial.node_id, kind=COMMAND, key=str(trial.pk)).first()
    if told is not None and told.status.get("reason") == "Unsupported":
        raise Conflict(say("The agent of {name} is too old for trials; update it.", name=trial.node.name))
    return None


def close(trial: Trial) -> bool:
    """Do one step of clearing away and return whether nothing is left; twice is once. Nobody can use the trial again."""
    Trial.objects.filter(pk=trial.pk).update(closing=True)
    trial = Trial.objects.select_related("node", "deployment").get(pk=trial.pk)
    if trial.ended_at is not None:
        return True
    deployment = trial.deployment
    if deployment is not None and deployment.state != Deployment.State.REMOVED:
        deployments.remove(deployment, actor=SYSTEM)
        deployment.refresh_from_db()
        if deployment.state != Deployment.State.REMOVED:
            return False
    with transaction.atomic():
        edge.delete(trial.node, COMMAND, str(trial.pk))
        forget(trial)
        Trial.objects.filter(pk=trial.pk).update(ended_at=timezone.now())
    return True


@transaction.atomic
def forget(trial: Trial) -> None:
    """Delete what a removed instance left in our own rows: it is no deployment of anybody, and must keep no package."""
    gone = Deployment.objects.filter(namespace=trial.namespace, state=Deployment.State.REMOVED)
    keys = [str(pk) for pk in gone.values_list("pk", flat=True)]
    ReportedObject.objects.filter(node=trial.node_id, key__in=[*keys, str(trial.pk)]).delete()
    gone.delete()


def lost(node: Node, operation: str) -> list[Trial]:
    """Return what an earlier attempt of the same long work left on the node: its worker died, or we would not be here."""
    return list(Trial.objects.under_way().filter(node=node, operation=operation)) if operation else []


def close_if_abandoned(trial: Trial) -> bool:
    """Close a trial whose caller is done or gone, and ask for the next look; returns whether it is over."""
    trial.refresh_from_db()
    over = trial.ended_at is not None
    if not over and (trial.closing or trial.lease_until <= timezone.now()):
        over = close(trial)
    if not over:
        _ask_to_close(trial)
    return over


def renew(trial: Trial, *, until: datetime) -> None:
    """Say that the caller is alive: the trial is kept for another lease, and not beyond `until` and a moment."""
    end = min(until + timedelta(seconds=_MARGIN), timezone.now() + LEASE)
    Trial.objects.filter(pk=trial.pk, closing=False, lease_until__lt=end).update(lease_until=end)


def hurry(trial: Trial) -> None:
    """Have a worker clear away as soon as it can."""
    Trial.objects.filter(pk=trial.pk, closing=False).update(closing=True, lease_until=timezone.now())
    trial.refresh_from_db()
    _ask_to_close(trial)


def _ask_to_close(trial: Trial) -> None:
    """Have somebody look at the trial when its lease is over, or soon when it is being cleared away."""
    now, at = timezone.now(), trial.lease_until
    if trial.closing or at <= now:
        # The longer it has been closing (a node that is away), the more patiently.
        quick, patient = _STEPS
        at = now + timedelta(seconds=min(patient, max(quick, (now - at).total_seconds() / 10)))
    operations.request(
        "trial.close", f"trial:{trial.pk}", organisation=trial.organisation_id, run_after=at, trial=str(trial.pk)
    )


def _open(trial: Trial) -> Trial:
    trial = Trial.objects.select_related("node", "package", "organisation", "deployment").get(pk=trial.pk)
    if trial.closing:
        raise Conflict(say("This trial is over."))
    if not Sandbox.objects.filter(node=trial.node).exists():
        raise Conflict(say("{name} is no sandbox any more.", name=trial.node.name))
    return trial


def _release_name(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return plain or "app"
