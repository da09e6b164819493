"""`mec_app_support/v1`, MEC 011 V3.1.1 clause 7.2: being there, going away, rules, time."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path

from mep.mp1 import registrations, rules, services, timing, wire
from mep.mp1.api_services import subscription_views
from mep.mp1.conditions import tag_of
from mep.mp1.http import Call, Endpoint, answer, empty, encode, tagged
from mep.mp1.models import DnsRule, Subscription, TrafficRule
from mep.mp1.subscriptions import SUPPORT_API


def confirm_ready(call: Call, app: str) -> HttpResponse:
    """POST /applications/{appInstanceId}/confirm_ready"""
    owner = call.own(app)
    wire.read(wire.AppReadyConfirmation, call.json)
    services.confirm_ready(owner.pk)
    return empty()


def confirm_termination(call: Call, app: str) -> HttpResponse:
    """POST /applications/{appInstanceId}/confirm_termination"""
    owner = call.own(app)
    services.confirm_termination(owner.pk, wire.read(wire.AppTerminationConfirmation, call.json).operation_action)
    return empty()


def traffic_rules(call: Call, app: str) -> HttpResponse:
    """GET /applications/{appInstanceId}/traffic_rules"""
    return answer([rules.traffic_body(rule) for rule in TrafficRule.objects.filter(app=call.own(app))])


def traffic_rule(call: Call, app: str, rule_id: str) -> HttpResponse:
    """GET /applications/{appInstanceId}/traffic_rules/{trafficRuleId}"""
    return _traffic(call, rules.find(TrafficRule, call.own(app), rule_id))


def put_traffic_rule(call: Call, app: str, rule_id: str) -> HttpResponse:
    """PUT /applications/{appInstanceId}/traffic_rules/{trafficRuleId}"""
    return _traffic(call, rules.put_traffic(call.own(app), rule_id, call.json, call.if_match))


def dns_rules(call: Call, app: str) -> HttpResponse:
    """GET /applications/{appInstanceId}/dns_rules"""
    return answer([rules.dns_body(rule) for rule in DnsRule.objects.filter(app=call.own(app))])


def dns_rule(call: Call, app: str, rule_id: str) -> HttpResponse:
    """GET /applications/{appInstanceId}/dns_rules/{dnsRuleId}"""
    return _dns(call, rules.find(DnsRule, call.own(app), rule_id))


def put_dns_rule(call: Call, app: str, rule_id: str) -> HttpResponse:
    """PUT /applications/{appInstanceId}/dns_rules/{dnsRuleId}"""
    own, source = call.own(app), call.request.META.get("REMOTE_ADDR", "")
    return _dns(call, rules.put_dns(own, rule_id, call.json, call.if_match, source=source))


def register(call: Call) -> HttpResponse:
    """POST /registrations (new in V3.1.1)"""
    body = registrations.register(call.app, call.json)
    return tagged(
        call, body, tag_of(encode(body)), 201, Location=f"{call.root}{SUPPORT_API}/registrations/{call.app.pk}"
    )


def registration(call: Call, app: str) -> HttpResponse:
    """GET /registrations/{appInstanceId}"""
    return answer(registrations.read(call.own(app)))


def put_registration(call: Call, app: str) -> HttpResponse:
    """PUT /registrations/{appInstanceId}"""
    owner = call.own(app)
    call.unless_changed(registrations.read(owner))
    registrations.update(owner, call.json)
    return empty()


def deregister(call: Call, app: str) -> HttpResponse:
    """DELETE /registrations/{appInstanceId}"""
    owner = call.own(app)
    call.unless_changed(registrations.read(owner))
    registrations.deregister(owner)
    return empty()


def current_time(call: Call) -> HttpResponse:
    """GET /timing/current_time"""
    return answer(timing.current_time())


def timing_caps(call: Call) -> HttpResponse:
    """GET /timing/timing_caps"""
    caps = timing.capabilities()
    # A weak tag: the capabilities are the same although the clock went on.
    lasting = {name: value for name, value in caps.items() if name != "timeStamp"}
    return tagged(call, caps, tag_of(encode(lasting), weak=True))


def _traffic(call: Call, rule: TrafficRule) -> HttpResponse:
    return tagged(call, rules.traffic_body(rule), rules.etag(rule))


def _dns(call: Call, rule: DnsRule) -> HttpResponse:
    return tagged(call, rules.dns_body(rule), rules.etag(rule))


_subscriptions: dict[str, Any] = subscription_views(Subscription.TERMINATION, SUPPORT_API)
_own = "applications/<str:app>"
urlpatterns = [
    path(f"{_own}/confirm_ready", Endpoint(post=confirm_ready)),
    path(f"{_own}/confirm_termination", Endpoint(post=confirm_termination)),
    path(f"{_own}/traffic_rules", Endpoint(get=traffic_rules)),
    path(f"{_own}/traffic_rules/<str:rule_id>", Endpoint(get=traffic_rule, put=put_traffic_rule)),
    path(f"{_own}/dns_rules", Endpoint(get=dns_rules)),
    path(f"{_own}/dns_rules/<str:rule_id>", Endpoint(get=dns_rule, put=put_dns_rule)),
    path(f"{_own}/subscriptions", _subscriptions["many"]),
    path(f"{_own}/subscriptions/<str:subscription_id>", _subscriptions["one"]),
    path("registrations", Endpoint(post=register)),
    path("registrations/<str:app>", Endpoint(get=registration, put=put_registration, delete=deregister)),
    path("timing/current_time", Endpoint(get=current_time)),
    path("timing/timing_caps", Endpoint(get=timing_caps)),
]
