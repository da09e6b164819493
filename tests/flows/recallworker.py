"""A worker of the centre for the story of a recall: one JSON line in, one JSON line out, long work done in between."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402

from appstore.packages import blobs  # noqa: E402
from appstore.packages.models import Package  # noqa: E402
from appstore.releases import services as releases  # noqa: E402
from appstore.releases.models import Recall  # noqa: E402
from core.accounts.access import SYSTEM  # noqa: E402
from core.accounts.models import Organisation  # noqa: E402
from core.operations import services as operations  # noqa: E402
from mecm.deployments import services as deployments  # noqa: E402
from mecm.deployments.models import Deployment  # noqa: E402
from mecm.edge import services as edge  # noqa: E402
from mecm.edge.models import NodeSync, ReportedObject  # noqa: E402
from mecm.nodes.models import Node  # noqa: E402
from mecm.recalls import services as recalls  # noqa: E402


def tenant() -> Organisation:
    return Organisation.objects.get_or_create(slug="acme", defaults={"name": "Acme"})[0]


def join(node: str) -> str:
    made = Node.objects.create(organisation=tenant(), name=node, engine="memory", link="agent")
    return edge.join_string(made, actor=SYSTEM)[0]


def linked(node: str) -> bool:
    return bool(NodeSync.objects.get(node__name=node).hub)


def release(version: str, chart: str) -> str:
    digest, size = blobs.store([bytes.fromhex(chart)])
    made = Package.objects.create(
        organisation=tenant(),
        sha256=hashlib.sha256(version.encode()).hexdigest(),
        size=size,
        state="published",
        name="probe",
        provider="Acme",
        version=version,
        chart_sha256=digest,
        published_at=timezone.now(),
        descriptor={"appName": "probe", "appProvider": "Acme", "gracefulTerminationTimeout": 1},
    )
    return str(made.pk)


def deploy(package: str, node: str, name: str) -> str:
    made = deployments.request(
        actor=SYSTEM,
        organisation=tenant(),
        node=Node.objects.get(name=node),
        package=Package.objects.get(pk=package),
        name=name,
    )
    return str(made.pk)


def look(deployment: str) -> dict[str, Any]:
    row = Deployment.objects.get(pk=deployment)
    return {"state": row.state, "reason": row.reason, "message": row.message}


def recall(package: str, reason: str) -> str:
    return str(releases.recall([Package.objects.get(pk=package)], actor=SYSTEM, reason=reason, advice="Take 2").pk)


def lift(recall: str) -> None:
    releases.lift(Recall.objects.get(pk=recall), actor=SYSTEM, reason="It was another one")


def progress(recall: str) -> dict[str, Any]:
    (report,) = recalls.reports([Recall.objects.get(pk=recall)], SYSTEM)
    places = {place.target.node.name: [str(place.standing), place.what] for place in report.places}
    return {"words": str(report.counts), "places": places}


def holds(node: str) -> dict[str, Any]:
    row = ReportedObject.objects.filter(node__name=node, kind="recalls").first()
    return dict(row.status) if row else {}


VERBS = (join, linked, release, deploy, look, recall, lift, progress, holds)


def main() -> None:
    """Answer until the input ends."""
    verbs = {verb.__name__: verb for verb in VERBS}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, Any] = {"answer": verbs[asked.pop("what")](**asked)}
            operations.run_due()
        except Exception as trouble:
            answer = {"trouble": f"{type(trouble).__name__}: {trouble}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
