"""What every template knows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from appstore.catalog import notices
from frontend import language, tenancy


def portal(request: HttpRequest) -> dict[str, Any]:
    """Give templates the organisations, what the person `may` do in the current one, and whether workloads are real."""
    if not hasattr(request, "actor"):
        return {}
    return {
        "actor": request.actor,
        "organisation": tenancy.current(request),
        "organisations": tenancy.organisations_of(request),
        "may": tenancy.permissions(request),
        # Asked when the menu is drawn; fragments have none.
        "unread_notices": lambda: notices.unread(request.actor.user.pk if request.actor.user else None),
        "languages": language.choices(),
        "open_to_visitors": settings.PUBLIC_CATALOGUE,
        "simulated_runtime": settings.SIMULATED_RUNTIME,
    }
