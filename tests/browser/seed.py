"""Fills an empty centre with what a small operator would have, and prints the addresses of its pages as JSON.

Run as `python -m tests.browser.seed` with `BREAKWATER_VAR` set to the folder of that centre.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from datetime import timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")
django.setup()

from django.utils import timezone  # noqa: E402

from appstore.catalog import notices, webhooks  # noqa: E402
from appstore.catalog import services as index  # noqa: E402
from appstore.catalog.entries import Entry  # noqa: E402
from appstore.catalog.models import App, Delivery, Notice, Review, Webhook  # noqa: E402
from appstore.packages import blobs  # noqa: E402
from appstore.packages.models import Package  # noqa: E402
from core.accounts import services as accounts  # noqa: E402
from core.accounts.access import SYSTEM, Actor  # noqa: E402
from core.accounts.models import Membership, Organisation, User  # noqa: E402
from core.operations.models import Operation  # noqa: E402
from mecm.deployments import services as deployments  # noqa: E402
from mecm.edge.models import NodeSync, ReportedObject  # noqa: E402
from mecm.nodes.models import Node  # noqa: E402
from mecm.steering import services as steering  # noqa: E402
from tests.browser import seed_store  # noqa: E402

PASSWORD = "a walk along the quay"
NOW = timezone.now()
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
    "values.yaml": "replicas: 1\ncpu: 250m\nlog: {level: info}\n",
    "values.schema.json": json.dumps(
        {
            "type": "object",
            "properties": {
                "replicas": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 8,
                    "title": "Copies",
                    "description": "How many pods share the work.",
                },
                "cpu": {"type": "string", "pattern": "^[0-9]+m?$", "description": "Of each pod, such as 250m or 1."},
                "log": {
                    "type": "object",
                    "title": "Log",
                    "properties": {
                        "level": {"enum": ["debug", "info", "warning"], "description": "What is written down."},
                        "format": {"type": "string", "default": "json"},
                    },
                },
                "hosts": {
                    "type": "array",
                    "items": {"type": "string"},
                    "maxItems": 3,
                    "description": "Names it answers to.",
                },
                "admin": {
                    "type": "object",
                    "properties": {
                        "user": {"type": "string"},
                        "password": {"type": "string", "format": "password", "minLength": 8},
                    },
                },
                "extra": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Labels of the pods.",
                },
            },
        }
    ),
    "templates/app.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n"
        "  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: x}}\n  template:\n"
        "    metadata: {labels: {app: x}}\n    spec:\n      containers:\n        - name: app\n"
        "          image: localhost/breakwater/app:1\n"
        "          resources: {requests: {cpu: {{ .Values.cpu }}, memory: 192Mi}}\n"
    ),
}
PLACES = [
    ("helsinki-quay", 60.17, 24.94), ("hamburg-port", 53.55, 9.99), ("rotterdam-maas", 51.92, 4.48),
    ("singapore-keppel", 1.27, 103.84), ("santos-1", -23.96, -46.33), ("shenzhen-yantian", 22.57, 114.27),
    ("lagos-apapa", 6.45, 3.37), ("oakland-1", 37.8, -122.27),
]  # fmt: skip
APPS = [
    ("Crane View", "Harbour Telecom", "2.0.1", "Steering of harbour cranes with a glass-to-glass delay under 40 ms.",
     "video-relay", "location-service"),
    ("Gate Reader", "City Lab", "0.9.4", "Reads number plates and container codes at the gate, and tells the terminal "
     "who arrives.", "gate-events", "video-relay"),
    ("Berth Cache", "OpenCDN", "1.9.5", "Segment cache with DASH and HLS pre-fetch for ships at berth.", "media-cache", ""),
    ("V2X Broker", "Autonomic", "4.4.2", "ETSI ITS-G5 and C-V2X message relay with geo-fenced topics.", "v2x-messages",
     "location-service"),
    ("Tide Sensor Hub", "Northwind Edge", "1.2.0", "Collects water levels and wind from sensors along the quay.",
     "tide-levels", ""),
]  # fmt: skip


def chart() -> str:
    """Store a chart and return its digest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in CHART.items():
            member = tarfile.TarInfo(f"app/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return blobs.store([packed.getvalue()])[0]


def descriptor(name: str, provider: str, version: str, offers: str, needs: str) -> dict[str, Any]:
    """Return a descriptor with services and rules."""
    slug = name.lower().replace(" ", "-")
    address = "10.20.0.7"
    return {
        "appDId": f"{slug}-{version}", "appName": name, "appProvider": provider, "appSoftVersion": version,
        "appDVersion": "1.0", "appClass": "container", "gracefulTerminationTimeout": 10,
        "appServiceProduced": [{"serName": offers, "version": version, "serCategory": {"name": "Port"}}],
        "appServiceRequired": [{"serName": needs}] if needs else [],
        "appServiceOptional": [{"serName": "bandwidth-management", "version": "2.1"}],
        "appTrafficRule": [{
            "trafficRuleId": f"{slug}-uplink", "filterType": "FLOW", "priority": 10, "action": "FORWARD_DECAPSULATED",
            "trafficFilter": [{"dstAddress": [f"{address}/32"], "dstPort": ["8080"], "protocol": ["TCP"]}],
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": address}],
        }],
        "appDNSRule": [{
            "dnsRuleId": f"{slug}-name", "domainName": f"{slug}.edge.example", "ipAddressType": "IP_V4",
            "ipAddress": address, "ttl": 300,
        }],
        "compute": {"architecture": "amd64"},
    }  # fmt: skip


def people() -> tuple[Organisation, User]:
    """Make two organisations, an administrator of both, a viewer, and somebody who has nothing to see here."""
    founder = User.objects.create_user(username="harbour-admin", password=PASSWORD)
    organisation = accounts.found_organisation(slug="harbour", name="Harbour Telecom", actor=Actor(founder))
    other = accounts.found_organisation(slug="northwind", name="Northwind Edge", actor=SYSTEM)
    Membership.objects.create(user=founder, organisation=other, role="operator")
    viewer = User.objects.create_user(username="vera", password=PASSWORD)
    Membership.objects.create(user=viewer, organisation=organisation, role="viewer")
    return organisation, founder


def packages(organisation: Organisation, owner: User) -> dict[str, Package]:
    """Make releases, and one package in each other state."""
    digest = chart()

    def make(name: str, provider: str, version: str, state: str, **facts: Any) -> Package:
        about = descriptor(name, provider, version, facts.pop("offers", "tide-levels"), facts.pop("needs", ""))
        released = state in ("published", "yanked")
        defaults = {
            "filename": f"{name.lower().replace(' ', '-')}-{version}.csar", "size": 41_300_000 + 700_000 * len(name),
            "sha256": f"{name}{version}".encode().hex().rjust(64, "a")[-64:], "format": "edgegallery",
            "app_d_id": about["appDId"], "descriptor": about, "chart_sha256": digest,
            "compute": {"cpu_millis": 250, "memory_bytes": 192 * 2**20, "storage_bytes": 0},
            "images": [{"name": f"localhost/breakwater/app:{version}", "sha256": "5e" * 32, "size": 39_800_000}],
            "signature": {"state": "valid", "signer": f"CN={provider}", "self_signed": True, "algorithm": "ECDSA with SHA-256",
                          "listed": 7},
            "checked_at": NOW, "published_at": NOW if released else None,
        }  # fmt: skip
        return Package.objects.create(
            organisation=organisation, uploaded_by=owner, name=name, provider=provider, version=version, state=state,
            **{**defaults, **facts},
        )  # fmt: skip

    made = {
        name: make(name, provider, version, "published", description=text, offers=offers, needs=needs)
        for name, provider, version, text, offers, needs in APPS
    }
    made["older"] = make("Crane View", "Harbour Telecom", "1.8.0", "yanked", state_reason="Loses frames under load")
    made["rejected"] = make(
        "Quay Counter", "City Lab", "0.1", "rejected",
        signature={"state": "invalid", "problem": "the signature does not fit to the content and the signer's key"},
        findings=[
            {"level": "error", "code": "manifest-hash-mismatch", "place": "Artifacts/Deployment/Charts/counter.tgz",
             "message": "The SHA-256 of this file is not what the manifest says",
             "remedy": "Write the manifest anew after the last change"},
            {"level": "warning", "code": "image-descriptor-missing", "place": "Image/SwImageDesc.json",
             "message": "The package names images but carries no SwImageDesc.json", "remedy": "Add the file"},
            {"level": "info", "code": "no-schema", "place": "counter.tgz", "message": "The chart has no values schema",
             "remedy": "Add values.schema.json, so that wrong values are found before they are deployed"},
        ],
    )  # fmt: skip
    made["checked"] = make(
        "Mooring Watch", "City Lab", "1.0", "checked", signature={"state": "absent"},
        description="Warns when the tension of a mooring line is too high.",
        findings=[{"level": "warning", "code": "signature-missing", "place": "mooring.mf", "remedy": "Sign the manifest",
                   "message": "The package is not signed, so anybody could have made it"}],
    )  # fmt: skip
    return made


def catalogue(organisation: Organisation, owner: User, made: dict[str, Package]) -> dict[str, Any]:
    """Put the releases and what partners offer into the catalogue; add what people say, follow and are told."""
    origin = "5f" * 32
    kinds = ["Video analytics", "Connected vehicles", "Data and caching", "Network functions", "Industry"]
    offered = [
        ("TensorServe Edge", "OpenInfer", "4.5.6", "Model server with autoscaling, gRPC and REST endpoints."),
        ("Live Event Mixer", "StageCast", "1.3.5", "Multi-camera production switching at the venue edge."),
        ("Factory Twin", "Northwind Edge", "4.3.1", "Keeps a twin of each machine, a few milliseconds behind it."),
        ("Quay Signal", "UrbanFlow", "4.7.2", "Green waves for terminal trucks from counted arrivals."),
        ("Broker Bridge", "Eclipse Works", "3.2.1", "Carries MQTT topics between two edges and keeps their order."),
    ]
    changes = [
        {"kind": "security", "text": "Streams of another tenant can no longer be named in a subscription."},
        {"kind": "added", "text": "A relay for low light, with its own bit rate."},
        {"kind": "fixed", "text": "The delay no longer grows over a day."},
    ]
    index.rebuild()
    index.put(
        Entry(
            key=f"remote:{origin}:{number}-{v}", app_key=f"{origin}/them/{provider}/{name}", name=name, provider=provider,
            version=v, published_at=NOW - timedelta(days=9 * number + 3), state="published", origin=origin,
            origin_name="Pier Seven", description=text, category=kinds[number], licences=("Apache-2.0",),
            architectures=("x86-64", "ARM64")[: 1 + number % 2], services=("location-service", "rnis")[: 1 + number % 2],
            certification=("gold", "", "basic", "", "gold")[number], signature=("trusted", "unknown")[number % 2],
            size=41_000_000, facts={"compute": {"cpu_millis": 2000, "memory_bytes": 2**31}, "changes": changes},
        )
        for number, (name, provider, version, text) in enumerate(offered)
        for v in ("1.0.0", version)
    )  # fmt: skip
    for number, app in enumerate(App.objects.order_by("name")):
        app.downloads, app.deployments, app.rating_sum, app.rating_count = (
            137 * number**2,
            3 * number,
            4 * number,
            number,
        )
        app.save()
    index.touch(App.objects.values_list("pk", flat=True))
    crane, other = App.objects.get(name="Crane View"), Organisation.objects.get(slug="northwind")
    Review.objects.create(
        app=crane, organisation=other, rating=4, version="2.0.1", title="Steady, also at night", author=owner,
        text="Eight cranes for three months.\nThe delay stays under 35 ms; the first start takes a while.",
        answer="Thank you. Version 2.1 starts in half the time.", answered_at=NOW,
    )  # fmt: skip
    App.objects.filter(pk=crane.pk).update(rating_sum=4, rating_count=1)
    actor = Actor(owner)
    notices.follow(actor, app=crane)
    notices.follow(actor, provider="OpenCDN")
    notices.favour(actor, crane)
    for number, (event, text) in enumerate(notices.EVENTS.items()):
        Notice.objects.create(
            user=owner, kind=event, text=text.format(name="Crane View", version="2.0.1"), about=f"seed:{number}",
            url=f"/packages/{made['Crane View'].pk}", read_at=NOW if number < 3 else None,
            created_at=NOW - timedelta(hours=20 - 3 * number),
        )  # fmt: skip
    hook, _ = webhooks.create(
        organisation, actor=actor, name="Chat of the night shift", url="https://hooks.example/in", everything=True,
        events=["release", "security", "recall"],
    )  # fmt: skip
    sent = [
        ("delivered", 204, ""),
        ("failed", 500, "Given up after 8 attempts: Answered 500"),
        ("waiting", 503, "Answered 503; tried again in 5 min"),
    ]
    for number, (state, status, note) in enumerate(sent):
        Delivery.objects.create(
            webhook=hook, event="release", state=state, status=status, note=note, attempts=1 + 3 * number, milliseconds=48,
            body=json.dumps({"event": "release", "release": {"name": "Crane View", "version": "2.0.1"}}),
        )  # fmt: skip
    return {
        "app": f"/catalogue/{crane.pk}", "partner-app": f"/catalogue/{App.objects.get(name='Factory Twin').pk}",
        "reviews": f"/packages/{made['Crane View'].pk}/reviews", "notices": "/notices", "webhooks": "/webhooks",
        "webhook": f"/webhooks/{hook.pk}", "found": "/?q=krane&category=none", "nothing": "/?q=zeppelin",
    }  # fmt: skip


def nodes(organisation: Organisation) -> dict[str, Node]:
    """Make nodes in every state, on several continents."""
    made = {}
    for number, (name, latitude, longitude) in enumerate(PLACES):
        made[name] = Node.objects.create(
            organisation=organisation, name=name, latitude=latitude, longitude=longitude,
            engine="memory" if number == 5 else "docker", link="agent", cpu_millis=8000, memory_bytes=16 * 2**30,
            storage_bytes=200 * 2**30, labels={"site": name.split("-")[0], "tier": "edge"}, simulated=number == 5,
            facts={"architecture": "amd64"}, engine_version="Docker 28.2.2", agent_version="0.1.0",
            enrolled_at=None if number == 4 else NOW,
            last_seen_at={2: NOW - timedelta(hours=2), 4: None, 6: None}.get(number, NOW),
        )  # fmt: skip
    made["cluster"] = Node.objects.create(
        organisation=organisation, name="antwerp-cluster", engine="kubernetes", link="direct"
    )
    return made


def running(
    organisation: Organisation, owner: User, made: dict[str, Package], where: dict[str, Node]
) -> dict[str, Any]:
    """Deploy, and let the node report: one ready, one failed, one on its way."""
    actor, node = Actor(owner), where["hamburg-port"]

    def wish(name: str, package: Package, node: Node = node, **values: Any) -> Any:
        return deployments.request(
            actor=actor, organisation=organisation, node=node, package=package, name=name, values=values
        )

    ready = wish("crane-view", made["Crane View"], replicas=1)
    deployments.observe(ready.pk, 1, {"state": "ready"})
    ready = deployments.upgrade(ready, actor=actor, values={"replicas": 2, "log": {"level": "debug"}})
    workload = {"kind": "Deployment", "name": "crane-view", "state": "ready", "wanted": 2, "ready": 2, "restarts": 0}
    endpoint = {"service": "crane-view", "port_name": "http", "protocol": "TCP", "cluster_host": "crane-view",
                "cluster_port": 8080, "address": "127.0.0.1", "port": 18080}  # fmt: skip
    index = {**workload, "kind": "StatefulSet", "name": "crane-view-index", "wanted": 1, "ready": 1, "restarts": 1}
    deployments.observe(
        ready.pk, 2, {"state": "ready", "revision": 2, "workloads": [workload, index], "endpoints": [endpoint]}
    )
    failed = wish("gate-reader", made["Gate Reader"])
    why = {"reason": "ImagePullBackOff", "message": "The image localhost/breakwater/app:0.9.4 is not on the node"}
    stuck = {**workload, **why, "name": "gate-reader", "state": "failed", "ready": 0}
    deployments.observe(failed.pk, 1, {"state": "failed", **why, "workloads": [stuck]})
    waiting = wish("berth-cache", made["Berth Cache"], where["rotterdam-maas"])
    _reported(node, ready, made["Crane View"].descriptor)
    return {"ready": ready, "failed": failed, "waiting": waiting}


def _reported(node: Node, deployment: Any, about: dict[str, Any]) -> None:
    """Let the node's MEP, events and logs be as of an application that runs."""
    NodeSync.objects.filter(node=node).update(acked_rev=1)
    app = str(deployment.app_instance_id)
    state = {
        "services": [
            {"serName": "video-relay", "state": "ACTIVE", "version": "2.0.1", "serCategory": {"name": "Port"},
             "transportInfo": {"endpoint": {"uris": ["http://crane-view:8080/v1"]}}, "scopeOfLocality": "MEC_HOST"},
            {"serName": "location-service", "state": "SUSPENDED", "version": "2.1", "serCategory": {"name": "Location"}},
        ],
        "apps": [{"appName": "Crane View", "appProvider": "Harbour Telecom", "state": "READY", "appSoftVersion": "2.0.1",
                  "namespace": deployment.namespace, "appInstanceId": app}],
        "dns_rules": [{**about["appDNSRule"][0], "state": "ACTIVE", "appInstanceId": app}],
        "traffic_rules": [
            {**about["appTrafficRule"][0], "state": "ACTIVE", "enforcement": "in-force", "appInstanceId": app}
        ],
        "user_plane": {"adapter": "nftables", "simulated": False},
        "subscriptions": [{"subscriptionType": "SerAvailabilityNotificationSubscription", "delivered": 4, "waiting": 0,
                           "failures": 0, "callbackReference": "http://gate-reader:8080/notify"}],
    }  # fmt: skip
    happened = [
        ("Normal", "Started", "Started container app"),
        ("Warning", "Unhealthy", "Readiness probe failed: refused"),
    ]
    events = [
        {
            "at": NOW.isoformat(),
            "type": kind,
            "reason": reason,
            "object": "Pod/crane-view-0",
            "message": text,
            "count": 1,
        }
        for kind, reason, text in happened
    ]
    told = [f"frame {number} relayed in {number % 7 + 9} ms" for number in range(40)]
    lines = [{"at": NOW.isoformat(), "pod": "crane-view-0", "container": "app", "text": text} for text in told]
    key = str(deployment.pk)
    steering.add_rule(deployment, "traffic", "calls", actor=SYSTEM, rule={
        "filterType": "FLOW", "priority": 10, "action": "DUPLICATE_DECAPSULATED",
        "trafficFilter": [{"protocol": ["UDP"], "srcAddress": ["10.45.0.0/16"], "dstPort": ["5060", "10000-20000"]}],
        "dstInterface": about["appTrafficRule"][0]["dstInterface"],
    })  # fmt: skip
    steering.add_rule(deployment, "traffic", "trackers", actor=SYSTEM, state="INACTIVE", rule={
        "filterType": "FLOW", "priority": 5, "action": "DROP", "trafficFilter": [{"dstAddress": ["198.51.100.0/24"]}],
    })  # fmt: skip
    rule = about["appTrafficRule"][0]
    held = steering.set_rule(deployment, "traffic", rule["trafficRuleId"], actor=SYSTEM, rule={**rule, "priority": 10,
                             "trafficFilter": [{"dstPort": ["8080", "5060"]}]})  # fmt: skip
    refusal = {"kind": "traffic", "id": "calls", "outcome": "refused", "reason": "no copies here"}
    fine = [{"kind": "traffic", "id": name, "outcome": "applied", "reason": ""}
            for name in ("trackers", rule["trafficRuleId"])]  # fmt: skip
    steering.observe(deployment.pk, held.generation, {"state": "refused", "rules": [refusal, *fine]})
    counters = {"rules": [[app, rule["trafficRuleId"], 48210, 61_400_000, 0]]}
    for kind, name, status in (
        ("mep", "counters", counters),
        ("mep", "state", state), ("appEvents", key, {"events": events}), ("appLog", key, {"lines": lines}),
    ):  # fmt: skip
        ReportedObject.objects.create(node=node, kind=kind, key=name, status=status)


def main() -> None:
    """Fill the centre and print the addresses."""
    organisation, owner = people()
    made, where = packages(organisation, owner), nodes(organisation)
    there = running(organisation, owner, made, where)
    told = catalogue(organisation, owner, made)
    topics = seed_store.fill(organisation, owner, made)
    Operation.objects.create(
        kind="node.probe", target=f"node:{where['cluster'].pk}", organisation_id=organisation.pk, state="failed",
        attempts=3, requested_by="harbour-admin", finished_at=NOW,
        problem={"title": "Not available", "detail": "The cluster at 192.0.2.4:6443 does not answer"},
    )  # fmt: skip
    release, ready = made["Crane View"], there["ready"]
    addresses = {
        "catalogue": "/", "packages": "/packages", "upload": "/packages/upload", "release": f"/packages/{release.pk}",
        "rejected": f"/packages/{made['rejected'].pk}", "checked": f"/packages/{made['checked'].pk}",
        "deploy": f"/packages/{release.pk}/deploy", "map": "/map", "nodes": "/nodes", "new-node": "/nodes/new",
        "node": f"/nodes/{where['hamburg-port'].pk}", "cluster": f"/nodes/{where['cluster'].pk}",
        "deployments": "/deployments", "deployment": f"/deployments/{ready.pk}",
        "failed": f"/deployments/{there['failed'].pk}", "waiting": f"/deployments/{there['waiting'].pk}",
        "upgrade": f"/deployments/{ready.pk}/upgrade", "rollback": f"/deployments/{ready.pk}/rollback/1",
        "rules": f"/deployments/{ready.pk}/rules", "new-rule": f"/deployments/{ready.pk}/new-rule/traffic",
        "node-rules": f"/nodes/{where['hamburg-port'].pk}/rules",
        "operations": "/operations", "audit": "/audit", "profile": "/profile", "sites": "/sites", "new-site": "/sites/new",
        "street": "/map/street", **told,
    }  # fmt: skip
    token, _ = accounts.issue_token(owner, name="ci", actor=Actor(owner))
    # One object for each first step of an address, for whoever walks all pages.
    objects = {
        **topics, "packages": release.pk, "nodes": where["hamburg-port"].pk, "deployments": ready.pk,
        "profile": token.pk, "catalogue": App.objects.get(name="Crane View").pk,
        "feedback": Review.objects.first().pk, "webhooks": Webhook.objects.first().pk,
        "operations": Operation.objects.first().pk,
        "rule": ready.package.descriptor["appTrafficRule"][0]["trafficRuleId"],
    }  # fmt: skip
    addresses["in-review"] = f"/packages/{objects.pop('in-review')}"
    print(json.dumps({"pages": addresses, "objects": {step: str(pk) for step, pk in objects.items()}}))


if __name__ == "__main__":
    main()
