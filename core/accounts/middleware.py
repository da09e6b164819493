"""Puts `request.actor` on every request, and keeps what somebody was told for themselves."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from core.accounts.access import ANONYMOUS, Actor


class ActorMiddleware:
    """`request.actor` is who acts by session; API tokens replace it in `core.http`. Costs nothing until it is read.

    Answers to somebody who came with a session or a token are kept by nobody, unless the view has said otherwise: not by
    a proxy on the way, and not by a browser that the next person goes back in.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_of(request))  # type: ignore[attr-defined]
        response = self.get_response(request)
        personal = settings.SESSION_COOKIE_NAME in request.COOKIES or "Authorization" in request.headers
        if personal and not response.has_header("Cache-Control"):
            # What has a tag may be kept by its client, who asks each time whether it still holds.
            response["Cache-Control"] = "private, no-cache" if response.has_header("ETag") else "no-store"
        return response


def actor_of(request: HttpRequest) -> Actor:
    """Return who acts in this session."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return ANONYMOUS
    return Actor(user)
