"""A worker of the centre that certifies live: what `TrialLab.tell` says is done, one JSON line in, one JSON line out."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import django

django.setup()

from appstore.certification import profiles  # noqa: E402
from appstore.certification import services as certification  # noqa: E402
from appstore.packages import services as packages  # noqa: E402
from appstore.packages.models import Package  # noqa: E402
from core.accounts import services as accounts  # noqa: E402
from core.accounts.access import SYSTEM, Actor  # noqa: E402
from core.accounts.models import Organisation, User  # noqa: E402
from core.operations import services as operations  # noqa: E402
from developer.sandbox import services as sandbox  # noqa: E402
from developer.sandbox.models import TestDeployment  # noqa: E402
from mecm.deployments.models import Deployment  # noqa: E402
from mecm.edge import services as edge  # noqa: E402
from mecm.edge.models import DesiredObject, ReportedObject  # noqa: E402
from mecm.nodes.models import Node  # noqa: E402
from mecm.trials import services as trials  # noqa: E402
from mecm.trials.models import Trial  # noqa: E402
from mecm.trials.sandbox import Provider  # noqa: E402


def _organisation() -> Organisation:
    return Organisation.objects.get(slug="acme")


def _node() -> Node:
    return Node.objects.get(name="edge-1")


def prepare(engine: str) -> str:
    """Make a tenant with a certifier, and its node; return how a machine joins it."""
    tenant = accounts.found_organisation(slug="acme", name="Acme", actor=SYSTEM)
    person = accounts.create_user(username="certifier", password="not a secret 1", actor=SYSTEM)
    accounts.grant(person, tenant, "certifier", actor=SYSTEM)
    # Who registers nothing is known after ten seconds as well as after thirty.
    profiles.save(tenant, actor=SYSTEM, options={"live-registers-services": {"registered_within": 10}})
    node = Node.objects.create(organisation=tenant, name="edge-1", engine=engine, link="agent")
    return edge.join_string(node, actor=SYSTEM)[0]


def online() -> bool:
    return bool(_node().state == "online" and _node().engine_version)


def mark(on: bool) -> bool:
    return trials.mark_sandbox(_node(), on=on, actor=SYSTEM)


def package(path: str) -> str:
    """Upload and check a package; it is not published."""
    content = Path(path)
    made = packages.receive([content.read_bytes()], actor=SYSTEM, organisation=_organisation(), filename=content.name)
    operations.run_due(kinds=["package.check"])
    made.refresh_from_db()
    if made.state != "checked":
        raise AssertionError(f"{content.name} is {made.state}: {made.findings}")
    return str(made.pk)


def _opened(package_id: str) -> Any:
    person = User.objects.get(username="certifier")
    return Provider().open(
        package_id, organisation_id=_organisation().pk, actor_id=person.pk, node_id=str(_node().pk), operation="test"
    )


def certify(package_id: str) -> dict[str, Any]:
    """Certify a package by the suite of live checks, as a page or the API would, and return what came of it."""
    found = Package.objects.get(pk=package_id)
    person = Actor(User.objects.get(username="certifier"))
    run = certification.start(found, actor=person, wanted=["live"], node_id=str(_node().pk), fresh=True)
    operations.run_due(kinds=[certification.RUN])
    run.refresh_from_db()
    return {
        "state": run.state,
        "problem": run.problem,
        "environment": run.environment,
        "checks": {
            each.check_name: {
                "outcome": each.outcome,
                "findings": each.findings,
                "note": each.note + each.trace,
                "seconds": round(each.seconds, 1),
            }
            for each in run.results.order_by("position")
        },
    }


def begin_and_die(package_id: str, seconds: float) -> None:
    """Deploy on the sandbox and end in the middle of a command, as a worker that is killed."""

    def die() -> None:
        time.sleep(seconds)
        import os

        os._exit(9)

    with _opened(package_id) as lent:
        lent.deploy({})
        threading.Thread(target=die).start()
        lent.cut_link(15.0)


def expire() -> int:
    """Let the leases of all trials run out and do what a worker does about it."""
    Trial.objects.under_way().update(lease_until="2026-01-01T00:00:00Z")
    for trial in Trial.objects.under_way():
        trials.close_if_abandoned(trial)
    operations.run_due(kinds=["trial.close"])
    return Trial.objects.under_way().count()


def held() -> dict[str, Any]:
    """Return what the centre still keeps of trials."""
    return {
        "trials": Trial.objects.under_way().count(),
        "deployments": Deployment.objects.count(),
        "wishes": list(DesiredObject.objects.live().exclude(kind="sandbox").values_list("kind", flat=True)),
        "reports": list(
            ReportedObject.objects.filter(kind__in=["app", "trial", "trialReport"]).values_list("key", flat=True)
        ),
    }


def try_out(package_id: str) -> str:
    """Start a test deployment, as a developer's page or command does."""
    made = sandbox.start(
        actor=Actor(User.objects.get(username="certifier")),
        organisation=_organisation(),
        node=_node(),
        package=Package.objects.get(pk=package_id),
        minutes=5,
    )
    return str(made.pk)


def see(test_id: str) -> dict[str, Any]:
    """Do what a worker does, and what a page that somebody watches causes; return what is known then."""
    test = TestDeployment.objects.get(pk=test_id)
    sandbox.watch(test)
    operations.run_due(kinds=[sandbox.LOOK, "trial.close"])
    test = TestDeployment.objects.select_related("trial").get(pk=test_id)
    return {**test.seen, "instance": test.seen.get("state"), "state": test.state, "problem": test.problem}


def end_test(test_id: str) -> None:
    """End a test deployment."""
    sandbox.end(
        TestDeployment.objects.select_related("trial__package").get(pk=test_id),
        actor=Actor(User.objects.get(username="certifier")),
    )


VERBS = (prepare, online, mark, package, certify, begin_and_die, expire, held, try_out, see, end_test)


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
