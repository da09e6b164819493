"""A process of the centre that does what `edgelab.Lab.ask` says: one JSON line in, one JSON line out."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402

from appstore.packages import blobs  # noqa: E402
from appstore.packages.models import Package  # noqa: E402
from core.accounts.access import SYSTEM  # noqa: E402
from core.accounts.models import Organisation  # noqa: E402
from mecm.deployments import services as deployments  # noqa: E402
from mecm.deployments.models import Deployment  # noqa: E402
from mecm.edge import ca, services  # noqa: E402
from mecm.edge.models import DesiredObject, NodeCert, NodeSync, ReportedObject  # noqa: E402
from mecm.nodes.models import Node  # noqa: E402
from mecm.steering import services as steering  # noqa: E402
from mecm.steering import table  # noqa: E402


def node() -> Node:
    """Return the node of the lab."""
    organisation, _ = Organisation.objects.get_or_create(slug="acme", defaults={"name": "Acme"})
    found, _ = Node.objects.get_or_create(
        organisation=organisation, name="edge-1", defaults={"engine": "memory", "link": "agent"}
    )
    return found


def join() -> str:
    return services.join_string(node(), actor=SYSTEM)[0]


def store(content: str) -> dict[str, Any]:
    sha256, size = blobs.store([bytes.fromhex(content)])
    return {"sha256": sha256, "size": size}


def put(kind: str, key: str, generation: int, spec: dict[str, Any]) -> int:
    return services.put(node(), kind, key, generation=generation, spec=spec).rev


def delete(kind: str, key: str) -> None:
    services.delete(node(), kind, key)


def reported(kind: str, key: str) -> dict[str, Any]:
    row = ReportedObject.objects.filter(node=node(), kind=kind, key=key).first()
    return {"observed_generation": row.observed_generation, "status": row.status} if row else {}


def measure(kind: str, key: str, generation: int, spec: dict[str, Any]) -> float:
    """Return the seconds from the commit of a wish to the commit of the report that the engine took it."""
    where = ReportedObject.objects.filter(node=node(), kind=kind, key=key)
    began = time.perf_counter()
    services.put(node(), kind, key, generation=generation, spec=spec)
    while time.perf_counter() - began < 20:
        if any(row.status.get("generation") == generation for row in where):
            return time.perf_counter() - began
        time.sleep(0.001)
    raise TimeoutError(f"{key} was not reported in time")


def sync() -> dict[str, Any]:
    row = NodeSync.objects.filter(node=node()).first() or NodeSync(node=node())
    names = ("epoch", "last_rev", "acked_rev", "hub", "snapshots", "mismatches", "last_seq")
    return {name: getattr(row, name) for name in names}


def tombstones() -> int:
    return DesiredObject.objects.filter(node=node(), deleted=True).count()


def new_epoch() -> int:
    return services.new_epoch()


def spoil() -> str:
    """Make our store differ from the node's without a revision, as a bug or a bad disk would; return the lost app."""
    lost = DesiredObject.objects.filter(node=node(), kind="app", deleted=False).earliest("rev")
    lost.delete()
    return lost.key


def revoke() -> int:
    return services.revoke(node(), actor=SYSTEM)


def issue(csr: str, minutes: float) -> str:
    """Sign a certificate for the node that was made hours ago and lives only a few minutes more."""
    usual, ca.SKEW = ca.SKEW, timedelta(hours=5)
    made = ca.authority().sign(ca.read_csr(csr), node_id=str(node().pk), life=timedelta(minutes=minutes))
    ca.SKEW = usual
    NodeCert.objects.create(serial=made.serial, node=node(), certificate=made.pem, not_after=made.not_after)
    return made.pem


def valid_serials() -> list[str]:
    return list(NodeCert.objects.filter(node=node(), revoked_at=None).values_list("serial", flat=True))


def deploy(
    name: str,
    chart: str,
    traffic: list[dict[str, Any]],
    version: str = "1.0.0",
    dns: list[dict[str, Any]] | None = None,
) -> str:
    """Deploy a package with these rules, or upgrade what is deployed under the name to it."""
    digest, size = blobs.store([bytes.fromhex(chart)])
    described = {"appName": name, "appProvider": "Acme", "gracefulTerminationTimeout": 1}
    described |= {"appTrafficRule": traffic, "appDNSRule": dns or []}
    package = Package.objects.create(
        organisation=node().organisation,
        sha256=hashlib.sha256(f"{name} {version}".encode()).hexdigest(),
        size=size,
        state="published",
        name=name,
        provider="Acme",
        version=version,
        chart_sha256=digest,
        published_at=timezone.now(),
        descriptor=described,
    )
    if there := Deployment.objects.filter(name=name).first():
        return str(deployments.upgrade(there, actor=SYSTEM, package=package).pk)
    made = deployments.request(actor=SYSTEM, organisation=node().organisation, node=node(), package=package, name=name)
    return str(made.pk)


def instance(deployment: str) -> str:
    """Return what a deployed application is called on its node."""
    return str(Deployment.objects.get(pk=deployment).app_instance_id)


def steer(deployment: str, deed: str, name: str, kind: str = "traffic", **wanted: Any) -> int:
    """Do to the rule `name` what an operator does; return the generation of the wish."""
    verb = {
        "set": steering.set_rule,
        "add": steering.add_rule,
        "reset": steering.reset_rule,
        "remove": steering.remove_rule,
    }[deed]
    return verb(Deployment.objects.get(pk=deployment), kind, name, actor=SYSTEM, **wanted).generation


def rules_of(deployment: str, kind: str = "traffic") -> dict[str, Any]:
    """Return what people see of each rule of a deployment."""
    found = Deployment.objects.select_related("node", "package").get(pk=deployment)
    names = ("source", "outcome", "state", "enforcement", "reason")
    lines = table.lines(table.told_by(found.node_id), [found], kind)
    return {each.rule_id: {name: str(getattr(each, name)) for name in names} for each in lines}


VERBS = (
    deploy,
    instance,
    steer,
    rules_of,
    issue,
    valid_serials,
    join,
    store,
    put,
    delete,
    reported,
    measure,
    sync,
    tombstones,
    new_epoch,
    spoil,
    revoke,
)


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
    main()
