"""What every page shares: the frame around it, lists in pages, parts that refresh themselves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

import upf_adapter
from core.errors import BreakwaterError
from mep.agent import store
from mep.console.centre import link_in_words
from mep.console.door import signed_in
from mep.console.language import choices
from mep.mp1 import services, steering
from mep.mp1.models import Alarm
from upf_adapter.contract import UpfAdapter

PAGE_SIZE = 25
_SECTIONS = {"app": "apps", "service": "services", "subscription": "subscriptions", "alarm": "alarms"}


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give templates the section, the alarms that nobody has seen yet, and whether the user plane is simulated."""
    if not hasattr(request, "session") or not signed_in(request):
        return {"inside": False, "languages": choices()}
    match = request.resolver_match
    return {
        "inside": True,
        "languages": choices(),
        "section": _SECTIONS.get(name := (match.url_name or "").partition("-")[0] if match else "", name),
        **({} if request.headers.get("HX-Request") else _around()),
        "user_plane_simulated": simulated(),
        "user_plane": settings.UPF,
    }


def _around() -> dict[str, Any]:
    """What stands beside the page and is not refreshed with its part."""
    return {
        "unseen_alarms": unseen_alarms(),
        "link_now": link_in_words(store.link(), time.time()),
        "node_name": settings.CONSOLE_NAME or settings.NODE_NAME,  # type: ignore[misc]  # the agent declares it at run time
    }


def unseen_alarms() -> int:
    """Return how many alarms are open and not acknowledged since they were last raised."""
    seen = Q(acknowledgement__at__gte=F("updated_at"))
    return Alarm.objects.filter(cleared_at=None).exclude(seen).count()


def simulated() -> bool:
    """Return whether the user plane of this node steers no packet."""
    try:
        return upf_adapter.registry.get(settings.UPF).simulated
    except BreakwaterError:
        return False


@cache
def _adapter(name: str, config: str) -> UpfAdapter:
    return steering.make_adapter()


def adapter() -> UpfAdapter:
    """Return the user plane's adapter, to be asked what it can express; it reaches nobody for that."""
    return _adapter(settings.UPF, settings.UPF_CONFIG)


def token(*parts: object) -> str:
    """Return a text that changes whenever the page might: with apps, services and rules, and with `parts`."""
    told = "\n".join([services.snapshot_version(), *map(str, parts)])
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def live(request: HttpRequest, name: str, now: str, build: Callable[[], dict[str, Any]], **more: Any) -> HttpResponse:
    """Answer with the page `console/<name>.html`, or with its part when the part asks for itself anew.

    A part that shows what is true `now` already gets 204 and nothing is built.
    """
    if not request.headers.get("HX-Request"):
        return render(request, f"console/{name}.html", {**build(), **more, "now": now})
    if request.GET.get("seen") == now:
        return HttpResponse(status=204)
    return render(request, f"console/{name}_live.html", {**build(), "now": now})


def paged(request: HttpRequest, rows: Any, size: int = PAGE_SIZE) -> Page[Any]:
    """Return the page of `rows` that `?page=` names; a page that is not there is the nearest one."""
    return Paginator(rows, size).get_page(request.GET.get("page"))


def words_of(request: HttpRequest, name: str = "q") -> str:
    """Return what is searched for; without NUL, which no database takes, and not longer than anybody types."""
    return request.GET.get(name, "").replace("\x00", "").strip()[:200]
