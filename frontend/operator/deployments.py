"""Deployments: list, one that follows live state, its logs and events, rollback, remove."""

from __future__ import annotations

from functools import partial
from typing import Any

import yaml
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.contents import comparing
from appstore.contents.models import Contents
from core.accounts import access
from core.errors import BreakwaterError, Denied, Missing
from core.operations.models import Operation
from frontend import tables, tenancy
from frontend.contents.views import topics_of
from frontend.deeds import Question, answered
from frontend.forms import PortalForm
from frontend.operator.values_text import difference
from frontend.page import page, paged, told, words_of
from frontend.values.form import known_of, told_apart
from frontend.values.merging import merged
from frontend.values.sides import MOST_LINES, side_by_side
from mecm.deployments import logs, secret_values, services
from mecm.deployments.models import Deployment, DeploymentRevision

#: Neither sealed secrets nor whole descriptors are read for a page about deployments.
HEAVY = (
    "node__kubeconfig", "node__mep_token", "node__mep_ca", "node__facts",
    "package__descriptor", "package__findings", "package__signature", "package__description", "package__images",
    "package__successor__descriptor", "package__successor__findings",
)  # fmt: skip
DEPLOYMENTS = Deployment.objects.select_related(
    "node", "package__successor", "organisation", "requested_by", "abandoned_by"
).defer(*HEAVY)
LINES = 300
#: Values that differ, as one page lists them, and what of a release matters to who runs it.
MOST_DIFFERENCES = 300
RELEVANT = ("permissions", "images", "objects", "ports")


@require_GET
@page
def deployments_page(request: HttpRequest) -> HttpResponse:
    """List the deployments that the person may see, newest first; those removed or given up when asked for."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("deployments.read"):
        raise Denied(_("Your roles do not show you deployments."))
    words, state = words_of(request), request.GET.get("state", "")
    rows = DEPLOYMENTS.visible_to(actor)  # type: ignore[attr-defined]
    rows = rows.filter(state=state) if state in Deployment.State.values else rows.present()
    if words:
        rows = rows.filter(name__icontains=words)
    context = {
        "section": "deployments",
        "rows": paged(request, rows, table=tables.DEPLOYMENTS),
        "q": words,
        "state_wanted": state,
        "states": Deployment.State.values,
    }
    return render(request, "frontend/operator/deployments.html", context)


@require_GET
@page
def deployment_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one deployment. Log lines come a moment later, or at once with `?logs`: a node has to be asked for them."""
    deployment = _seen(request, pk)
    context = {**deployment_facts(request, deployment), **tail_facts(deployment, ask="logs" in request.GET)}
    return render(request, "frontend/operator/deployment.html", context)


@require_GET
@page
def deployment_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of the page that follows the state."""
    return render(request, "frontend/operator/deployment_live.html", deployment_facts(request, _seen(request, pk)))


@require_GET
@page
def deployment_tail(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return events and logs as they are now."""
    return render(request, "frontend/operator/deployment_tail.html", tail_facts(_seen(request, pk), ask=True))


@page
def rollback(request: HttpRequest, pk: Any, generation: int) -> HttpResponse:
    """Show what going back to `generation` changes; a POST wishes for it."""
    actor = tenancy.actor_of(request)
    deployment = access.get(DEPLOYMENTS, actor, "deployments.write", pk)
    target = deployment.revisions.select_related("package").filter(generation=generation).first()
    if target is None:
        raise Missing(_("%(name)s has no generation %(number)d.") % {"name": deployment.name, "number": generation})
    if request.method == "POST":
        # What was shown is what is confirmed: when somebody was faster, it is said and nothing is done.
        with told(request):
            services.rollback(deployment, actor=actor, to=generation, expected=_number(request.POST.get("expected")))
        return redirect("frontend:deployment", pk)
    readers = (known_of(deployment.package), known_of(target.package))
    context = {
        "section": "deployments",
        "deployment": deployment,
        "target": target,
        "changes": difference(*told_apart(deployment.values, target.values, *readers)),
        "same_chart": target.package.chart_sha256 == deployment.package.chart_sha256,
        "unready": target.outcome != DeploymentRevision.Outcome.READY,
    }
    return render(request, "frontend/operator/rollback.html", context)


@require_GET
@page
def compare(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show what differs between two generations: release, chart and values; by default the present and the last one."""
    deployment = _seen(request, pk)
    revisions = list(
        deployment.revisions.select_related("package", "requested_by").defer(
            "package__findings", "package__signature", "package__description", "package__images"
        )[:100]
    )
    by_number = {each.generation: each for each in revisions}
    newest = revisions[0] if revisions else None
    then = by_number.get(_number(request.GET.get("from")) or 0) or (revisions[1] if len(revisions) > 1 else newest)
    now = by_number.get(_number(request.GET.get("to")) or 0) or newest
    may_write = tenancy.actor_of(request).may("deployments.write", deployment.organisation_id)
    whole = request.GET.get("values") == "whole"
    context = {
        "section": "deployments",
        "deployment": deployment,
        "revisions": revisions,
        "then": then,
        "now": now,
        "whole": whole,
        "may_go_back": may_write and deployment.wish == Deployment.Wish.PRESENT,
        **(_compared(then, now, whole=whole) if then is not None and now is not None else {}),
    }
    return render(request, "frontend/operator/compare.html", context)


def _compared(then: DeploymentRevision, now: DeploymentRevision, *, whole: bool) -> dict[str, Any]:
    """Return what differs in values (given ones, or those that the chart works with) and in the release. One query."""
    known = {each.package_id: known_of(each.package) for each in (then, now)}
    states = [merged(known[each.package_id].own, each.values) if whole else each.values for each in (then, now)]
    before, after = told_apart(*states, *known.values())
    texts = [yaml.safe_dump(each, allow_unicode=True, width=200) if each else "" for each in (before, after)]
    found: dict[str, Any] = {
        "rows": difference(before, after)[:MOST_DIFFERENCES],
        "lines": side_by_side(*texts),
        "cut": any(text.count("\n") >= MOST_LINES for text in texts),
        "topics": [],
        "unread": False,  # nothing is known of one of the releases
    }
    if then.package_id != now.package_id:
        inside = {row.package_id: row for row in Contents.objects.filter(package__in=known)}
        found["unread"] = len(inside) < 2
        if not found["unread"]:
            told = comparing.compare(inside[then.package_id].read(), inside[now.package_id].read())
            found["topics"] = [each for each in topics_of(told) if each["name"] in RELEVANT]
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else None


@require_POST
@page
def remove(request: HttpRequest, pk: Any) -> HttpResponse:
    """Wish that it goes."""
    actor = tenancy.actor_of(request)
    deployment = access.get(DEPLOYMENTS, actor, "deployments.write", pk)
    with told(request):
        services.remove(deployment, actor=actor)
    return redirect("frontend:deployment", pk)


ABANDON = Question(
    gettext_lazy("Give this deployment up?"),
    gettext_lazy("Give it up"),
    gettext_lazy(
        "Its node is away, so nobody can say what became of it. If the machine still runs, the application may go on "
        "running there, with its data, its addresses and its traffic rules, and nobody here sees it or can stop it. It leaves "
        "the lists, counts and alarms, and what it held of the node counts as free. The node is told to remove it should "
        "it ever speak again; until it says that it is gone, the name stays taken on that node."
    ),
    danger=True,
)


@require_POST
@page
def abandon(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Give up a removal that its node, which is away, does not confirm."""
    actor = tenancy.actor_of(request)
    deployment = access.get(DEPLOYMENTS, actor, "deployments.write", pk)
    return answered(
        request,
        PortalForm(request.POST),
        ABANDON,
        act=partial(services.abandon, deployment, actor=actor),
        back=reverse("frontend:deployment", args=[pk]),
        done=_("%(name)s is given up; %(node)s is told to remove it should it ever speak again.")
        % {"name": deployment.name, "node": deployment.node.name},
    )


def deployment_facts(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """Return the template context of one deployment."""
    may_write = tenancy.actor_of(request).may("deployments.write", deployment.organisation_id)
    revisions = list(deployment.revisions.select_related("package", "requested_by").defer("package__descriptor")[:30])
    here = deployment.wish == Deployment.Wish.PRESENT
    return {
        "section": "deployments",
        "deployment": deployment,
        "values_shown": secret_values.shown(
            deployment.values, deployment.package, *(each.package for each in revisions)
        ),
        "revisions": revisions,
        "may_change": may_write and here,
        "may_write": may_write,
        "may_remove": may_write and here,
        "may_abandon": may_write and services.may_be_abandoned(deployment),
        "abandon": ABANDON,
        "back_to": {
            each.generation
            for each in revisions
            if may_write
            and here
            and each.generation < deployment.generation
            and each.action != DeploymentRevision.Action.REMOVE
        },
        "work": Operation.objects.unfinished()
        .about(f"deployment:{deployment.pk}")
        .exclude(kind="deployment.observe")
        .first(),
        "waits_for_node": deployment.state in ("pending", "removing") and deployment.node.state != "online",
    }


def tail_facts(deployment: Deployment, *, ask: bool) -> dict[str, Any]:
    """Return events, and log lines when the node is to be asked; one that does not answer is told in words."""
    found: dict[str, Any] = {"lines": [], "reported_at": None}
    problem = ""
    if ask and deployment.state not in (Deployment.State.REMOVED, Deployment.State.ABANDONED):
        try:
            found = logs.lines(deployment, tail=LINES)
        except BreakwaterError as error:
            problem = error.detail
    happened = logs.events(deployment)
    return {
        "deployment": deployment,
        "asked": ask,
        "lines": found["lines"],
        "lines_reported_at": found["reported_at"],
        "lines_problem": problem,
        "events": happened["events"],
        "events_reported_at": happened["reported_at"],
    }


def _seen(request: HttpRequest, pk: Any) -> Deployment:
    return access.get(DEPLOYMENTS, tenancy.actor_of(request), "deployments.read", pk)
