"""Errors as pages: what happened, and what to do next."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _


def page(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponse:
    """Return the page for an error."""
    return render(
        request, "console/error.html", {"error": {"status": status, "title": title, "detail": detail}}, status=status
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The request itself is wrong: another host, a broken form. No session is looked at."""
    return HttpResponse(
        _("This request cannot be understood. Come by a name that is in the node's certificate (MEP_SERVER_NAMES)."),
        status=400,
        content_type="text/plain; charset=utf-8",
    )


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Not allowed."""
    return page(request, 403, _("Not allowed"), _("The console does not do this."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """No such page."""
    return page(request, 404, _("Not found"), _("There is no such page. What it was about may be gone."))


def failed(request: HttpRequest) -> HttpResponse:
    """A mistake of ours; the page needs neither database nor session."""
    return HttpResponse(render_to_string("console/failed.html"), status=500)
