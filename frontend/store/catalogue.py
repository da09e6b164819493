"""The front page: the catalogue with its search and facets; and one's own packages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from appstore.catalog import search
from appstore.catalog.models import Listing
from appstore.catalog.search import Facet, Query, Result
from appstore.packages.models import Package
from core.accounts import access
from core.errors import Denied
from frontend import tables, tenancy
from frontend.page import open_page, page, paged, words_of

PAGE_SIZE = 24
#: The words of the search's facets and orders, here because pages speak more languages than the API.
HEADINGS = {
    "category": gettext_lazy("Category"),
    "certification": gettext_lazy("Certification"),
    "signature": gettext_lazy("Signature"),
    "service": gettext_lazy("MEC services"),
    "architecture": gettext_lazy("Architecture"),
    "licence": gettext_lazy("Licence"),
    "provider": gettext_lazy("Provider"),
    "store": gettext_lazy("Store"),
}
ORDERS = {
    "relevance": gettext_lazy("Best match"),
    "newest": gettext_lazy("Newest"),
    "name": gettext_lazy("Name"),
    "downloads": gettext_lazy("Most used"),
    "rating": gettext_lazy("Best rated"),
}
#: Labels of values that are words of ours, not of a publisher: (facet, label) -> words.
LABELS = {
    ("signature", "Trusted publisher"): gettext_lazy("Trusted publisher"),
    ("signature", "Signer not known"): gettext_lazy("Signer not known"),
    ("signature", "Not signed"): gettext_lazy("Not signed"),
    ("signature", "Broken signature"): gettext_lazy("Broken signature"),
    ("category", "Uncategorised"): gettext_lazy("Uncategorised"),
    ("certification", "Not certified"): gettext_lazy("Not certified"),
    ("provider", "Not stated"): gettext_lazy("Not stated"),
    ("licence", "Not stated"): gettext_lazy("Not stated"),
}
#: Values of a facet that are shown, and after "show more".
FEW, MANY = 8, 200
#: What a release may leave unsaid, of what a card shows.
_UNSAID: dict[str, Any] = {
    "description": "", "certification": "", "signature": "", "origin": "", "origin_name": "", "services": [],
    "licences": [], "size": 0,
}  # fmt: skip


@require_GET
@vary_on_headers("HX-Request")
@open_page
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show what may be seen, each application once; visitors see what is public.

    A script that asks while somebody types gets the inner part.
    """
    query = Query.of(request.GET, size=PAGE_SIZE)
    more = bool(request.GET.get("more"))
    found = search.search(query, tenancy.actor_of(request), values=MANY if more else FEW)
    inner = bool(request.headers.get("HX-Request"))
    template = "frontend/store/catalogue_body.html" if inner else "frontend/store/catalogue.html"
    return render(request, template, {"section": "catalogue", "more": more, **_shown(found)})


def _shown(found: Result) -> dict[str, Any]:
    query = found.query
    ticked = [
        {
            "facet": HEADINGS.get(facet.name, facet.label),
            "label": LABELS.get((facet.name, choice.label), choice.label),
            "address": query.address(
                page=1,
                facets={
                    **query.facets,
                    facet.name: tuple(v for v in query.facets.get(facet.name, ()) if v != choice.value),
                },
            ),
        }
        for facet in found.facets
        for choice in facet.choices
        if choice.chosen
    ]
    return {
        "found": found,
        "query": query,
        "q": query.text,
        # A facet in which there is nothing to choose is only noise.
        "facets": [_said(f) for f in found.facets if len(f.choices) > 1 or any(c.chosen for c in f.choices)],
        "cards": [_card(row) for row in found.rows],
        "ticked": ticked,
        "sorts": [(name, ORDERS.get(name, label), name == query.sort) for name, label in search.SORTS.items()],
        "empty": not found.total and not query.text and not query.facets,
        "address": query.address(),
        "without_facets": query.address(page=1, facets={}),
        "suggested": query.address(page=1, text=found.suggestion) if found.suggestion else "",
        "first": (found.page - 1) * query.size + 1,
        "last": (found.page - 1) * query.size + len(found.rows),
        "previous": query.address(page=found.page - 1) if found.page > 1 else "",
        "next": query.address(page=found.page + 1) if found.page < found.pages else "",
    }


def _card(row: Listing) -> dict[str, Any]:
    """Return what a card shows. Nothing is left out: a member that a template misses costs it more than one it finds."""
    said: dict[str, Any] = row.release.data if row.release else {}
    facts = said.get("facts") or {}
    compute = facts.get("compute") or {}
    return {
        "app": row.app,
        "release": row.release,
        "data": {
            **_UNSAID,
            **said,
            "facts": {
                "offers": facts.get("offers") or [],
                "compute": {"cpu_millis": compute.get("cpu_millis"), "memory_bytes": compute.get("memory_bytes")},
            },
        },
    }


def _said(facet: Facet) -> dict[str, Any]:
    """Return a facet in the language of the page."""
    choices = [{**asdict(c), "label": str(LABELS.get((facet.name, c.label), c.label))} for c in facet.choices]
    label = str(HEADINGS.get(facet.name, facet.label))
    return {"name": facet.name, "label": label, "left": facet.left, "choices": choices}


@require_GET
@page
def my_packages(request: HttpRequest) -> HttpResponse:
    """List everything that one's organisations have uploaded, in every state."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied(_("Your roles do not show you packages."))
    words, state = words_of(request), request.GET.get("state", "")
    rows = access.scoped(Package.objects.matching(words), actor, "packages.read").select_related("organisation")
    if state in Package.State.values:
        rows = rows.filter(state=state)
    context = {
        "section": "packages",
        "rows": paged(request, rows, table=tables.PACKAGES),
        "q": words,
        "state_wanted": state,
        "states": Package.State.values,
    }
    return render(request, "frontend/store/packages.html", context)
