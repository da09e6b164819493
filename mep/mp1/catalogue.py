"""The services that apps offer: register, update, remove, heartbeat. Every change is told to who subscribed.

MEC 011 clause 8. What is asked of the catalogue is in `discovery`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import F

from core.errors import Denied, Invalid, Missing, Stale
from mep.mp1 import states, subscriptions, wire
from mep.mp1.conditions import matches
from mep.mp1.locality import EVERYWHERE, Near
from mep.mp1.models import App, Counter, Service
from mep.mp1.states import AppState, Change, ServiceState

#: The columns that make up the attributes of a service beside its state (changeType ATTRIBUTES_CHANGED).
ATTRIBUTES = (
    "name", "version", "category", "transport", "serializer", "scope", "consumed_local_only", "interval",
)  # fmt: skip


@transaction.atomic
def register(app: App, raw: Any, now: float | None = None) -> Service:
    """Register a new service of the app; it may be discovered from now on."""
    wanted = wire.read(wire.ServiceInfo, raw)
    states.may_offer(AppState(app.state))
    if app.services.count() >= settings.MAX_SERVICES_PER_APP:
        raise Denied(
            f"This app instance has {settings.MAX_SERVICES_PER_APP} services already, the most that one may have"
        )
    now = time.time() if now is None else now
    service = Service(app=app, created_at=now, state=wanted.state, **_columns(wanted))
    service.beat_at = now if service.interval else None
    _save(service)
    subscriptions.tell([(service, Change.ADDED)])
    return service


@transaction.atomic
def update(app: App, service_id: str, raw: Any, if_match: str | None, now: float | None = None) -> Service:
    """Replace the attributes of one of the app's services; `Stale` when it changed meanwhile."""
    wanted = wire.read(wire.ServiceInfo, raw)
    service = find(app, service_id)
    _unless_changed(service, if_match)
    states.may_offer(AppState(app.state))
    before, state_before = _attributes(service), service.state
    for name, value in _columns(wanted).items():
        setattr(service, name, value)
    service.state = wanted.state
    change = states.change_between(before, _attributes(service), state_before, service.state)
    if change is None:
        return service
    if service.interval and (service.beat_at is None or state_before != ServiceState.ACTIVE):
        service.beat_at = time.time() if now is None else now  # it has just said that it is there
    _save(service)
    subscriptions.tell([(service, change)])
    return service


@transaction.atomic
def remove(app: App, service_id: str, if_match: str | None = None) -> None:
    """Deregister one of the app's services; `Stale` when it changed meanwhile."""
    service = find(app, service_id)
    _unless_changed(service, if_match)
    _remove([service])


def withdraw(app: App) -> None:
    """Remove everything that the app offers and listens to."""
    _remove(list(app.services.all()))
    subscriptions.end(app.subscriptions.all())


@transaction.atomic
def beat(app: App, service_id: str, raw: Any, now: float | None = None) -> Service:
    """Take a heartbeat; a suspended service is active again, an inactive one is a `Conflict`."""
    now = time.time() if now is None else now
    wire.read(wire.ServiceLivenessUpdate, raw)
    service = alive(app, service_id)
    before = ServiceState(service.state)
    service.state = states.beaten(before)
    service.beat_at = now
    service.due_at = states.due(ServiceState(service.state), service.interval, now, settings.LIVENESS_GRACE)
    if service.state == before:
        # Nothing that anybody can discover has changed, so no version moves and no cache is touched.
        service.save(update_fields=["beat_at", "due_at"])
        return service
    _save(service)
    subscriptions.tell([(service, Change.STATE_CHANGED)])
    return service


@transaction.atomic
def suspend_silent(now: float | None = None) -> int:
    """Suspend every active service whose heartbeat is overdue; returns how many."""
    now = time.time() if now is None else now
    silent = [
        each
        for each in Service.objects.filter(due_at__lt=now)
        if states.missed(ServiceState(each.state), each.due_at, now) is ServiceState.SUSPENDED
    ]
    return set_states(silent, ServiceState.SUSPENDED)


def set_states(services: Iterable[Service], state: ServiceState) -> int:
    """Put services into `state` and tell of those that were in another; returns how many those are."""
    changed = [each for each in services if each.state != state]
    for service in changed:
        service.state = state
        _save(service)
    subscriptions.tell([(service, Change.STATE_CHANGED) for service in changed])
    return len(changed)


def forgive_absence(now: float | None = None) -> None:
    """Give every awaited heartbeat a full interval from now: while the platform was away nobody could send one."""
    now = time.time() if now is None else now
    soonest = now + F("interval") + settings.LIVENESS_GRACE
    Service.objects.filter(due_at__isnull=False, due_at__lt=soonest).update(due_at=soonest)


def find(app: App, service_id: str) -> Service:
    """Return one of the app's own services."""
    service = Service.objects.filter(app=app, pk=service_id).first()
    if service is None:
        raise Missing(f"This app instance has no service {service_id!r}")
    return service


def alive(app: App, service_id: str) -> Service:
    """Return one of the app's own services that sends heartbeats; only those have a liveness resource."""
    service = find(app, service_id)
    if service.interval is None:
        raise Missing("No heartbeats are expected from this service: it was registered without livenessInterval")
    return service


def etag(service: Service, near: Near = EVERYWHERE) -> str:
    """Return the strong entity tag of the service's present version, as an asker with these scopes sees it."""
    return f'"{service.revision}"' if service.scope in near else f'"{service.revision}-far"'


def info(service: Service, near: Near = EVERYWHERE) -> dict[str, Any]:
    """Return the ServiceInfo of 8.1.2.2 as it is answered, without `_links`; `isLocal` comes last."""
    body: dict[str, Any] = {"serInstanceId": service.pk, "serName": service.name}
    if service.category:
        body["serCategory"] = service.category
    body |= {
        "version": service.version,
        "state": service.state,
        "transportInfo": service.transport,
        "serializer": service.serializer,
        "scopeOfLocality": service.scope,
        "consumedLocalOnly": service.consumed_local_only,
    }
    if service.interval:
        body["livenessInterval"] = service.interval
    return {**body, "isLocal": service.scope in near}


def transports() -> list[dict[str, Any]]:
    """Return the transports that this platform offers (8.1.2.3), from the file that MEP_TRANSPORTS names."""
    return _transports(settings.TRANSPORTS)


@lru_cache(maxsize=4)
def _transports(path: str) -> list[dict[str, Any]]:
    if not path:
        return []
    return [each.plain() for each in wire.read(list[wire.TransportInfo], json.loads(Path(path).read_text()))]


def _columns(wanted: wire.ServiceInfo) -> dict[str, Any]:
    if (wanted.transport_id is None) == (wanted.transport_info is None):
        raise Invalid("Exactly one of transportId and transportInfo must be given")
    if wanted.transport_info is not None:
        transport = wanted.transport_info.plain()
    else:
        offered = {each["id"]: each for each in transports()}
        if wanted.transport_id not in offered:
            raise Invalid(
                f"transportId: this platform offers no transport {wanted.transport_id!r}; see GET /transports",
                errors=[{"field": "transportId", "detail": "is not offered"}],
            )
        transport = offered[wanted.transport_id]
    return {
        "name": wanted.ser_name,
        "version": wanted.version,
        "category": msgspec.to_builtins(wanted.ser_category) if wanted.ser_category else None,
        "transport": transport,
        "serializer": wanted.serializer,
        "scope": wanted.scope_of_locality or "MEC_HOST",
        "consumed_local_only": True if wanted.consumed_local_only is None else wanted.consumed_local_only,
        "interval": states.granted_interval(
            wanted.liveness_interval,
            default=settings.LIVENESS_DEFAULT,
            shortest=settings.LIVENESS_MIN,
            longest=settings.LIVENESS_MAX,
        ),
    }


def _unless_changed(service: Service, if_match: str | None) -> None:
    if not matches(if_match, etag(service), etag(service, frozenset())):
        raise Stale("The service has changed since that ETag; read it again")


def _attributes(service: Service) -> dict[str, Any]:
    return {name: getattr(service, name) for name in ATTRIBUTES}


def _save(service: Service) -> None:
    service.due_at = states.due(
        ServiceState(service.state), service.interval, service.beat_at or 0.0, settings.LIVENESS_GRACE
    )
    service.revision = Counter.bump("services")
    service.save()


def _remove(services: list[Service]) -> None:
    if not services:
        return
    subscriptions.tell([(service, Change.REMOVED) for service in services])
    Service.objects.filter(pk__in=[service.pk for service in services]).delete()
    Counter.bump("services")
    Counter.bump("removals")
