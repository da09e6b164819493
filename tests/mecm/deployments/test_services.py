"""Wishing: each change is one transaction, one generation, one revision, one entry, and one message to the node."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from appstore.packages import life
from core.accounts.access import Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, Stale
from core.operations.models import Operation
from mecm.deployments import services
from mecm.deployments.models import Deployment
from mecm.edge.models import DesiredObject
from tests.mecm.deployments.conftest import chart

pytestmark = pytest.mark.django_db

READY = {
    "state": "ready",
    "workloads": [{"kind": "Deployment", "name": "hello", "state": "ready", "wanted": 1, "ready": 1}],
}


def wish(deployment: Deployment) -> DesiredObject:
    return DesiredObject.objects.get(node=deployment.node_id, kind="app", key=str(deployment.pk))


def report(deployment: Deployment, generation: int, **status: Any) -> Deployment:
    services.observe(deployment.pk, generation, status, node_id=deployment.node_id)
    deployment.refresh_from_db()
    return deployment


def test_a_request_becomes_a_desired_object_of_the_node(deploy: Any, package: Any) -> None:
    deployment = deploy(values={"message": "ahoy"})
    wanted = wish(deployment)
    assert (deployment.generation, deployment.state, deployment.namespace) == (1, "pending", "t-acme")
    assert (wanted.generation, wanted.deleted) == (1, False)
    assert wanted.spec["values"] == {"message": "ahoy"}
    assert wanted.spec["chart"]["sha256"] == package.chart_sha256
    assert wanted.spec["chart"]["size"] > 0
    assert wanted.spec["appInstanceId"] == str(deployment.app_instance_id)
    assert [entry.action for entry in Entry.objects.filter(object_id=str(deployment.pk))] == ["deployment.install"]
    assert not Operation.objects.filter(kind="deployment.apply").exists()


def test_a_request_for_a_direct_node_becomes_an_operation(deploy: Any, make_node: Any) -> None:
    deployment = deploy(node=make_node("cluster", link="direct"))
    operation = Operation.objects.get(kind="deployment.apply")
    assert (operation.target, operation.payload) == (f"deployment:{deployment.pk}", {"deployment": str(deployment.pk)})
    assert not DesiredObject.objects.exists()


def test_what_the_chart_asks_for_is_held_on_the_node(deploy: Any) -> None:
    deployment = deploy(values={"replicas": 3})
    assert (deployment.cpu_millis, deployment.memory_bytes) == (1500, 3 * 256 * 1024**2)


def test_what_does_not_fit_is_refused_with_every_reason(deploy: Any, make_node: Any) -> None:
    small = make_node("small", cpu_millis=1000)
    deploy(node=small)
    with pytest.raises(Conflict) as refused:
        deploy(node=small, values={"replicas": 4})
    assert [reason["code"] for reason in refused.value.context["reasons"]] == ["name-taken", "cpu"]
    assert "does not fit: needs 2 CPU, 0.5 free" in refused.value.detail
    assert Deployment.objects.count() == 1


def test_a_descriptor_speaks_where_the_chart_is_silent(deploy: Any, make_package: Any) -> None:
    silent = make_package("3.0.0", packed=chart(templates__deployment_yaml=""), compute={"cpu_millis": 700})
    assert deploy(package=silent).cpu_millis == 700


def test_values_that_break_the_schema_are_refused_at_once(deploy: Any) -> None:
    with pytest.raises(Invalid, match="replicas"):
        deploy(values={"replicas": "many"})
    assert not Deployment.objects.exists()


def test_the_identity_of_an_application_cannot_be_given_by_hand(deploy: Any) -> None:
    with pytest.raises(Invalid, match=r"global\.mep"):
        deploy(values={"global": {"mep": {"clientId": "mine"}}})


@pytest.mark.parametrize("name", ["", "Hello", "a b", "-a", "a-", "a/b", "ä", "x" * 54, "a\n"])
def test_a_name_must_suit_helm(deploy: Any, name: str) -> None:
    with pytest.raises(Invalid):
        deploy(name=name)


@pytest.mark.parametrize("state", ["draft", "checked", "rejected", "yanked", "quarantined", "recalled"])
def test_only_published_packages_are_deployed(deploy: Any, make_package: Any, state: str) -> None:
    with pytest.raises(Conflict, match=state):
        deploy(package=make_package("9.0.0", state=state))


def test_a_viewer_deploys_nothing(deploy: Any, make_user: Any, organisation: Any) -> None:
    with pytest.raises(Denied):
        deploy(actor=Actor(make_user("vic", organisation, "viewer")))


def test_somebody_elses_node_is_not_there(deploy: Any, stranger: Any, stranger_organisation: Any) -> None:
    with pytest.raises(Missing):
        deploy(actor=Actor(stranger), organisation=stranger_organisation)


def test_ready_is_said_once_the_node_says_so_about_this_generation(deploy: Any) -> None:
    deployment = deploy()
    assert report(deployment, 1, state="progressing").state == "progressing"
    assert report(deployment, 1, **READY).state == "ready"
    assert deployment.workloads[0]["name"] == "hello"
    assert deployment.revisions.get().outcome == "ready"


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ProbeFailing", "OOMKilled", "CrashLoopBackOff"])
def test_what_the_node_calls_broken_is_never_shown_as_deployed(deploy: Any, reason: str) -> None:
    """Acceptance: a node whose cluster says "image missing" or "probe failing" is never shown as deployed."""
    deployment = deploy()
    for state in ("progressing", "failed"):
        shown = report(deployment, 1, state=state, reason=reason, message="no such image")
        assert (shown.state, shown.reason) == (state, reason)
    assert report(deployment, 1, **READY).state == "ready"
    assert report(deployment, 1, state="progressing", reason=reason).state == "progressing"


def test_the_database_itself_refuses_a_ready_that_was_not_observed(deploy: Any) -> None:
    deployment = deploy()
    with pytest.raises(IntegrityError), transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(state="ready")


def test_a_node_speaks_only_about_what_is_on_it(deploy: Any, make_node: Any) -> None:
    deployment = deploy()
    assert not services.observe(deployment.pk, 1, READY, node_id=make_node("liar").pk)
    deployment.refresh_from_db()
    assert deployment.state == "pending"


def test_a_report_that_came_late_changes_nothing(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    services.upgrade(deployment, actor=actor, values={"message": "two"})
    assert report(deployment, 1, **READY).state == "pending"
    assert report(deployment, 2, **READY).state == "ready"
    assert not services.observe(deployment.pk, 1, {"state": "failed"})


def test_a_wish_that_changes_while_a_report_is_read_wins(deploy: Any, actor: Any) -> None:
    deployment = deploy()

    class Overtaken(dict[str, Any]):
        """A report during whose reading somebody upgrades."""

        def get(self, name: str, default: Any = None) -> Any:
            services.upgrade(deployment, actor=actor, values={"message": "two"})
            return super().get(name, default)

    assert not services.observe(deployment.pk, 1, Overtaken(READY))
    deployment.refresh_from_db()
    assert (deployment.generation, deployment.state, deployment.observed_generation) == (2, "pending", 0)


def test_what_the_centres_own_machine_cannot_do_does_not_bind_a_node(make_package: Any) -> None:
    from core.findings import Finding, Level
    from engines.contract import Compute, Plan
    from mecm.deployments.requirements import _summary

    found = [Finding(Level.ERROR, code, "Deployment/web", "no") for code in ("service-port-mapping", "host-path")]
    summary = _summary(Plan((), tuple(found), Compute()))
    assert (len(summary.refused), len(summary.remarks)) == (1, 1)


def test_an_upgrade_is_a_new_generation(deploy: Any, make_package: Any, actor: Any) -> None:
    deployment = report(deploy(), 1, **READY)
    second = make_package("2.0.0")
    upgraded = services.upgrade(deployment, actor=actor, package=second, values={"replicas": 2})
    assert (upgraded.generation, upgraded.state, upgraded.package, upgraded.cpu_millis) == (2, "pending", second, 1000)
    assert (wish(upgraded).generation, wish(upgraded).spec["appSoftVersion"]) == (2, "2.0.0")
    assert [revision.action for revision in upgraded.revisions.all()] == ["upgrade", "install"]


def test_the_same_wish_again_is_no_new_generation(deploy: Any, actor: Any, package: Any) -> None:
    deployment = deploy(values={"replicas": 2})
    assert services.upgrade(deployment, actor=actor, package=package, values={"replicas": 2}).generation == 1


def test_the_same_wish_after_a_failure_is_tried_again(deploy: Any, actor: Any) -> None:
    deployment = report(deploy(), 1, state="failed")
    assert services.upgrade(deployment, actor=actor, values={}).generation == 2


def test_an_upgrade_counts_its_own_place_as_free(deploy: Any, make_node: Any, actor: Any) -> None:
    deployment = deploy(node=make_node("small", cpu_millis=1000))
    assert services.upgrade(deployment, actor=actor, values={"replicas": 2}).cpu_millis == 1000
    with pytest.raises(Conflict, match=r"needs 1\.5 CPU, 1 free"):
        services.upgrade(deployment, actor=actor, values={"replicas": 3})


def test_an_upgrade_stays_with_its_application(deploy: Any, make_package: Any, actor: Any) -> None:
    deployment = deploy()
    with pytest.raises(Conflict, match="another application"):
        services.upgrade(deployment, actor=actor, package=make_package("1.0.1", name="goodbye"))


def test_an_editor_who_was_overtaken_is_told(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    services.upgrade(deployment, actor=actor, values={"message": "two"}, expected=1)
    with pytest.raises(Stale, match="generation 2"):
        services.upgrade(deployment, actor=actor, values={"message": "three"}, expected=1)


def test_a_rollback_returns_to_what_was_ready_as_a_new_generation(
    deploy: Any, make_package: Any, actor: Any, package: Any
) -> None:
    deployment = report(deploy(values={"message": "one"}), 1, **READY)
    services.upgrade(deployment, actor=actor, package=make_package("2.0.0"), values={"message": "two"})
    report(deployment, 2, state="failed")
    back = services.rollback(deployment, actor=actor)
    assert (back.generation, back.package, back.values) == (3, package, {"message": "one"})
    assert back.revisions.first().restores == 1
    assert wish(back).spec["values"] == {"message": "one"}


def test_a_rollback_passes_over_what_never_was_ready(deploy: Any, actor: Any) -> None:
    deployment = report(deploy(values={"message": "one"}), 1, **READY)
    for number in (2, 3):
        services.upgrade(deployment, actor=actor, values={"message": str(number)})
        report(deployment, number, state="failed")
    assert services.rollback(deployment, actor=actor).values == {"message": "one"}


def test_a_rollback_may_name_its_generation(deploy: Any, actor: Any) -> None:
    deployment = deploy(values={"message": "one"})
    for number in (2, 3):
        services.upgrade(deployment, actor=actor, values={"message": str(number)})
    assert services.rollback(deployment, actor=actor, to=2).values == {"message": "2"}
    with pytest.raises(Missing):
        services.rollback(deployment, actor=actor, to=4)


def test_there_must_be_something_to_go_back_to(deploy: Any, actor: Any) -> None:
    with pytest.raises(Conflict, match="no earlier generation"):
        services.rollback(report(deploy(), 1, **READY), actor=actor)


@pytest.mark.parametrize("state", ["quarantined", "recalled"])
def test_a_rollback_does_not_bring_back_what_nobody_may_run(
    deploy: Any, make_package: Any, actor: Any, package: Any, state: str
) -> None:
    deployment = report(deploy(), 1, **READY)
    services.upgrade(deployment, actor=actor, package=make_package("2.0.0"))
    type(package).objects.filter(pk=package.pk).update(state=state)
    with pytest.raises(Conflict, match=state):
        services.rollback(deployment, actor=actor)


def test_who_ran_a_yanked_package_may_go_back_to_it_and_nobody_begins_with_it(
    deploy: Any, make_package: Any, actor: Any, package: Any
) -> None:
    deployment = report(deploy(), 1, **READY)
    services.upgrade(deployment, actor=actor, package=make_package("2.0.0"))
    life.yank(package, actor=actor, reason="It loses frames")
    assert services.rollback(deployment, actor=actor).package == package
    with pytest.raises(Conflict, match="It loses frames"):
        deploy(name="another", package=type(package).objects.get(pk=package.pk))


def test_a_release_that_is_for_its_own_organisation_is_deployed_by_nobody_else(
    make_package: Any, make_node: Any, stranger: Any, stranger_organisation: Any
) -> None:
    hidden = make_package("3.0.0", visibility="organisation")
    theirs = make_node("theirs", organisation=stranger_organisation)
    with pytest.raises(Conflict, match="own organisation"):
        services.request(
            actor=Actor(stranger), organisation=stranger_organisation, node=theirs, package=hidden, name="x"
        )


def test_a_removal_is_over_when_the_node_says_gone(deploy: Any, actor: Any) -> None:
    deployment = report(deploy(), 1, **READY)
    removing = services.remove(deployment, actor=actor)
    assert (removing.state, removing.generation) == ("removing", 2)
    assert (wish(removing).deleted, wish(removing).generation) == (True, 2)
    assert report(deployment, 2, state="progressing").state == "removing"
    gone = report(deployment, 2, state="absent")
    assert (gone.state, gone.cpu_millis, bool(gone.removed_at)) == ("removed", 0, True)
    assert gone.revisions.first().outcome == "removed"


def test_removing_twice_is_removing_once(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    services.remove(deployment, actor=actor)
    assert services.remove(deployment, actor=actor).generation == 2


def test_the_name_of_a_removed_deployment_is_free_again(deploy: Any, actor: Any) -> None:
    first = deploy()
    services.remove(first, actor=actor)
    with pytest.raises(Conflict, match="named hello"):
        deploy()
    report(first, 2, state="absent")
    assert deploy().pk != first.pk


def test_what_never_reached_a_node_is_removed_at_once(deploy: Any, make_node: Any, actor: Any) -> None:
    deployment = deploy(node=make_node("unborn", last_seen_at=None))
    assert services.remove(deployment, actor=actor).state == "removed"
    assert wish(deployment).deleted


def test_what_is_going_cannot_be_changed(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    services.remove(deployment, actor=actor)
    for change in (services.upgrade, services.rollback):
        with pytest.raises(Conflict, match="being removed"):
            change(deployment, actor=actor, **({"values": {"a": 1}} if change is services.upgrade else {}))


@pytest.mark.usefixtures("threads_db")
def test_two_upgrades_at_once_are_two_generations(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    start = threading.Barrier(2)
    problems: list[Exception] = []

    def upgrade(message: str) -> None:
        start.wait()
        try:
            services.upgrade(
                Deployment.objects.get(pk=deployment.pk), actor=Actor(actor.user), values={"message": message}
            )
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=upgrade, args=[word]) for word in ("port", "starboard")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    deployment.refresh_from_db()
    assert problems == []
    assert deployment.generation == 3
    assert {revision.generation for revision in deployment.revisions.all()} == {1, 2, 3}
    last = deployment.revisions.get(generation=3)
    assert deployment.values == last.values == wish(deployment).spec["values"]


@pytest.mark.usefixtures("threads_db")
def test_an_upgrade_of_the_package_and_one_of_the_values_at_once_both_count(
    deploy: Any, make_package: Any, actor: Any
) -> None:
    deployment = deploy()
    for number in range(2, 6):
        changes = [{"package": make_package(f"{number}.0.0")}, {"values": {"message": f"m{number}"}}]
        start = threading.Barrier(2)

        def upgrade(change: dict[str, Any], start: threading.Barrier = start) -> None:
            start.wait()
            try:
                services.upgrade(deployment, actor=Actor(actor.user), **change)
            finally:
                connection.close()

        threads = [threading.Thread(target=upgrade, args=[change]) for change in changes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        deployment.refresh_from_db()
        assert (deployment.package.version, deployment.values) == (f"{number}.0.0", {"message": f"m{number}"})


@pytest.mark.usefixtures("threads_db")
def test_two_requests_at_once_do_not_share_the_last_place(
    deploy: Any, make_node: Any, actor: Any, package: Any
) -> None:
    small = make_node("small", cpu_millis=700)
    start = threading.Barrier(2)
    ends: list[str] = []

    def request(name: str) -> None:
        start.wait()
        try:
            deploy(actor=Actor(actor.user), node=small, name=name)
            ends.append("placed")
        except Conflict:
            ends.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=request, args=[name]) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ends) == ["placed", "refused"]
