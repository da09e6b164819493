"""What every template knows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from frontend import tenancy


def portal(request: HttpRequest) -> dict[str, Any]:
    """Give templates the organisations, what the person `may` do in the current one, and whether workloads are real."""
    if not hasattr(request, "actor"):
        return {}
    return {
        "actor": request.actor,
        "organisation": tenancy.current(request),
        "organisations": tenancy.organisations_of(request),
        "may": tenancy.permissions(request),
        "simulated_runtime": settings.SIMULATED_RUNTIME,
    }
