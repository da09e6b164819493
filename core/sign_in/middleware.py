"""Writes down, at a coarse grain, that a session is in use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from core.sign_in.models import Session


class SeenMiddleware:
    """Keeps `seen_at` of a signed-in session: at most one write in `SESSION_SEEN_EVERY` seconds, none else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        row = getattr(getattr(request, "session", None), "row", None)
        if row is not None and row.user_id is not None:
            now = timezone.now()
            if now - row.seen_at > timedelta(seconds=settings.SESSION_SEEN_EVERY):
                # An update, never a save: a session that was revoked meanwhile must not come back.
                Session.objects.filter(pk=row.pk).update(seen_at=now)
        return response
