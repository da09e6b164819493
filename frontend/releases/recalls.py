"""Recalls: each with how far it got, and one with every place that ran the package."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.packages.life import of_the_store
from appstore.releases import services as releases
from appstore.releases.models import Recall
from core.accounts.access import Actor
from core.errors import Denied
from frontend import tables, tenancy
from frontend.deeds import Question, ReasonForm, answered
from frontend.download import MOST, Taken
from frontend.page import page, paged
from mecm.recalls import services

LIFT = gettext_lazy(
    "Its releases are again what they were before, and nodes start again what they stopped as soon as they hear of it."
)


@require_GET
@page
def recalls(request: HttpRequest) -> HttpResponse:
    """List the recalls that concern the person, newest first, each with how far it got."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied(_("Your roles do not show you recalls."))
    rows = paged(request, services.visible(actor), table=tables.RECALLS)
    context = {"section": "recalls", "rows": rows, "reports": services.reports(rows, actor)}
    return render(request, "frontend/releases/recalls.html", context)


@require_GET
@page
def recall(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one recall: what, why, and where it still runs."""
    facts = _facts(request, pk)
    if form := tables.RECALL_PLACES.wanted(request):
        places = [place for each in facts["nodes"] for place in each[1]]
        raise Taken(tables.RECALL_PLACES.file(form, places))
    return render(request, "frontend/releases/recall.html", {**facts, "table": tables.RECALL_PLACES, "most": MOST})


@require_GET
@page
def recall_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of the page that follows the nodes."""
    return render(request, "frontend/releases/recall_live.html", _facts(request, pk))


@require_POST
@page
def lift(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Say that a recall holds no more."""
    actor = tenancy.actor_of(request)
    found = releases.get(pk, actor)
    return answered(
        request, ReasonForm(request.POST), Question(_("Lift this recall?"), _("Lift it"), LIFT),
        act=lambda reason: releases.lift(found, actor=actor, reason=reason),
        back=reverse("frontend:recall", args=[pk]), done=_("The recall is lifted; nodes start again what they stopped."),
    )  # fmt: skip


def _facts(request: HttpRequest, pk: Any) -> dict[str, Any]:
    actor = tenancy.actor_of(request)
    found = services.get(pk, actor)
    (report,) = services.reports([found], actor)
    return {
        "section": "recalls",
        "recall": found,
        "report": report,
        "counts": report.counts,
        "nodes": report.nodes(),
        "packages": list(found.packages.select_related("package").defer("package__descriptor", "package__findings")),
        "may_lift": found.lifted_at is None and not found.origin and _may(actor, found),
    }


def _may(actor: Actor, found: Recall) -> bool:
    return of_the_store(actor, "packages.recall") or actor.may("packages.recall", found.organisation_id)
