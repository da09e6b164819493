"""Content for a node to look at: apps, services, subscriptions, rules of every outcome, alarms, log lines.

Hostile names are among it: an app chooses what it is called, and the console shows it.
Run with the node's environment: `python -m tests.mep.console.seed`; prints the addresses of pages by name.
"""

from __future__ import annotations

import json
import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mep.settings")

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def flow(priority: int, to: str, action: str = "FORWARD_DECAPSULATED", **members: list[str]) -> dict[str, object]:
    """Return a traffic rule."""
    rule: dict[str, object] = {
        "filterType": "FLOW",
        "priority": priority,
        "trafficFilter": [members],
        "action": action,
    }
    if to:
        rule["dstInterface"] = [{"interfaceType": "IP", "dstIpAddress": to}]
    return rule


def service(name: str, version: str, uri: str, **members: object) -> dict[str, object]:
    """Return a ServiceInfo."""
    return {
        "serName": name,
        "version": version,
        "state": "ACTIVE",
        "serializer": "JSON",
        "serCategory": {"href": "catalogue1", "id": name, "name": name.split("-")[0].title(), "version": "v1"},
        "transportInfo": {
            "id": "t1",
            "name": "rest",
            "type": "REST_HTTP",
            "protocol": "HTTP",
            "version": "1.1",
            "endpoint": {"uris": [uri]},
            "security": {},
        },
        **members,
    }


def fill() -> dict[str, str]:
    """Put everything into the node's database."""
    from mep.agent import store
    from mep.mp1 import catalogue, operator, services, subscriptions
    from mep.mp1.models import Alarm, App, DnsRule, Notice, Service, Subscription, TrafficRule
    from mep.mp1.states import Enforcement

    now = time.time()
    apps = {}
    for key, name, provider, needs in (
        ("harbour-video-7f3a", "Quay video analytics", "Harbour Vision", ["location", "rni"]),
        ("crane-twin-91bc", "Crane digital twin", "Industry Twin", ["location"]),
        ("v2x-broker-44d0", "V2X message broker", "Autonomic", []),
        ("positioning-0c11", "Positioning", "Breakwater samples", []),
        ("hostile-5e5e", HOSTILE, HOSTILE, []),
    ):
        services.provision(
            key,
            app_name=name,
            app_provider=provider,
            app_soft_version="2.4.1",
            namespace="harbour",
            services={"required": [{"serName": each} for each in needs]},
            traffic_rules=[
                {
                    "trafficRuleId": "camera-streams",
                    **flow(20, "10.60.0.10", dstAddress=["203.0.113.0/28"], protocol=["UDP"], dstPort=["5004-5010"]),
                },
                {
                    "trafficRuleId": "control",
                    **flow(
                        10,
                        "10.60.0.10",
                        srcAddress=["10.45.0.0/16"],
                        dstAddress=["198.51.100.7"],
                        protocol=["TCP"],
                        dstPort=["443"],
                    ),
                },
            ]
            if key.startswith("harbour")
            else [
                {
                    "trafficRuleId": "telemetry",
                    **flow(40, "10.60.0.22", "DUPLICATE_DECAPSULATED", dstAddress=["203.0.113.64/26"]),
                }
            ]
            if key.startswith("crane")
            else [],
            dns_rules=[
                {
                    "dnsRuleId": "public-name",
                    "domainName": f"{key.split('-')[0]}.edge.example",
                    "ipAddressType": "IP_V4",
                    "ipAddress": "10.60.0.10",
                    "ttl": 60,
                },
            ]
            if key != "hostile-5e5e"
            else [],
        )
        apps[key] = App.objects.get(pk=key)
        if key != "positioning-0c11":
            services.confirm_ready(key)
            apps[key].refresh_from_db()
    App.objects.filter(pk="harbour-video-7f3a").update(
        registration={"appName": "Quay video analytics", "appProvider": "Harbour Vision", "isInsByMec": True}
    )
    made = [
        catalogue.register(
            apps["v2x-broker-44d0"],
            service("v2x-messages", "1.2", "http://10.60.0.31:8080/v2x/v1", livenessInterval=30),
        ),
        catalogue.register(
            apps["harbour-video-7f3a"], service("video-events", "2.4", "http://10.60.0.10/events", livenessInterval=10)
        ),
        catalogue.register(apps["crane-twin-91bc"], service("location", "3.0", "http://10.60.0.22/location/v3")),
        catalogue.register(apps["hostile-5e5e"], service(HOSTILE, "1", "http://10.60.0.9/<b>x</b>")),
    ]
    Service.objects.filter(pk=made[1].pk).update(beat_at=now - 95, due_at=now - 84)
    catalogue.suspend_silent(now)

    def subscribe(key: str, callback: str, kind: str = Subscription.AVAILABILITY, **raw: object) -> Subscription:
        body = {"subscriptionType": kind, "callbackReference": callback, **raw}
        return subscriptions.subscribe(apps[key], kind, body, "https://mep:8443")

    told = subscribe("harbour-video-7f3a", "http://10.60.0.10/notify", filteringCriteria={"serNames": ["location"]})
    failing = subscribe("crane-twin-91bc", "http://10.60.0.22:9000/callback")
    subscribe(
        "crane-twin-91bc", "http://10.60.0.22:9000/bye", Subscription.TERMINATION, appInstanceId="crane-twin-91bc"
    )
    subscribe("hostile-5e5e", "http://10.60.0.9/%3Cscript%3Ealert(3)%3C/script%3E")
    Subscription.objects.filter(pk=told.pk).update(delivered=128)
    Subscription.objects.filter(pk=failing.pk).update(
        delivered=12,
        failures=6,
        dropped=2,
        next_try_at=now + 22,
        last_error="ConnectError: [Errno 111] Connection refused",
    )
    for _ in range(3):
        Notice.objects.create(subscription=failing, body={"notificationType": "TestNotification"}, created_at=now - 60)

    drop = operator.create_traffic(
        "v2x-broker-44d0", "no-telnet", {**flow(5, "", "DROP", protocol=["TCP"], dstPort=["23"]), "state": "ACTIVE"}
    )
    six = operator.create_traffic(
        "v2x-broker-44d0",
        "messages-v6",
        {**flow(50, "fd00:60::31", dstAddress=["2001:db8:1::/64"], protocol=["UDP"]), "state": "ACTIVE"},
    )
    operator.create_traffic(
        "harbour-video-7f3a",
        "night-shift",
        flow(60, "10.60.0.10", srcAddress=["10.45.7.0/24"], dstPort=["8000-8100"], protocol=["TCP"]),
    )
    refused = operator.create_traffic(
        "crane-twin-91bc", "by-qci", {**flow(70, "10.60.0.22", dstAddress=["192.0.2.0/24"]), "state": "ACTIVE"}
    )
    hostile = operator.create_traffic(
        "hostile-5e5e",
        HOSTILE.replace("/", "|"),
        {**flow(90, "10.60.0.9", dstAddress=["192.0.2.200"]), "state": "ACTIVE"},
    )
    name = operator.create_dns(
        "v2x-broker-44d0",
        "v2x-name",
        {"domainName": "v2x.edge.example", "ipAddressType": "IP_V6", "ipAddress": "fd00:60::31", "state": "ACTIVE"},
    )
    DnsRule.objects.filter(state="ACTIVE").update(enforcement=Enforcement.IN_FORCE)
    TrafficRule.objects.filter(state="ACTIVE").update(enforcement=Enforcement.IN_FORCE, counted_at=now)
    TrafficRule.objects.filter(rule_id="camera-streams").update(packets=1_482_990, octets=1_912_334_221)
    TrafficRule.objects.filter(rule_id="control").update(packets=48_211, octets=9_882_001)
    TrafficRule.objects.filter(rule_id="telemetry").update(packets=702, octets=88_400)
    TrafficRule.objects.filter(pk=drop.pk).update(packets=19, octets=1_140)
    TrafficRule.objects.filter(pk=six.pk).update(
        enforcement=Enforcement.PENDING, reason="the user plane does not answer", counted_at=None
    )
    TrafficRule.objects.filter(pk=refused.pk).update(
        enforcement=Enforcement.REFUSED,
        counted_at=None,
        reason="trafficFilter[0]: the user plane nftables cannot match qCI; the nearest it can do: the same without it,"
        " by dstAddress, dstPort, protocol, srcAddress, srcPort",
    )
    for kind, subject, severity, text, times, age in (
        (
            "notification-given-up",
            f"subscription={failing.pk}",
            "major",
            "2 notifications to Crane digital twin were given up after an hour: connection refused",
            2,
            240,
        ),
        (
            "rule-refused",
            "crane-twin-91bc/by-qci",
            "minor",
            "The user plane cannot express the rule by-qci of Crane digital twin",
            1,
            1800,
        ),
        (
            "service-suspended",
            f"service={made[1].pk}",
            "warning",
            "video-events of Quay video analytics missed its heartbeat",
            4,
            84,
        ),
    ):
        Alarm.objects.create(
            kind=kind,
            subject=subject,
            severity=severity,
            text=text,
            count=times,
            raised_at=now - 3 * age,
            updated_at=now - age,
        )
    store.note_link("connected", now=now - 7200)
    store.note_link("cut-off", "the centre hung up (without a word)", now=now - 1260)
    # No agent will run; what it knew last stays fresh for as long as somebody looks.
    store.note_link("cut-off", "[Errno 111] Connect call failed ('192.0.2.1', 443)", now=now + 86400)
    control = TrafficRule.objects.get(rule_id="control")
    return {
        "overview": "/", "apps": "/apps", "app": "/apps/harbour-video-7f3a", "hostile-app": "/apps/hostile-5e5e",
        "services": "/services", "service": f"/services/{made[0].pk}",
        "subscriptions": "/subscriptions", "subscription": f"/subscriptions/{failing.pk}",
        "traffic": "/traffic", "traffic-new": "/traffic/new", "traffic-rule": f"/traffic/{drop.pk}",
        "traffic-descriptor": f"/traffic/{control.pk}", "traffic-hostile": f"/traffic/{hostile.pk}",
        "packet": "/traffic?src=10.45.0.7&dst=198.51.100.7&protocol=TCP&src_port=40000&dst_port=443&dscp=0",
        "packet-wrong": "/traffic?src=here&dst=198.51.100.7&protocol=TCPP&src_port=40000&dst_port=99999&dscp=0",
        "dns": "/dns", "dns-new": "/dns/new", "dns-rule": f"/dns/{name.pk}",
        "query": "/dns?name=harbour.edge.example&kind=A",
        "alarms": "/alarms", "logs": "/logs", "nothing-found": "/services?q=nothing+of+that+name",
    }  # fmt: skip


def main() -> None:
    """Fill the node of this environment."""
    django.setup()
    import logging

    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    pages = fill()
    logging.getLogger("breakwater.agent").info("linked to the centre (delta from revision 118)")
    logging.getLogger("breakwater.agent").warning(
        "the link to the centre is down: [Errno 111] Connect call failed ('192.0.2.1', 443)"
    )
    logging.getLogger("mep.mp1.outbox").warning("notification 12 was given up: <img src=x onerror=alert(4)>")
    logging.getLogger("mep.mp1.steering").error(
        "the user plane nftables refuses rule crane-twin-91bc/by-qci: it cannot match qCI"
    )
    print(json.dumps(pages))


if __name__ == "__main__":
    main()
