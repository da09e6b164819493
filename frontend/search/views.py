"""The search over everything: a page, and the inner part of the command palette."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from frontend import tenancy
from frontend.page import open_page, words_of
from frontend.search import finding


@require_GET
@vary_on_headers("HX-Request")
@open_page
def search(request: HttpRequest) -> HttpResponse:
    """Show what was found; a script that asks while somebody types gets the list alone, and fewer of each kind."""
    words = words_of(request)
    inner = bool(request.headers.get("HX-Request"))
    most = finding.FEW if inner else finding.MANY
    groups = finding.find(words, tenancy.actor_of(request), tenancy.current(request), most=most)
    template = "frontend/search/hits.html" if inner else "frontend/search/search.html"
    return render(request, template, {"section": "search", "q": words, "groups": groups})
