"""Verbs of rollouts: plan, start, pause, resume, abort, roll back, retry; the steps between are in `stepping`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from appstore.packages.models import Package
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.operations import services as operations
from core.words import say
from mecm.deployments import values as given
from mecm.rollouts import alarms, choosing, deciding, planning
from mecm.rollouts.deciding import Counts
from mecm.rollouts.models import ENDED, LONGEST, MOST_PARALLEL, Event, Place, Rollout, places_of
from mecm.rollouts.planning import Sketch

STEP = "rollout.step"
State, Goal = Rollout.State, Rollout.Goal

#: Places that this rollout has changed and that nobody else has changed since.
CHANGED = (
    Q(state__in=[Place.State.GOING, Place.State.READY, Place.State.FAILED, Place.State.WAITING])
    & Q(generation__isnull=False)
    & (Q(before__isnull=False) | Q(action=Place.Action.INSTALL))
    & ~Q(reason__in=["overtaken", "removed"])
)


def plan(
    *,
    actor: Actor,
    organisation: Organisation,
    package: Package,
    name: str = "",
    target: Any = None,
    values: Mapping[str, Any] | None = None,
    waves: Iterable[object] = (),
) -> Sketch:
    """Return what a rollout would do on each node, and why not on others; touches nothing."""
    actor.require("deployments.write", organisation)
    return planning.sketch(
        organisation=organisation,
        package=package,
        name=name,
        values=given.check(values) if values is not None else None,
        target=choosing.read(target or {}),
        waves=deciding.read_waves(waves),
    )


def create(
    *,
    actor: Actor,
    organisation: Organisation,
    package: Package,
    name: str = "",
    title: str = "",
    target: Any = None,
    values: Mapping[str, Any] | None = None,
    waves: Iterable[object] = (),
    max_parallel: int = 10,
    pause: int | None = 0,
    stop_over: int | None = 0,
    stop_percent: int | None = None,
    node_timeout: int = 600,
    on_stop: str = Rollout.OnStop.HOLD,
) -> Rollout:
    """Write a plan down: which node in which wave, and why others are left out. Nothing is changed until it starts."""
    told = deciding.read_waves(waves)
    for field, number, least, most in (
        ("max_parallel", max_parallel, 1, MOST_PARALLEL),
        ("pause", pause, 0, LONGEST),
        ("stop_over", stop_over, 0, choosing.MOST_PLACES),
        ("stop_percent", stop_percent, 0, 100),
        ("node_timeout", node_timeout, 10, LONGEST),
    ):
        if number is not None and not least <= number <= most:
            raise Invalid(
                say("{field} must be between {least} and {most}", field=field, least=least, most=most), field=field
            )
    if on_stop not in Rollout.OnStop.values:
        raise Invalid(say("on_stop must be hold or rollback"), field="on_stop")
    selector = choosing.read(target or {})
    sketch = plan(
        actor=actor, organisation=organisation, package=package, name=name, target=target, values=values, waves=told
    )
    planning.insist_on_something(sketch)
    rollout = Rollout(
        organisation=organisation,
        package=package,
        title=title.strip()[:120] or f"{package.name} {package.version}",
        name=name if selector.kind == choosing.NODES else "",
        values=given.check(values) if values is not None else None,
        target=selector.document(),
        waves=told,
        wave_count=len(sketch.waves),
        max_parallel=max_parallel,
        pause=pause,
        stop_over=stop_over,
        stop_percent=stop_percent,
        node_timeout=node_timeout,
        on_stop=on_stop,
        created_by=actor.user,
    )
    with transaction.atomic():
        rollout.save(force_insert=True)
        _write_places(rollout, sketch)
        note(rollout, actor, "planned", _plan_in_words(sketch), places=len(sketch.places), touched=sketch.touched)
    return rollout


def plan_again(rollout: Rollout, *, actor: Actor) -> Rollout:
    """Judge the nodes anew: what has changed since the plan was written is in it then."""
    actor.require("deployments.write", rollout.organisation_id)
    sketch = planning.sketch(
        organisation=rollout.organisation,
        package=rollout.package,
        name=rollout.name,
        values=rollout.values,
        target=choosing.read(rollout.target),
        waves=rollout.waves,
    )
    planning.insist_on_something(sketch)

    def change(row: Rollout) -> tuple[str, str]:
        places_of(row).all().delete()
        _write_places(row, sketch)
        row.wave_count = len(sketch.waves)
        return "planned", say("Planned again: {sketch}", sketch=_plan_in_words(sketch))

    return _turn(rollout, actor, {State.PLANNED: change}, say("Only a rollout that has not begun is planned again"))


def start(rollout: Rollout, *, actor: Actor) -> Rollout:
    """Begin with the first wave."""

    def change(row: Rollout) -> tuple[str, str]:
        row.state, row.started_at, row.acts_for = State.RUNNING, timezone.now(), actor.user
        if row.wave_count == 1:
            return "started", say("Started; 1 wave.")
        return "started", say("Started; {waves} waves.", waves=row.wave_count)

    return _turn(rollout, actor, {State.PLANNED: change}, say("It was started before"))


def pause(rollout: Rollout, *, actor: Actor) -> Rollout:
    """Begin nothing new. What is under way on nodes goes on, and is watched."""

    def change(row: Rollout) -> tuple[str, str]:
        row.state, row.why = State.PAUSED, say("Paused by {actor}.", actor=actor)
        return "paused", say("Paused. What is under way goes on.")

    return _turn(rollout, actor, {State.RUNNING: change}, say("Only a running rollout can be paused"))


def resume(rollout: Rollout, *, actor: Actor) -> Rollout:
    """Go on: with what waits, with the next wave where a person decides, or in spite of failures that stopped it."""

    def go_on(row: Rollout) -> tuple[str, str]:
        if row.pause is None and not _under_way(row):
            row.approved = row.wave + 1
        return "resumed", say("Wave {wave} may begin.", wave=row.wave + 1) if row.approved > row.wave else say(
            "Goes on."
        )

    def in_spite(row: Rollout) -> tuple[str, str]:
        if row.goal:
            raise Conflict(say("It was rolling back; what could not be brought back can be tried again."))
        excused = places_of(row).filter(state=Place.State.FAILED, excused=False).update(excused=True)
        return "resumed", say("Goes on in spite of {excused} that failed.", excused=excused)

    def change(row: Rollout) -> tuple[str, str]:
        told = go_on(row) if row.state == State.PAUSED else in_spite(row)
        row.state, row.why, row.acts_for, row.finished_at = State.RUNNING, "", actor.user, None
        return told

    return _turn(
        rollout, actor, {State.PAUSED: change, State.FAILED: change}, say("Only a paused or held rollout can go on")
    )


def abort(rollout: Rollout, *, actor: Actor, rollback: bool = False) -> Rollout:
    """End it: nothing new is begun; with `rollback`, what it has changed goes back to what was before."""

    def change(row: Rollout) -> tuple[str, str]:
        if row.goal == Goal.ROLLBACK:
            raise Conflict(say("It is rolling back already."))
        if row.state == State.PLANNED:
            row.state, row.finished_at = State.ABORTED, timezone.now()
            return "aborted", say("Given up before it began.")
        leave_out(row)
        row.state, row.goal, row.acts_for = State.STOPPING, Goal.ROLLBACK if rollback else Goal.ABORT, actor.user
        row.why = say("Aborted by {actor}.", actor=actor)
        return (
            "aborting",
            say("Aborted; what it has changed is rolled back.")
            if rollback
            else say("Aborted; nothing is changed back."),
        )

    states = (State.PLANNED, State.RUNNING, State.PAUSED, State.STOPPING, State.FAILED)
    return _turn(rollout, actor, dict.fromkeys(states, change), say("It is over"))


def roll_back(rollout: Rollout, *, actor: Actor) -> Rollout:
    """Bring everything that it has changed back to what was before, also after its end."""

    def change(row: Rollout) -> tuple[str, str]:
        if not changed(row).exists():
            raise Conflict(say("There is nothing that this rollout has changed and could bring back."))
        leave_out(row)
        row.state, row.goal, row.acts_for = State.STOPPING, Goal.ROLLBACK, actor.user
        row.why, row.finished_at = say("Rolled back by {actor}.", actor=actor), None
        return "rolling-back", say("What it has changed is rolled back.")

    ended = (State.DONE, State.ABORTED, State.FAILED, State.RUNNING, State.PAUSED)
    return _turn(rollout, actor, dict.fromkeys(ended, change), say("There is nothing to roll back"))


def retry(rollout: Rollout, *, actor: Actor) -> Rollout:
    """Try again where it failed: forth, or back when it could not be brought back."""

    def forth(row: Rollout) -> tuple[str, str]:
        if row.goal == Goal.ROLLBACK:
            return back(row)
        failed = places_of(row).filter(state=Place.State.FAILED)
        count = failed.update(
            state=Place.State.WAITING, excused=False, reason="", message="", began_at=None, settled_at=None
        )
        if not count:
            raise Conflict(say("Nothing has failed in this rollout."))
        row.state, row.why, row.wave_ready_at, row.finished_at = State.RUNNING, "", None, None
        row.acts_for = actor.user
        return "retried", say("{count} that failed are tried again.", count=count)

    def back(row: Rollout) -> tuple[str, str]:
        stuck = places_of(row).filter(state=Place.State.STUCK)
        count = stuck.update(state=Place.State.FAILED, reason="again", began_at=None, settled_at=None)
        if not count:
            raise Conflict(say("Nothing is left to be brought back."))
        row.state, row.why, row.finished_at, row.acts_for = State.STOPPING, "", None, actor.user
        return "retried", say("{count} are brought back once more.", count=count)

    states = (State.RUNNING, State.PAUSED, State.FAILED, State.DONE)
    return _turn(rollout, actor, dict.fromkeys(states, forth), say("In this state nothing can be tried again"))


# --- what it looks like -----------------------------------------------------------------------------------------------
def counts(rollout: Rollout) -> dict[int, Counts]:
    """Return how far each wave is, in two queries however many nodes there are."""
    rows = places_of(rollout).values_list("wave", "state", "excused").annotate(Count("pk")).order_by()
    found: dict[int, dict[str, int]] = {}
    for wave, state, excused, number in rows:
        member = "excused" if excused and state == Place.State.FAILED else state
        of_wave = found.setdefault(wave, {})
        of_wave[member] = of_wave.get(member, 0) + number
    for wave, number in changed(rollout).values_list("wave").annotate(Count("pk")).order_by():
        found[wave]["changed"] = number
    return {wave: Counts(**members) for wave, members in sorted(found.items())}


def sums(pks: Iterable[UUID]) -> dict[UUID, Counts]:
    """Return how far each of several rollouts is as a whole, in one query; where nothing is to be done is left out."""
    rows = Place.objects.filter(rollout__in=list(pks), wave__gt=0).order_by()
    found: dict[UUID, dict[str, int]] = {}
    for pk, state, number in rows.values_list("rollout", "state").annotate(Count("pk")):
        found.setdefault(pk, {})[state] = number
    return {pk: Counts(**members) for pk, members in found.items()}


def changed(rollout: Rollout) -> QuerySet[Place]:
    """Return the places that this rollout has changed and could bring back."""
    return places_of(rollout).filter(CHANGED)


def note(rollout: Rollout, actor: Any, what: str, text: str, **facts: Any) -> None:
    """Write down what happened: for the page of the rollout, and in the audit trail; in the caller's transaction."""
    Event.objects.create(rollout=rollout, actor=str(actor)[:250], what=what, text=text[:400])
    audit.record(actor, f"rollout.{what}", rollout, package=str(rollout.package_id), wave=rollout.wave, **facts)


def ask_for_step(rollout: Rollout | UUID, *, run_after: Any = None, organisation: Any = None) -> None:
    """Ask a worker for the next step; one that waits already is enough."""
    pk = rollout.pk if isinstance(rollout, Rollout) else rollout
    owner = rollout.organisation_id if isinstance(rollout, Rollout) else organisation
    operations.request(STEP, f"rollout:{pk}", organisation=owner, run_after=run_after, rollout=str(pk))


Change = Callable[[Rollout], tuple[str, str]]


def _turn(rollout: Rollout, actor: Actor, allowed: Mapping[Any, Change], otherwise: str) -> Rollout:
    """Change the state under a lock, if the present one allows it; then a worker looks what is to be done."""
    actor.require("deployments.write", rollout.organisation_id)
    try:
        with transaction.atomic():
            row = Rollout.objects.select_for_update().get(pk=rollout.pk)
            change = allowed.get(row.state)
            if change is None:
                raise Conflict(
                    say(
                        "{otherwise}; this one is {state}.", otherwise=otherwise, state=row.get_state_display().lower()
                    ),
                    state=row.state,
                )
            what, text = change(row)
            row.save()
            note(row, actor, what, text)
            alarms.clear(row)
            if row.state not in (*ENDED, State.PLANNED):
                ask_for_step(row)
    except IntegrityError:
        raise Conflict(
            say("Another rollout of {name} is at work; two at once would undo each other.", name=rollout.name),
            field="name",
        ) from None
    return Rollout.objects.select_related("organisation", "package").get(pk=rollout.pk)


def _write_places(rollout: Rollout, sketch: Sketch) -> None:
    Place.objects.bulk_create(
        (
            Place(
                rollout=rollout,
                organisation_id=rollout.organisation_id,
                node=each.preview.node,
                deployment=each.preview.deployment,
                name=each.preview.name,
                wave=each.wave,
                position=position,
                action=each.preview.action,
                state=Place.State.WAITING if each.wave else Place.State.SKIPPED,
                reason=each.reason,
                message=each.message,
                remarks=each.remarks,
            )
            for position, each in enumerate(sketch.places)
        ),
        batch_size=500,
    )


def leave_out(rollout: Rollout) -> None:
    """What was never begun is not begun any more."""
    untouched = places_of(rollout).filter(state=Place.State.WAITING)
    untouched.filter(generation=None).update(
        state=Place.State.SKIPPED, reason="not-begun", message=say("The rollout ended before its turn.")
    )


def _under_way(rollout: Rollout) -> bool:
    """Return whether anything of the waves that were begun has not ended."""
    open_ones = places_of(rollout).filter(wave__lte=rollout.wave)
    return bool(open_ones.filter(state__in=[Place.State.WAITING, Place.State.GOING]).exists())


def _plan_in_words(sketch: Sketch) -> str:
    counted = sketch.counts
    return say(
        "{new} new, {upgrade} to upgrade, {keep} without change, {unfit} where it does not fit; waves of {sizes}.",
        new=counted["install"],
        upgrade=counted["upgrade"],
        keep=counted["keep"],
        unfit=counted["unfit"],
        sizes=" + ".join(str(each) for each in sketch.waves),
    )
