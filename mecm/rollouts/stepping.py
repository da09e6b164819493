"""One step of a rollout: take in what nodes report, decide, and begin or give back a few. May be cut off anywhere.

Every place is begun in a transaction of its own that holds the rollout's row and makes the wish, so a worker that dies
has either done all of it or nothing; the next one reads from the rows how many are under way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from core.accounts.access import SYSTEM, Actor
from core.errors import BreakwaterError
from core.operations.models import Operation
from core.words import joined, say
from mecm.deployments import requirements
from mecm.deployments import services as deployments
from mecm.deployments.models import Deployment
from mecm.rollouts import alarms, deciding, services
from mecm.rollouts.deciding import Next, Plan, Seen
from mecm.rollouts.models import ACTIVE, ENDED, Place, Rollout, places_of

State, At = Rollout.State, Place.State

#: How many are begun in one step; then the next step is asked for, so that a step is short.
BATCH = 20
_FIRST_LOOK, _SLOWEST_LOOK = 1.0, 10.0

_LIGHT = (
    "node__kubeconfig", "node__mep_token", "node__mep_ca", "node__facts", "node__labels",
    "deployment__values", "deployment__workloads", "deployment__endpoints",
)  # fmt: skip


def step(pk: UUID | str, *, operation: Operation | None = None) -> None:
    """Do the next step of a rollout and ask for the one after it; nothing when it is over."""
    rollout = Rollout.objects.select_related("organisation", "package", "acts_for").filter(pk=pk).first()
    if rollout is None or rollout.state not in ACTIVE:
        return
    now = timezone.now()
    moved, wave = observe(rollout, now), rollout.wave
    chosen = deciding.decide(_plan(rollout), services.counts(rollout), now)
    if not _take(rollout, chosen, now):
        # Somebody paused or aborted it in this very moment: decide anew.
        services.ask_for_step(rollout)
        return
    moved += chosen.wave - wave
    if chosen.start or chosen.give_back:
        actor = _acting(rollout)
        if actor is None:
            return
        moved += _begin_some(rollout, chosen, actor, operation)
    if chosen.look_again:
        services.ask_for_step(rollout, run_after=chosen.at or now + timedelta(seconds=_wait(rollout, now, moved)))


def observe(rollout: Rollout, now: datetime) -> int:
    """Write down what became of the places under way, from what the centre knows of their deployments."""
    working = places_of(rollout).filter(state__in=[At.GOING, At.RETURNING])
    settled = []
    for place in working.select_related("deployment", "node").defer(*_LIGHT):
        forth = place.state == At.GOING
        found = deciding.result(
            state=place.state,
            generation=place.generation if forth else place.back,
            began_at=place.began_at,
            timeout=rollout.node_timeout,
            seen=_seen(place),
            now=now,
            leaves=not forth and place.action == Place.Action.INSTALL,
        )
        if found is not None:
            place.state, place.reason, place.message = found.state, found.reason, found.message
            place.settled_at = now
            settled.append(place)
    if settled:
        Place.objects.bulk_update(settled, ["state", "reason", "message", "settled_at"], batch_size=200)
    return len(settled) + _lapsed(rollout, now)


def _lapsed(rollout: Rollout, now: datetime) -> int:
    """What was ready and fails while the rollout goes on has failed: that is what pauses between waves are for."""
    if rollout.state == State.STOPPING:
        return 0
    rows = places_of(rollout).filter(
        state=At.READY, deployment__state=Deployment.State.FAILED, deployment__generation=F("generation")
    )
    failed = list(rows.select_related("deployment").defer(*(each for each in _LIGHT if each.startswith("dep")))[:500])
    for place in failed:
        assert place.deployment is not None
        place.state, place.reason, place.settled_at = At.FAILED, place.deployment.reason or "failed", now
        place.message = f"It was ready, and failed then. {place.deployment.message}".strip()
    if failed:
        Place.objects.bulk_update(failed, ["state", "reason", "message", "settled_at"], batch_size=200)
    return len(failed)


def _take(rollout: Rollout, chosen: Next, now: datetime) -> bool:
    """Write the decision down, if the rollout still is what was decided about."""
    turned = chosen.state != rollout.state
    changes: dict[str, Any] = {
        "state": chosen.state, "wave": chosen.wave, "goal": chosen.goal, "wave_ready_at": chosen.wave_ready_at,
    }  # fmt: skip
    if turned and chosen.state in ENDED:
        changes["finished_at"] = now
    if chosen.why:
        changes["why"] = chosen.why
    with transaction.atomic():
        same = Rollout.objects.filter(pk=rollout.pk, state=rollout.state, wave=rollout.wave, goal=rollout.goal)
        if not same.filter(approved=rollout.approved).update(**changes):
            return False
        before, wave = rollout.state, rollout.wave
        for name, value in changes.items():
            setattr(rollout, name, value)
        if chosen.wave > wave:
            size = places_of(rollout).filter(wave=chosen.wave).count()
            services.note(
                rollout, SYSTEM, "wave", say("Wave {wave} begins, with {size}.", wave=chosen.wave, size=size), size=size
            )
        if turned:
            _turned(rollout, before, chosen)
    return True


_WORDS = {
    State.DONE: "done", State.FAILED: "held", State.ABORTED: "aborted", State.ROLLED_BACK: "rolled-back",
    State.PAUSED: "paused", State.STOPPING: "stopping",
}  # fmt: skip
_TOLD = {
    State.DONE: say("All waves are through."),
    State.ABORTED: say("It ended before its time; what was changed stays."),
    State.ROLLED_BACK: say("What it had changed is what it was before."),
}


def _turned(rollout: Rollout, before: str, chosen: Next) -> None:
    text = chosen.why or _TOLD.get(State(chosen.state), rollout.why)
    if chosen.state == State.FAILED and before == State.STOPPING and chosen.goal != "rollback":
        text = say("Stopped and held: {why}", why=rollout.why)
    if chosen.state == State.STOPPING:
        then = say("It is rolled back.") if chosen.goal == "rollback" else say("Nothing new is begun.")
        text = joined(" ", (text, then))
        if chosen.goal == "rollback":
            services.leave_out(rollout)
    services.note(rollout, SYSTEM, _WORDS[State(chosen.state)], text)
    alarms.after_step(rollout)


def _begin_some(rollout: Rollout, chosen: Next, actor: Actor, operation: Operation | None) -> int:
    """Begin, or give back, a batch of places one by one; stops as soon as the rollout was told to."""
    if chosen.start:
        rows = places_of(rollout).filter(state=At.WAITING, wave__lte=chosen.wave)
        # What another rollout is at work on comes later.
        rows = rows.exclude(deployment__rollout_places__state__in=[At.GOING, At.RETURNING])
        keys = list(rows.values_list("pk", flat=True)[: min(chosen.start, BATCH)])
        expected, do = State.RUNNING, _begin
    else:
        # Those under way first: they turn round in place. Then the last ones that were changed.
        rows = services.changed(rollout).annotate(first=Q(state=At.GOING)).order_by("-first", "-wave", "position")
        keys = list(rows.values_list("pk", flat=True)[: min(chosen.give_back, BATCH)])
        expected, do = State.STOPPING, _give_back
    begun = 0
    for number, key in enumerate(keys):
        if operation is not None:
            operation.progress(
                100 * number // len(keys),
                say("{number} of {keys_count} of this step", number=number, keys_count=len(keys)),
            )
        if do is _begin:
            _render_ahead(key, rollout)
        went_on = _one(key, rollout, expected, do, actor)
        if went_on is None:
            break
        begun += went_on
    return begun


def _one(
    key: int, rollout: Rollout, expected: str, do: Callable[[Place, Rollout, Actor], bool], actor: Actor
) -> bool | None:
    """Do one place in one transaction; None when the rollout was told otherwise meanwhile."""
    try:
        with transaction.atomic():
            # With this lock, who pauses knows that nothing is begun after their answer.
            held = Rollout.objects.select_for_update().only("pk").filter(pk=rollout.pk, state=expected).first()
            if held is None:
                return None
            place = Place.objects.select_for_update().get(pk=key)
            return do(place, rollout, actor)
    except IntegrityError:
        # Another rollout took the same deployment in this moment; it is this one's turn later.
        return False


def _begin(place: Place, rollout: Rollout, actor: Actor) -> bool:
    if place.state != At.WAITING:
        return False
    present = _present(place)
    gone = present is None or present.state in (Deployment.State.REMOVED, Deployment.State.ABANDONED)
    try:
        with transaction.atomic():
            if gone and place.action == Place.Action.INSTALL:
                made = deployments.request(
                    actor=actor,
                    organisation=rollout.organisation,
                    node=place.node,
                    package=rollout.package,
                    name=place.name,
                    values=rollout.values,
                )
                place.before = None
            elif present is None:
                return _fail(place, "removed", say("It was removed meanwhile."))
            else:
                made = deployments.upgrade(present, actor=actor, package=rollout.package, values=rollout.values)
                ours = place.generation == present.generation
                if made.generation != present.generation and not ours and place.action == Place.Action.UPGRADE:
                    place.before = present.generation
    except BreakwaterError as error:
        if error.retryable:
            return False
        reasons = error.context.get("reasons") or [{}]
        return _fail(place, str(reasons[0].get("code") or error.code), error.detail)
    place.deployment, place.generation = made, made.generation
    place.state, place.reason, place.message = At.GOING, "", ""
    place.attempts, place.began_at, place.settled_at = place.attempts + 1, timezone.now(), None
    place.save()
    return True


def _give_back(place: Place, rollout: Rollout, actor: Actor) -> bool:
    present = _present(place)
    if present is None or present.state == Deployment.State.REMOVED:
        return _fail(place, "removed", say("It was removed meanwhile."), At.STUCK)
    if present.generation not in (place.generation, place.back):
        told = say(
            "Somebody made generation {generation} of it since; it is left as it is.", generation=present.generation
        )
        return _fail(place, "overtaken", told, At.STUCK)
    try:
        with transaction.atomic():
            if place.action == Place.Action.INSTALL:
                made = deployments.remove(present, actor=actor)
            else:
                made = deployments.rollback(present, actor=actor, to=place.before)
    except BreakwaterError as error:
        return False if error.retryable else _fail(place, error.code, error.detail, At.STUCK)
    place.back, place.state, place.reason, place.message = made.generation, At.RETURNING, "", ""
    place.began_at, place.settled_at = timezone.now(), None
    place.save()
    return True


def _present(place: Place) -> Deployment | None:
    return Deployment.objects.filter(pk=place.deployment_id).first() if place.deployment_id else None


def _fail(place: Place, reason: str, message: str, state: str = At.FAILED) -> bool:
    place.state, place.reason, place.message, place.settled_at = state, reason[:80], message, timezone.now()
    place.attempts += state == At.FAILED
    place.save()
    return True


def _render_ahead(key: int, rollout: Rollout) -> None:
    """Have the chart rendered before any row is locked; what is wrong with it is told by the wish itself."""
    place = Place.objects.select_related("node", "deployment").filter(pk=key).first()
    if place is None:
        return
    try:
        values = deployments.values_for(place.deployment, rollout.values)
        requirements.render(rollout.package, values, engine=place.node.engine)
    except BreakwaterError:
        return


def _acting(rollout: Rollout) -> Actor | None:
    """Return with whose permissions nodes are changed; without anybody's the rollout waits for a person."""
    user = rollout.acts_for
    actor = Actor(user) if user is not None and user.is_active else None
    if actor is not None and actor.may("deployments.write", rollout.organisation_id):
        return actor
    who = str(user) if user is not None else "whoever started it"
    why = say("{who} may not deploy here any more; somebody else can resume it.", who=who)
    with transaction.atomic():
        waiting = Rollout.objects.filter(pk=rollout.pk, state__in=[State.RUNNING, State.STOPPING])
        # The goal of a stopping one would be lost: who resumes decides again between going on and rolling back.
        if waiting.update(state=State.PAUSED, goal="", why=why):
            services.note(rollout, SYSTEM, "paused", why)
            alarms.clear(rollout)
    return None


def _seen(place: Place) -> Seen:
    row = place.deployment
    if row is None:
        return Seen(state="removed", wish="absent")
    return Seen(row.generation, row.observed_generation, row.state, row.wish, row.reason, row.message, place.node.state)


def _plan(rollout: Rollout) -> Plan:
    return Plan(
        state=rollout.state,
        wave=rollout.wave,
        waves=rollout.wave_count,
        max_parallel=rollout.max_parallel,
        goal=rollout.goal,
        on_stop=rollout.on_stop,
        pause=rollout.pause,
        approved=rollout.approved,
        stop_over=rollout.stop_over,
        stop_percent=rollout.stop_percent,
        wave_ready_at=rollout.wave_ready_at,
    )


def _wait(rollout: Rollout, now: datetime, moved: int) -> float:
    """Return how long to wait for the next look: not at all while things move, longer the longer nothing does."""
    if moved:
        return 0.0
    working = places_of(rollout).filter(state__in=[At.GOING, At.RETURNING])
    last = working.order_by("-began_at").values_list("began_at", flat=True).first()
    quiet = (now - last).total_seconds() if last else 0.0
    return min(_SLOWEST_LOOK, max(_FIRST_LOOK, quiet / 10))
