"""What the management of the platform (Mm5) does with app instances: make known, end, forget.

The agent calls these functions in its own process; `mep.mp1.mm5` offers the same over HTTP. Every one may
be called twice with one effect.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction

import upf_adapter
from core.errors import Invalid, Missing
from mep.dns.models import DnsScope
from mep.mp1 import alarms, catalogue, rules, steering, subscriptions, wire
from mep.mp1.models import App, Counter, DnsRule, Service, Subscription, TrafficRule
from mep.mp1.secrets import vault
from mep.mp1.states import (
    Action,
    AppState,
    ServiceState,
    announced,
    confirmed_ready,
    confirmed_termination,
    ended,
    leaves_nothing,
    provisioned,
)
from mep.mp1.states import termination_is_over as is_over
from mep.mp1.tokens import secret_purpose

#: Standing alarms that are told to the centre; more of them say nothing new.
ALARMS = 100
#: DNS scopes that are told, each with its first prefixes: so that rules can be written for them.
DNS_SCOPES = 500


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an app instance signs in with at `/mep/token`."""

    client_id: str
    client_secret: str = field(repr=False)


@transaction.atomic
def provision(
    app_instance_id: str,
    *,
    app_name: str,
    app_provider: str = "",
    app_d_id: str = "",
    app_soft_version: str = "",
    app_d_version: str = "",
    services: Mapping[str, Iterable[Any]] | None = None,
    traffic_rules: Iterable[Mapping[str, Any]] = (),
    dns_rules: Iterable[Mapping[str, Any]] = (),
    namespace: str = "",
) -> Credentials:
    """Make an app instance known, with its identity and rules; the same credentials each time.

    The rules wait until the app is ready. For one that runs already, changed rules take effect at once.
    `Invalid` lists what is wrong with a rule, and then nothing has changed.
    """
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", app_instance_id):
        raise Invalid("appInstanceId must be 1 to 64 letters, digits or . _ : -")
    if not app_name:
        raise Invalid("appName must not be empty")
    traffic, dns = rules.read_all(traffic_rules, dns_rules)
    facts = {
        "name": app_name[:255],
        "provider": app_provider[:255],
        "app_d_id": app_d_id[:255],
        "soft_version": app_soft_version[:64],
        "d_version": app_d_version[:64],
        "namespace": namespace[:255],
        "declared": {key: list(value) for key, value in (services or {}).items()},
        "described": rules.described(traffic, dns),
    }
    app = App.objects.filter(pk=app_instance_id).first()
    new = app is None
    if app is None:
        secret = secrets.token_urlsafe(32)
        app = App(
            pk=app_instance_id,
            client_id=_client_id(app_provider, app_name),
            secret=vault().seal(secret.encode(), secret_purpose(app_instance_id)),
            provisioned_at=time.time(),
            **facts,
        )
    else:
        secret = vault().open(bytes(app.secret), secret_purpose(app.pk)).decode()
        for name, value in facts.items():
            setattr(app, name, value)
        state = provisioned(AppState(app.state))
        if state is not AppState.READY:
            app.state, app.action, app.deadline, app.ready_at = state, "", None, None
    # Told that the row is new, Django does not try an update first: the id is ours, so it could not know.
    app.save(force_insert=new)
    Counter.bump("apps")
    rules.replace(app)
    return Credentials(app.client_id, secret)


@transaction.atomic
def confirm_ready(app_instance_id: str) -> None:
    """The app says that it is up: its rules become active. Saying it again changes nothing."""
    app = _app(app_instance_id)
    after = confirmed_ready(AppState(app.state))
    if app.state == after:
        return
    app.state, app.action, app.deadline, app.ready_at = after, "", None, time.time()
    app.save(update_fields=["state", "action", "deadline", "ready_at"])
    Counter.bump("apps")
    rules.follow(app)


@transaction.atomic
def begin_termination(
    app_instance_id: str,
    *,
    action: str = Action.TERMINATING,
    timeout: float | None = None,
    now: float | None = None,
) -> None:
    """Announce the end (or a stop) to the app and give it `timeout` seconds to confirm.

    Nobody is waited for when the app is unknown, was never ready or does not listen. Asking again neither
    announces again nor gives more time.
    """
    app = App.objects.filter(pk=app_instance_id).first()
    if app is None:
        return
    wanted = wire.read(Action, str(action))
    grace = float(settings.GRACEFUL_TIMEOUT if timeout is None else timeout)
    if not 0 <= grace <= 86400:
        raise Invalid("The graceful timeout must be 0 to 86400 seconds")
    listening = grace > 0 and app.subscriptions.filter(kind=Subscription.TERMINATION).exists()
    before, after = AppState(app.state), announced(AppState(app.state), listening=listening, action=wanted)
    if after is before and not (after is AppState.STOPPED and _offers(app)):
        return
    app.confirmed_at = None
    if after is AppState.TERMINATING:
        app.state, app.action, app.deadline = after, wanted, (time.time() if now is None else now) + grace
        app.save()
        Counter.bump("apps")
        subscriptions.announce_termination(app, wanted, grace)
    else:
        _end(app, after)


@transaction.atomic
def confirm_termination(app_instance_id: str, action: Action) -> None:
    """The app has finished what it had to do; `Conflict` when nobody asked it to."""
    app = _app(app_instance_id)
    after = confirmed_termination(AppState(app.state), app.action, action)
    app.confirmed_at = time.time()
    _end(app, after)


@transaction.atomic
def end_overdue_terminations(now: float | None = None) -> int:
    """End every termination whose time is up; returns how many."""
    now = time.time() if now is None else now
    overdue = list(App.objects.filter(state=AppState.TERMINATING, deadline__lte=now))
    for app in overdue:
        _end(app, ended(Action(app.action)))
    return len(overdue)


def termination_over(app_instance_id: str) -> bool:
    """Return whether nobody needs to wait for the app any more: it confirmed, ran out of time, or is not there."""
    app = App.objects.filter(pk=app_instance_id).first()
    return app is None or is_over(AppState(app.state), app.deadline, time.time())


@transaction.atomic
def discard(app_instance_id: str) -> None:
    """Forget the app instance with everything it owned; consumers hear that its services are REMOVED."""
    app = App.objects.filter(pk=app_instance_id).first()
    if app is None:
        return
    catalogue.withdraw(app)
    app.delete()
    for subject in ("apps", "traffic", "dns"):
        Counter.bump(subject)


def snapshot() -> dict[str, Any]:
    """Return what this MEP holds, as JSON values without any secret: for the centre and the console."""
    waiting = subscriptions.waiting()
    return {
        "apps": [describe(app) for app in App.objects.order_by("provisioned_at")],
        "services": [
            {
                **catalogue.info(service),
                "appInstanceId": service.app_id,
                "lastHeartbeat": service.beat_at if service.interval else None,
            }
            for service in Service.objects.all()
        ],
        "subscriptions": [
            {
                "id": each.pk,
                "appInstanceId": each.app_id,
                "subscriptionType": each.kind,
                "callbackReference": each.callback,
                "filteringCriteria": each.criteria,
                "delivered": each.delivered,
                "waiting": waiting.get(each.pk, 0),
                "dropped": each.dropped,
                "failures": each.failures,
                "lastError": each.last_error,
            }
            for each in Subscription.objects.all()
        ],
        "dns_rules": [
            {
                **rules.dns_body(rule),
                "appInstanceId": rule.app_id,
                "scope": rule.scope,
                "origin": rule.origin,
                "enforcement": rule.enforcement,
                "reason": rule.reason,
            }
            for rule in DnsRule.objects.all()
        ],
        "dns_scopes": [
            {"name": each.name, "kind": each.kind, "networks": each.networks[:5], "prefixes": len(each.networks)}
            for each in DnsScope.objects.order_by("name")[:DNS_SCOPES]
        ],
        "traffic_rules": [
            {
                **rules.traffic_body(rule),
                "appInstanceId": rule.app_id,
                "origin": rule.origin,
                "enforcement": rule.enforcement,
                "reason": rule.reason,
            }
            for rule in TrafficRule.objects.all()
        ],
        "alarms": alarms.standing()[:ALARMS],
        "user_plane": {
            "adapter": settings.UPF,
            "simulated": upf_adapter.registry.get(settings.UPF).simulated,
            "capabilities": steering.abilities(),
        },
    }


def counted(most: int = 2000) -> list[list[Any]]:
    """Return what the user plane counted: app, rule, packets, octets and when; of at most so many rules that saw any."""
    seen = TrafficRule.objects.filter(counted_at__isnull=False, packets__gt=0).order_by("-packets")[:most]
    return [list(row) for row in seen.values_list("app_id", "rule_id", "packets", "octets", "counted_at")]


def snapshot_version() -> str:
    """Return a text that changes whenever `snapshot()` may show something new about apps, services or rules."""
    return " ".join(f"{each.name}={each.value}" for each in Counter.objects.exclude(name="keys").order_by("name"))


def describe(app: App) -> dict[str, Any]:
    """Return one app instance as JSON values."""
    return {
        "appInstanceId": app.pk,
        "appName": app.name,
        "appProvider": app.provider,
        "appDId": app.app_d_id,
        "appSoftVersion": app.soft_version,
        "appDVersion": app.d_version,
        "namespace": app.namespace,
        "state": app.state,
        "appServiceRequired": app.declared.get("required", []),
        "appServiceOptional": app.declared.get("optional", []),
        "appServiceProduced": app.declared.get("produced", []),
        "registered": app.registration is not None,
        "provisionedAt": app.provisioned_at,
        "readyAt": app.ready_at,
        "terminationDeadline": app.deadline,
        "terminationConfirmedAt": app.confirmed_at,
    }


def _end(app: App, after: AppState) -> None:
    app.state, app.action, app.deadline = after, "", None
    app.save()
    Counter.bump("apps")
    rules.follow(app)
    if leaves_nothing(after):
        catalogue.withdraw(app)
    else:
        catalogue.set_states(app.services.all(), ServiceState.INACTIVE)


def _offers(app: App) -> bool:
    """Return whether a stopped app came back by itself, with something to offer, and so has to be stopped again."""
    return app.services.exclude(state=ServiceState.INACTIVE).exists()


def _app(app_instance_id: str) -> App:
    app = App.objects.filter(pk=app_instance_id).first()
    if app is None:
        raise Missing(f"There is no app instance {app_instance_id}")
    return app


def _client_id(provider: str, name: str) -> str:
    # MEC 009 6.16: the client id is derived from appProvider and appName; the rest keeps instances apart.
    words = (re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] for text in (provider, name))
    return ".".join([*filter(None, words), secrets.token_hex(8)])
