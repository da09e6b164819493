"""What the menu shows of the fleet."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest

from mecm.fleet.models import Alarm

#: Seconds for which the menu may show an older count; every page draws it.
FRESH = 5


def alarms(request: HttpRequest) -> dict[str, Any]:
    """Give templates how many alarms stand that nobody looks after; asked only where the menu is drawn."""
    if not hasattr(request, "actor"):
        return {}

    def count() -> int:
        open_ones = Alarm.objects.visible_to(request.actor).standing().filter(acknowledged_at=None)  # type: ignore[attr-defined]
        return int(cache.get_or_set(_key(request), open_ones.count, FRESH) or 0)

    return {"open_alarms": count}


def forget(request: HttpRequest) -> None:
    """Count anew for this person: they have just acknowledged something."""
    cache.delete(_key(request))


def _key(request: HttpRequest) -> str:
    mine = request.actor.organisations("nodes.read")  # type: ignore[attr-defined]
    return "open-alarms:" + sha256(" ".join(sorted(map(str, mine))).encode()).hexdigest()
