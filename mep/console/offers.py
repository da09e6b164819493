"""Services with their health, and who is known to care for them."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import Max, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from core.errors import Missing
from core.words import say
from mep.console.frame import live, paged, token, words_of
from mep.mp1 import subscriptions
from mep.mp1.models import App, Service, Subscription
from mep.mp1.states import ServiceState

#: So many subscriptions are compared with the services of a page; with more, the page says so.
MOST_SUBSCRIPTIONS = 2000


def health(service: Service, now: float) -> tuple[str, str]:
    """Return (look, sentence) about a service's heartbeat."""
    if service.state == ServiceState.INACTIVE:
        return "quiet", say("Its app switched it off.")
    if service.interval is None:
        return "quiet", say("No heartbeat was agreed, so nobody would notice its end.")
    if service.state == ServiceState.SUSPENDED:
        return "bad", say("A heartbeat was missed; one is due every {seconds} s.", seconds=service.interval)
    if service.due_at is not None and now > service.due_at:
        return "warn", say("The heartbeat is late; one is due every {seconds} s.", seconds=service.interval)
    return "ok", say("A heartbeat every {seconds} s is kept.", seconds=service.interval)


@require_safe
def services(request: HttpRequest) -> HttpResponse:
    """GET /services"""
    sought, state = words_of(request), words_of(request, "state")

    def build() -> dict[str, Any]:
        rows = Service.objects.select_related("app").order_by("name", "created_at")
        if sought:
            rows = rows.filter(Q(name__icontains=sought) | Q(app__name__icontains=sought) | Q(id=sought))
        if state in ServiceState.__members__:
            rows = rows.filter(state=state)
        page = paged(request, rows)
        listening = _listening()
        asking = _asking()
        now = time.time()
        for service in page:
            service.look, service.health = health(service, now)
            service.told = sum(subscriptions.matches(each.criteria, service) for each in listening)
            service.wanted_by = asking.get(service.name, [])
        return {
            "rows": page,
            "q": sought,
            "state": state,
            "states": list(ServiceState),
            "cut": len(listening) == MOST_SUBSCRIPTIONS,
        }

    return live(request, "services", token(Service.objects.aggregate(Max("beat_at"))), build)


@require_safe
def service(request: HttpRequest, key: str) -> HttpResponse:
    """GET /services/<id>"""
    found = Service.objects.select_related("app").filter(pk=key).first()
    if found is None:
        raise Missing(say("There is no such service; its app may have withdrawn it"))

    def build() -> dict[str, Any]:
        look, sentence = health(found, time.time())
        told = [each for each in _listening() if subscriptions.matches(each.criteria, found)]
        transport = found.transport if isinstance(found.transport, dict) else {}
        return {
            "service": found,
            "look": look,
            "health": sentence,
            "told": told[:50],
            "told_count": len(told),
            "wanted_by": _asking().get(found.name, []),
            "transport": transport,
            "addresses": _addresses(transport),
        }

    return live(request, "service", token(found.beat_at), build)


def _listening() -> list[Subscription]:
    rows = Subscription.objects.filter(kind=Subscription.AVAILABILITY).select_related("app")
    return list(rows[:MOST_SUBSCRIPTIONS])


def _asking() -> dict[str, list[App]]:
    """Return the apps whose descriptor names a service, by the service's name."""
    found: dict[str, list[App]] = {}
    for app in App.objects.only("id", "name", "declared"):
        named = [*app.declared.get("required", []), *app.declared.get("optional", [])]
        for name in {str(each.get("serName", "")) for each in named if isinstance(each, dict)}:
            found.setdefault(name, []).append(app)
    return found


def _addresses(transport: dict[str, Any]) -> list[str]:
    endpoint = transport.get("endpoint")
    if not isinstance(endpoint, dict):
        return []
    if endpoint.get("uris"):
        return [str(each) for each in endpoint["uris"]]
    if endpoint.get("fqdn"):
        return [str(each) for each in endpoint["fqdn"]]
    return [
        f"{each.get('host')}:{each.get('port')}" for each in endpoint.get("addresses") or () if isinstance(each, dict)
    ]
