"""A worker of the centre for the story of a rollout: one JSON line in, one JSON line out; or long work, until it dies.

`rolloutworker.py work [n]` does what is due for ever. With a number it kills itself, as signal 9 does, in the middle of
the n-th node that it begins: the wish is made, and nothing of it is committed yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402

from appstore.packages import blobs  # noqa: E402
from appstore.packages.models import Package  # noqa: E402
from core.accounts.access import SYSTEM, Actor  # noqa: E402
from core.accounts.models import Membership, Organisation, User  # noqa: E402
from core.operations import services as operations  # noqa: E402
from mecm.deployments import services as deployments  # noqa: E402
from mecm.deployments.models import Deployment, DeploymentRevision  # noqa: E402
from mecm.edge import services as edge  # noqa: E402
from mecm.edge.models import NodeSync  # noqa: E402
from mecm.nodes.models import Node  # noqa: E402
from mecm.rollouts import services as rollouts  # noqa: E402
from mecm.rollouts.models import Place, Rollout, places_of  # noqa: E402


def tenant() -> Organisation:
    return Organisation.objects.get_or_create(slug="acme", defaults={"name": "Acme"})[0]


def operator() -> Actor:
    user, _ = User.objects.get_or_create(username="operator")
    Membership.objects.get_or_create(user=user, organisation=tenant(), role="operator")
    return Actor(user)


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


def deploy(package: str, node: str, **values: Any) -> str:
    made = deployments.request(
        actor=operator(),
        organisation=tenant(),
        node=Node.objects.get(name=node),
        package=Package.objects.get(pk=package),
        name="probe",
        values=values,
    )
    return str(made.pk)


def change(deployment: str, **values: Any) -> None:
    deployments.upgrade(Deployment.objects.get(pk=deployment), actor=operator(), values=values)


def begin(package: str, **rules: Any) -> str:
    made = rollouts.create(
        actor=operator(), organisation=tenant(), package=Package.objects.get(pk=package), name="probe", **rules
    )
    return str(rollouts.start(made, actor=operator()).pk)


def tell(rollout: str, verb: str) -> None:
    getattr(rollouts, verb)(Rollout.objects.get(pk=rollout), actor=operator())


def look(rollout: str) -> dict[str, Any]:
    row = Rollout.objects.get(pk=rollout)
    places = places_of(row).values_list("node__name", "state", "reason")
    return {
        "state": row.state,
        "wave": row.wave,
        "why": row.why,
        "nodes": {name: f"{state} {reason}".strip() for name, state, reason in places},
    }


def versions() -> dict[str, list[str]]:
    rows = Deployment.objects.present().values_list("node__name", "package__version", "state")
    return {name: [version, state] for name, version, state in rows}


def upgrades() -> dict[str, int]:
    found: dict[str, int] = {}
    for name in DeploymentRevision.objects.filter(action="upgrade").values_list("deployment__node__name", flat=True):
        found[name] = found.get(name, 0) + 1
    return found


VERBS = (join, linked, release, deploy, change, begin, tell, look, versions, upgrades)


def work(dies_at: int) -> None:
    """Do what is due until somebody ends it, as a Celery worker with its sweep would."""
    if dies_at:
        real, seen = Place.save, [0]

        def save(self: Place, *args: Any, **kwargs: Any) -> None:
            seen[0] += 1
            if seen[0] == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, *args, **kwargs)

        Place.save = save  # type: ignore[method-assign]
    while True:
        operations.sweep()
        operations.run_due()
        time.sleep(0.1)


def main() -> None:
    """Answer until the input ends."""
    verbs = {verb.__name__: verb for verb in VERBS}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, Any] = {"answer": verbs[asked.pop("what")](**asked)}
        except Exception as trouble:
            answer = {"trouble": f"{type(trouble).__name__}: {trouble}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    main()
