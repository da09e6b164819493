"""A MEP with something of everything, and one that never had anything."""

from __future__ import annotations

from collections.abc import Callable

from mep.dns.models import DnsScope
from mep.dns.services import put_scope, set_rule_scope
from mep.mp1 import alarms, keys, models, services
from mep.mp1.states import Severity
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1

OWN = "/mec_service_mgmt/v1/applications/{app}"


def empty() -> None:
    """Make this a MEP that never had anything."""
    for kind in (
        "Notice",
        "Interest",
        "Service",
        "Subscription",
        "TrafficRule",
        "DnsRule",
        "App",
        "Alarm",
        "SigningKey",
    ):
        getattr(models, kind).objects.all().delete()
    DnsScope.objects.all().delete()
    models.Counter.objects.all().delete()


def fill(speak: Callable[..., Mp1]) -> Mp1:
    """A MEP with something of everything."""
    app = speak("app-1", traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE], app_d_id="d1")
    consumer = speak("app-2")
    for wish in (
        {
            "callbackReference": "http://10.1.2.3/hear",
            "filteringCriteria": {"serNames": ["hello"], "states": ["ACTIVE"]},
        },
        {"websockNotifConfig": {"requestWebsocketUri": True}},
    ):
        body = {"subscriptionType": "SerAvailabilityNotificationSubscription", **wish}
        assert consumer.post(f"{OWN}/subscriptions", body).status_code == 201
    ending = {"subscriptionType": "AppTerminationNotificationSubscription", "callbackReference": "http://10.1.2.3/end"}
    support = "/mec_app_support/v1/applications/{app}/subscriptions"
    assert consumer.post(support, {**ending, "appInstanceId": "app-2"}).status_code == 201
    category = {"href": "h", "id": "rni", "name": "n", "version": "1"}
    app.register(livenessInterval=5, serCategory=category)
    app.register(serName="other", state="INACTIVE")
    app.post("/mec_app_support/v1/registrations", {"appName": "hello", "isInsByMec": True})
    services.begin_termination("app-2", timeout=60)
    alarms.raise_alarm("notification-given-up", "subscription=x", Severity.MINOR, "one was given up")
    put_scope("zone-1", kind="zone", networks=["10.0.0.0/8"])
    set_rule_scope("app-1", "d1", "zone-1")
    keys.rotate()
    assert models.Notice.objects.count() == 4
    return app
