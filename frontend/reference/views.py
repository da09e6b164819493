"""The reference of the API: what there is, and one page for each group with parameters, bodies and examples."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from core.errors import Missing
from core.words import say
from frontend.page import open_page, words_of
from frontend.reference import reading


@require_GET
@open_page
def reference_page(request: HttpRequest) -> HttpResponse:
    """List every operation by group; `q` keeps those that hold the words."""
    words = words_of(request).lower().split()
    shown = []
    for group in reading.groups().values():
        fitting = [
            each
            for each in group.operations
            if all(word in f"{each.method} {each.path} {each.summary} {each.name}".lower() for word in words)
        ]
        if fitting:
            shown.append((group, fitting))
    context = {"section": "reference", "groups": shown, "q": words_of(request)}
    return render(request, "frontend/reference/reference.html", context)


@require_GET
@open_page
def group_page(request: HttpRequest, group: str) -> HttpResponse:
    """Show the operations of one group."""
    found = reading.groups().get(group)
    if found is None:
        raise Missing(say("The API has no such group."))
    context = {"section": "reference", "group": found, "groups": reading.groups().values()}
    return render(request, "frontend/reference/group.html", context)
