"""The catalogue, one's own packages, and what is said of a package in words."""

from __future__ import annotations

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from appstore.packages.models import Package
from core.accounts import access
from core.errors import Denied
from frontend import tenancy
from frontend.page import page, paged, words_of


@require_GET
@page
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show what is published, each application once, in its newest release."""
    words = words_of(request)
    published = Package.objects.published()
    newer = published.filter(
        organisation=OuterRef("organisation"),
        provider=OuterRef("provider"),
        name=OuterRef("name"),
        published_at__gt=OuterRef("published_at"),
    )
    rows = (
        published.filter(~Exists(newer)).matching(words).select_related("organisation").order_by("-published_at", "id")
    )
    context = {"section": "catalogue", "rows": paged(request, rows), "q": words}
    return render(request, "frontend/store/catalogue.html", context)


@require_GET
@page
def my_packages(request: HttpRequest) -> HttpResponse:
    """List everything that one's organisations have uploaded, in every state."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied("Your roles do not show you packages.")
    words, state = words_of(request), request.GET.get("state", "")
    rows = access.scoped(Package.objects.matching(words), actor, "packages.read").select_related("organisation")
    if state in Package.State.values:
        rows = rows.filter(state=state)
    context = {
        "section": "packages",
        "rows": paged(request, rows),
        "q": words,
        "state_wanted": state,
        "states": Package.State.values,
    }
    return render(request, "frontend/store/packages.html", context)
