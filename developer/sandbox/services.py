"""Verbs of test deployments: start, watch, look, prolong, end. Trials do the work on the node; here is who may, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from appstore.packages.models import Package
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say
from developer.sandbox.models import TestDeployment
from mecm.nodes.models import Node
from mecm.trials import services as trials
from mecm.trials.nodes import Hand
from mecm.trials.sandbox import MecmSandbox

LOOK = "sandbox.look"
#: Seconds between looks while somebody watches, and while nobody does; after which nobody watches any more.
WATCHED, UNWATCHED, WATCHING = 2.0, 30.0, 30.0
#: Lines of the log that are kept; what was over is forgotten after this.
LINES, KEPT = 200, timedelta(days=7)
#: States of which there is something to be asked.
_THERE = ("progressing", "ready", "failed")


def start(
    *,
    actor: Actor,
    organisation: Organisation,
    node: Node,
    package: Package,
    minutes: int,
    values: Mapping[str, Any] | None = None,
) -> TestDeployment:
    """Put a checked package on a sandbox node for some minutes and return the test deployment.

    `Conflict` when the organisation has too many, or the package was not checked; `Unavailable` while the sandbox is
    taken or does not answer. Who may certify may also try: developers, certifiers, operators.
    """
    actor.require("certification.run", organisation)
    _bounded(minutes)
    with transaction.atomic():
        # Two who start at once are counted one after the other.
        Organisation.objects.select_for_update().get(pk=organisation.pk)
        mine = TestDeployment.objects.filter(organisation=organisation)
        if mine.under_way().count() >= settings.SANDBOX_TESTS:  # type: ignore[attr-defined]
            raise Conflict(
                say(
                    "Your organisation has {sandbox_tests} test deployments already; end one first",
                    sandbox_tests=settings.SANDBOX_TESTS,
                ),
                limit=settings.SANDBOX_TESTS,
            )
        mine.filter(ended_at__lt=timezone.now() - KEPT).delete()
        trial = trials.begin(actor=actor, organisation=organisation, node=node, package=package)
        trials.deploy(trial, values or {}, actor=actor)
        made = TestDeployment.objects.create(
            organisation=organisation,
            trial=trial,
            values=dict(values or {}),
            ends_at=timezone.now() + timedelta(minutes=minutes),
        )
        audit.record(
            actor, "sandbox.start", package, organisation=organisation, node=str(node.pk), minutes=minutes,
            test=str(made.pk),
        )  # fmt: skip
        _ask_to_look(made, 0)
    return made


def watch(test: TestDeployment) -> None:
    """Note that somebody looks, so that the node is asked every few seconds for a while."""
    now = timezone.now()
    if test.ended_at or (now - test.watched_at).total_seconds() < WATCHING / 3:
        return
    TestDeployment.objects.filter(pk=test.pk).update(watched_at=now)
    _ask_to_look(test, 0)


def prolong(test: TestDeployment, *, minutes: int, actor: Actor) -> TestDeployment:
    """Have it end so many minutes from now; `Conflict` when it is over."""
    actor.require("certification.run", test.organisation_id)
    _bounded(minutes)
    if test.over:
        raise Conflict(say("This test deployment is over; start another one."))
    test.ends_at = timezone.now() + timedelta(minutes=minutes)
    test.save(update_fields=["ends_at"])
    audit.record(actor, "sandbox.prolong", test.trial.package, organisation=test.organisation, test=str(test.pk))
    _ask_to_look(test, 0)
    return test


def end(test: TestDeployment, *, actor: Actor) -> TestDeployment:
    """Remove it from the node as soon as a worker can; twice is once."""
    actor.require("certification.run", test.organisation_id)
    if not test.over:
        TestDeployment.objects.filter(pk=test.pk).update(ends_at=timezone.now())
        test.refresh_from_db()
        trials.hurry(test.trial)
        audit.record(actor, "sandbox.end", test.trial.package, organisation=test.organisation, test=str(test.pk))
        _ask_to_look(test, 0)
    return test


def look(test: TestDeployment, hand: Hand | None = None) -> None:
    """Ask the node once how it goes, write it down, and ask for the next look; at its end have it cleared away."""
    trial = test.trial
    if trial.ended_at:
        TestDeployment.objects.filter(pk=test.pk, ended_at=None).update(ended_at=trial.ended_at, looks=F("looks") + 1)
        return
    if trial.closing:
        _ask_to_look(test, WATCHED)
        return
    if test.ends_at <= timezone.now():
        trials.hurry(trial)
        _ask_to_look(test, WATCHED)
        return
    trials.renew(trial, until=test.ends_at)
    seen, problem = _asked(test, hand)
    field = TestDeployment._meta.get_field("seen")
    TestDeployment.objects.filter(pk=test.pk).update(
        seen=field.sealed_for(test, {**test.seen, **seen}),
        seen_at=timezone.now(),
        problem=problem[:500],
        looks=F("looks") + 1,
    )
    test.refresh_from_db()
    quiet = (timezone.now() - test.watched_at).total_seconds() > WATCHING
    _ask_to_look(test, min(UNWATCHED if quiet else WATCHED, test.left() + 0.1))


def _asked(test: TestDeployment, hand: Hand | None) -> tuple[dict[str, Any], str]:
    """Return what the node tells, as far as it does, and what it would not."""
    node = test.trial.node
    if node.state != Node.State.ONLINE:
        return {}, f"{node.name} is {node.state}."
    seen: dict[str, Any] = {}
    sandbox = MecmSandbox(test.trial, SYSTEM, hand)
    try:
        seen["state"] = dict(sandbox.state())
        if seen["state"]["state"] in _THERE:
            seen["logs"] = list(sandbox.logs(LINES))
            if sandbox.about()["mep"]:
                seen["mep"] = dict(sandbox.registered())
    except BreakwaterError as problem:
        return seen, problem.detail
    return seen, ""


def forget_looks(operation: Operation) -> None:
    """Drop the looks that are over: one every few seconds would be a heap."""
    over = [Operation.State.SUCCEEDED, Operation.State.FAILED, Operation.State.CANCELLED]
    Operation.objects.filter(kind=operation.kind, target=operation.target, state__in=over).delete()


def _ask_to_look(test: TestDeployment, seconds: float) -> None:
    operations.request(
        LOOK,
        f"sandbox:{test.pk}",
        organisation=test.organisation_id,
        run_after=timezone.now() + timedelta(seconds=seconds),
        test=str(test.pk),
    )


def _bounded(minutes: int) -> None:
    most = settings.SANDBOX_MINUTES
    if not 1 <= minutes <= most:
        told = say("must be 1 to {most}", most=most)
        raise Invalid(say("minutes {told}", told=told), errors=[{"field": "minutes", "detail": told}])
