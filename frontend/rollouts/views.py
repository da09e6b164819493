"""Rollouts: the list, one that follows its nodes, and what a person can tell it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from core.accounts import access
from core.errors import Denied, Invalid
from frontend import tables, tenancy
from frontend.deeds import Question, answered
from frontend.page import page, paged, told, words_of
from frontend.rollouts import panel as panel  # the dashboard of the fleet shows it
from frontend.rollouts.forms import AbortForm
from mecm.rollouts import api, services
from mecm.rollouts.deciding import Counts
from mecm.rollouts.models import ACTIVE, Event, Place, Rollout, places_of

ROLLOUTS = api.shown(Rollout.objects.select_related("created_by"))
EVENTS = 30
ABORT = gettext_lazy("No further node is begun, and it cannot be resumed.")


@require_GET
@page
def rollouts(request: HttpRequest) -> HttpResponse:
    """List the rollouts that the person may see, newest first."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("deployments.read"):
        raise Denied(_("Your roles do not show you rollouts."))
    state = request.GET.get("state", "")
    rows = access.scoped(ROLLOUTS, actor, "deployments.read")
    if state in Rollout.State.values:
        rows = rows.filter(state=state)
    found = paged(request, rows, table=tables.ROLLOUTS)
    sums = services.sums([row.pk for row in found])
    for row in found:
        row.sum = sums.get(row.pk, Counts())  # type: ignore[attr-defined]
    context = {"section": "rollouts", "rows": found, "state_wanted": state, "states": Rollout.State.choices}
    return render(request, "frontend/rollouts/rollouts.html", context)


@require_GET
@page
def rollout(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one rollout: its waves, its nodes, its history."""
    found = _seen(request, pk)
    return render(request, "frontend/rollouts/rollout.html", {**_facts(request, found), **_nodes(request, found)})


@require_GET
@page
def rollout_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of the page that shows the waves."""
    return render(request, "frontend/rollouts/rollout_live.html", _facts(request, _seen(request, pk)))


@require_GET
@page
def rollout_nodes(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of the page that lists the nodes."""
    found = _seen(request, pk)
    return render(request, "frontend/rollouts/nodes.html", {"rollout": found, **_nodes(request, found)})


def _deed(verb: Callable[..., Rollout], done: str) -> Callable[..., Any]:
    @require_POST
    @page
    def act(request: HttpRequest, pk: Any) -> HttpResponse:
        actor = tenancy.actor_of(request)
        found = access.get(Rollout.objects.select_related("organisation", "package"), actor, "deployments.write", pk)
        with told(request, done):
            verb(found, actor=actor)
        return redirect("frontend:rollout", pk)

    act.__doc__ = verb.__doc__
    return act


start = _deed(services.start, "")
plan_again = _deed(services.plan_again, "")
pause = _deed(services.pause, "")
resume = _deed(services.resume, "")


@require_POST
@page
def abort(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """End it, and say what becomes of what it has changed."""
    actor = tenancy.actor_of(request)
    found = access.get(Rollout.objects.select_related("organisation", "package"), actor, "deployments.write", pk)
    return answered(
        request, AbortForm(request.POST), Question(_("Abort this rollout?"), _("Abort it"), ABORT, danger=True),
        act=lambda rollback: services.abort(found, actor=actor, rollback=rollback == "yes"),
        back=reverse("frontend:rollout", args=[pk]), done=_("The rollout is aborted."),
    )  # fmt: skip


roll_back = _deed(services.roll_back, "")
retry = _deed(services.retry, "")


def _facts(request: HttpRequest, found: Rollout) -> dict[str, Any]:
    counts = services.counts(found)
    may = tenancy.actor_of(request).may("deployments.write", found.organisation_id)
    whole = api.total(counts)
    begins_at = None
    if found.state == Rollout.State.RUNNING and found.wave_ready_at and found.pause:
        begins_at = found.wave_ready_at + timedelta(seconds=found.pause)
    return {
        "section": "rollouts",
        "rollout": found,
        "waves": [_wave(found, number, each) for number, each in counts.items() if number],
        "whole": whole,
        "left_out": counts.get(0, Counts()).size,
        "begins_at": begins_at,
        "events": list(Event.objects.filter(rollout=found)[:EVENTS]),
        "can": _can(found, whole) if may else set(),
        "may_change": may,
    }


def _wave(found: Rollout, number: int, counts: Counts) -> dict[str, Any]:
    """Return what the picture of a wave shows."""
    stopped = found.state in (Rollout.State.STOPPING, Rollout.State.FAILED)
    bad = bool(counts.stuck or (counts.failed and stopped))
    if number > found.wave and not counts.ended:
        state = "waiting"
    elif counts.going or counts.waiting or counts.returning:
        state = "progressing" if found.state in ACTIVE else "waiting"
    else:
        state = "failed" if bad else "done"
    # A few failures that the stop rule allows are a warning, not the end.
    look = "bad" if bad else "warn" if counts.failed or counts.excused or counts.returned else ""
    return {"number": number, "counts": counts, "state": state, "look": look}


def _can(found: Rollout, whole: Counts) -> set[str]:
    """Return what a person may tell it in this state."""
    backwards = found.goal == Rollout.Goal.ROLLBACK
    can = {
        Rollout.State.PLANNED: {"start", "plan", "abort"},
        Rollout.State.RUNNING: {"pause", "abort"},
        Rollout.State.PAUSED: {"resume", "abort"},
        Rollout.State.STOPPING: set() if backwards else {"abort"},
        Rollout.State.FAILED: {"retry"} if backwards else {"retry", "go-on", "abort"},
    }.get(Rollout.State(found.state), set())
    if found.state in (Rollout.State.DONE, Rollout.State.ABORTED, Rollout.State.FAILED) and whole.changed:
        can = can | {"roll-back"}
    if found.state == Rollout.State.DONE and (whole.failed or whole.excused):
        can = can | {"retry"}
    return can


def _nodes(request: HttpRequest, found: Rollout) -> dict[str, Any]:
    asked = {name: request.GET.get(name, "") for name in ("state", "action", "wave")}
    asked["q"] = words_of(request)
    try:
        rows = api.filtered(found, asked)
    except Invalid:
        # A filter that is none chooses nothing; the form shows what there is to choose.
        rows = places_of(found).none()
    kept = request.GET.copy()
    kept.pop("page", None)
    return {
        "rows": paged(request, rows, 50, table=tables.ROLLOUT_NODES),
        "asked": asked,
        "filtered": any(asked.values()),
        "kept": kept.urlencode(),
        "page_query": request.GET.urlencode(),
        "place_states": Place.State.choices,
        "place_actions": Place.Action.choices,
        "wave_numbers": range(1, found.wave_count + 1),
    }


def _seen(request: HttpRequest, pk: Any) -> Rollout:
    return access.get(ROLLOUTS, tenancy.actor_of(request), "deployments.read", pk)
