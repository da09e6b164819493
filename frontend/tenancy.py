"""Which organisation a page is about: the session's choice, else the first one."""

from __future__ import annotations

from django.http import HttpRequest

from core.accounts.access import Actor
from core.accounts.models import Organisation

SESSION_KEY = "organisation"


def actor_of(request: HttpRequest) -> Actor:
    """Return who asks; the middleware of accounts put them there."""
    return request.actor  # type: ignore[attr-defined,no-any-return]


def organisations_of(request: HttpRequest) -> list[Organisation]:
    """Return the organisations of the person, by short name; one query a request."""
    known: list[Organisation] | None = getattr(request, "_organisations", None)
    if known is None:
        actor = actor_of(request)
        known = list(Organisation.objects.filter(pk__in=actor.roles)) if actor.authenticated else []
        request._organisations = known  # type: ignore[attr-defined]
    return known


def current(request: HttpRequest) -> Organisation | None:
    """Return the organisation whose things the lists show; None for somebody who belongs to none."""
    mine = organisations_of(request)
    chosen = request.session.get(SESSION_KEY) if mine else None
    return next((row for row in mine if str(row.pk) == chosen), mine[0] if mine else None)


def permissions(request: HttpRequest) -> frozenset[str]:
    """Return what the person may do in the current organisation."""
    organisation = current(request)
    return actor_of(request).permissions(organisation.pk) if organisation else frozenset()
