"""The first page: is this node well, and what does it hold."""

from __future__ import annotations

import socket
import time
from typing import Any

import dns.exception
import dns.message
from django.conf import settings
from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from core.errors import BreakwaterError
from core.words import say
from mep.agent import store
from mep.console import ring
from mep.console.alarms import worst_first
from mep.console.centre import link_in_words
from mep.console.frame import adapter, live, token
from mep.console.lookup import ask, responder
from mep.mp1.models import Alarm, App, DnsRule, Notice, Service, Subscription, TrafficRule
from mep.mp1.states import AppState, Enforcement, RuleState, ServiceState

PROBE_EVERY = 5.0


_probed: dict[str, tuple[float, bool]] = {}


def probes() -> dict[str, bool]:
    """Return whether Mp1 and DNS answer on this node; looked at every few seconds at most."""
    now = time.monotonic()
    for name, probe in (("mp1", _mp1_answers), ("dns", _dns_answers)):
        if name not in _probed or now - _probed[name][0] > PROBE_EVERY:
            _probed[name] = (now, probe())
    return {name: answers for name, (_, answers) in _probed.items()}


def _mp1_answers() -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.MP1_BIND, settings.MP1_BIND)  # noqa: S104 - a comparison
    try:
        with socket.create_connection((host, settings.MP1_PORT), timeout=0.5):
            return True
    except OSError:
        return False


def _dns_answers() -> bool:
    query = dns.message.make_query("console.invalid", "A")
    try:
        return query.is_response(dns.message.from_wire(ask(query.to_wire(), 0.5)))
    except (OSError, dns.exception.DNSException):
        return False


def _facts() -> dict[str, Any]:
    now = time.time()
    on = Q(state=RuleState.ACTIVE)
    return {
        "link": link_in_words(store.link(), now),
        "recalls": store.recalls_in_words(),
        "answers": probes(),
        "apps": App.objects.aggregate(all=Count("pk"), ready=Count("pk", filter=Q(state=AppState.READY))),
        "services": Service.objects.aggregate(
            all=Count("pk"),
            active=Count("pk", filter=Q(state=ServiceState.ACTIVE)),
            suspended=Count("pk", filter=Q(state=ServiceState.SUSPENDED)),
        ),
        "subscriptions": {
            **Subscription.objects.aggregate(all=Count("pk"), failing=Count("pk", filter=Q(failures__gt=0))),
            "waiting": Notice.objects.count(),
        },
        "dns": DnsRule.objects.aggregate(
            all=Count("pk"), active=Count("pk", filter=on), names=Count("domain_name", filter=on, distinct=True)
        ),
        "traffic": TrafficRule.objects.aggregate(
            all=Count("pk"),
            active=Count("pk", filter=on),
            in_force=Count("pk", filter=on & Q(enforcement=Enforcement.IN_FORCE)),
            refused=Count("pk", filter=on & Q(enforcement=Enforcement.REFUSED)),
            packets=Sum("packets"),
            octets=Sum("octets"),
            counted_at=Max("counted_at"),
        ),
        "alarms": list(worst_first(Alarm.objects.filter(cleared_at=None))[:5]),
        "trouble": ring.read(settings.VAR / "log", level="WARNING", most=5),
        **_plane(),
        "dns_at": _responder(),
        "upstreams": [f"{host}:{port}" if port != 53 else host for host, port in settings.DNS_UPSTREAMS],
    }


def _responder() -> str:
    host, port = responder()
    return say("{host} port {port}", host=host, port=port)


def _families(versions: list[int]) -> str:
    one, *more = (f"IPv{version}" for version in versions)
    return say("{one} and {other}", one=one, other=more[0]) if more else one


def _plane() -> dict[str, Any]:
    try:
        can = adapter().capabilities()
    except BreakwaterError as problem:
        return {"plane_problem": problem.detail}
    return {
        "can": can,
        "actions": sorted(can.actions),
        "filters": sorted(can.filters),
        "interfaces": sorted(can.interfaces),
        "families": _families(sorted(can.families)),
    }


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """GET /"""
    note = store.link()
    now = token(
        link_in_words(note, time.time()),
        probes(),
        TrafficRule.objects.aggregate(Sum("packets"))["packets__sum"],
        Alarm.objects.filter(cleared_at=None).aggregate(Count("pk"), Max("updated_at")),
        Notice.objects.count(),
        ring.mark(settings.VAR / "log"),
    )
    return live(request, "overview", now, _facts)
