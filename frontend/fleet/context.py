"""What the menu shows of the fleet."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from mecm.fleet.models import Alarm


def alarms(request: HttpRequest) -> dict[str, Any]:
    """Give templates how many alarms stand that nobody looks after; asked only where the menu is drawn."""
    if not hasattr(request, "actor"):
        return {}

    def count() -> int:
        return Alarm.objects.visible_to(request.actor).standing().filter(acknowledged_at=None).count()  # type: ignore[attr-defined]

    return {"open_alarms": count}
