"""Where a release could run: one's own nodes with a verdict each, and an honest word about those of partners."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from frontend import tenancy
from frontend.page import page, paged, words_of
from frontend.store.packages import visible
from mecm.deployments import where

#: What kinds of reasons and remarks of placement are called in a list.
CODES = {
    "not-deployable": gettext_lazy("your organisation may not run it"),
    "architecture": gettext_lazy("another architecture"),
    "cpu": gettext_lazy("too little CPU free"),
    "memory": gettext_lazy("too little memory free"),
    "storage": gettext_lazy("too little storage free"),
    "cannot-run": gettext_lazy("its engine cannot run the chart"),
    "app-class": gettext_lazy("runs containers only"),
    "unreachable": gettext_lazy("its cluster cannot be reached"),
    "no-mep": gettext_lazy("no MEP"),
    "name-taken": gettext_lazy("the name is taken"),
    "name-given-up": gettext_lazy("the name was given up there"),
    "not-online": gettext_lazy("not online"),
    "shut-out": gettext_lazy("identity revoked"),
    "capacity-unknown": gettext_lazy("capacity not known"),
    "services-unknown": gettext_lazy("services not known"),
    "service-absent": gettext_lazy("a MEC service is missing"),
    "chart": gettext_lazy("a remark about the chart"),
}


@require_GET
@page
def where_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show on which nodes the release could run, and why not on the others."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    organisation = tenancy.current(request)
    actor.require("deployments.write", organisation)
    assert organisation is not None
    words, code, fits = words_of(request), request.GET.get("code", ""), request.GET.get("fits") == "yes"
    found = where.could_run(package, actor=actor, organisation=organisation, words=words)
    context = {
        "section": "catalogue",
        "package": package,
        "organisation_of_it": organisation,
        "found": found,
        "rows": paged(request, found.only(fits=True if fits else None, code=code)),
        "reasons": _named(found.reasons()),
        "remarks": _named(found.remarks()),
        "code": code,
        "code_label": CODES.get(code, code),
        "fits_only": fits,
        "q": words,
    }
    return render(request, "frontend/store/where.html", context)


def _named(counted: list[tuple[str, int]]) -> list[tuple[str, Any, int]]:
    return [(code, CODES.get(code, code), nodes) for code, nodes in counted]
