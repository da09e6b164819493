"""Our errors as pages: what happened, and what to do next. Templates named 404.html and so on are Django's own."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import BreakwaterError

#: What a person can do, by code of the error.
NEXT = {
    "missing": gettext_lazy("The link may be old, or the object belongs to an organisation that you are no member of."),
    "denied": gettext_lazy("Ask an administrator of your organisation for the role that allows it."),
    "conflict": gettext_lazy("Go back, look at the present state, and decide again."),
    "unavailable": gettext_lazy("Wait a moment and try again."),
    "timed-out": gettext_lazy("Wait a moment and try again."),
    "throttled": gettext_lazy("Wait a few minutes and try again."),
    "internal": gettext_lazy(
        "It was written to the server's log. Try again; if it stays so, tell the administrator when it happened."
    ),
}


def error_page(request: HttpRequest, error: BreakwaterError) -> HttpResponse:
    """Return the page for one of our errors."""
    context = {"error": error, "what_next": NEXT.get(error.code, _("Go back and try again."))}
    return render(request, "frontend/error.html", context, status=error.status)
