"""The door of every page: signed in, errors in human words, one page of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from core.errors import BreakwaterError, Denied, Missing, Unauthenticated
from frontend.download import MOST, Table, Taken
from frontend.errors import error_page

View = Callable[..., HttpResponseBase]

PAGE_SIZE = 24


def page(view: View) -> View:
    """Let only people who signed in through, and show our errors as pages; strangers go to the sign-in page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.actor.authenticated:  # type: ignore[attr-defined]
            return _to_sign_in(request)
        return _answered(view, request, *args, **kwargs)

    return guarded


def open_page(view: View) -> View:
    """As `page`, but visitors come in as well while `PUBLIC_CATALOGUE` is on.

    Such a view asks only for what is visible to its actor, which is `ANONYMOUS` for visitors.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not (request.actor.authenticated or settings.PUBLIC_CATALOGUE):  # type: ignore[attr-defined]
            return _to_sign_in(request)
        return _answered(view, request, *args, **kwargs)

    return guarded


def _answered(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    try:
        return view(request, *args, **kwargs)
    except Taken as file:
        return file.response
    except Unauthenticated:
        return _to_sign_in(request)
    except BreakwaterError as error:
        return error_page(request, error)


@contextmanager
def told(request: HttpRequest, done: str = "") -> Iterator[None]:
    """Say `done` when the block succeeds, and what is wrong when a rule says no; then the page goes on.

    What may not be seen or done at all (404, 403) is left to the error pages.
    """
    try:
        yield
    except (Missing, Denied, Unauthenticated):
        raise
    except BreakwaterError as error:
        messages.error(request, error.detail)
    else:
        if done:
            messages.success(request, done)


def paged(request: HttpRequest, rows: Any, size: int = PAGE_SIZE, *, table: Table | None = None) -> Page[Any]:
    """Return the page of `rows` that `?page=` names; a page that is not there is the nearest one.

    With a `table` the list can be taken home: asked for as a file, all of its rows are the answer of the view.
    """
    if table is not None and (form := table.wanted(request)):
        raise Taken(table.file(form, rows))
    found = Paginator(rows, size).get_page(request.GET.get("page"))
    if table is not None:
        # The part below the list shows the menu for it.
        found.table, found.most = table, MOST  # type: ignore[attr-defined]
    return found


def words_of(request: HttpRequest, name: str = "q") -> str:
    """Return what is searched for; without NUL, which no database takes, and not longer than anybody types."""
    return request.GET.get(name, "").replace("\x00", "").strip()[:200]


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    target = reverse("frontend:sign-in")
    # A fragment or an action is nowhere to come back to.
    back = request.get_full_path() if request.method == "GET" and not request.headers.get("HX-Request") else "/"
    url = f"{target}?{urlencode({'next': back})}" if back != "/" else target
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return redirect(url)
