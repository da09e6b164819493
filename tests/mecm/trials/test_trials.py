"""Trials of packages on sandboxes: who may, where, and that nothing is left of them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from appstore.certification import sandboxes
from core.accounts.access import SYSTEM
from core.audit.models import Entry
from core.errors import BreakwaterError, Conflict, Denied, Invalid, Missing, TimedOut, Unavailable
from core.operations import services as operations
from core.operations.models import Operation
from mecm.deployments import services as deployments
from mecm.deployments.models import Deployment
from mecm.edge.models import DesiredObject, NodeSync, ReportedObject
from mecm.trials import sandbox as lending
from mecm.trials import services
from mecm.trials.models import Sandbox, Trial
from mecm.trials.nodes import Agent, Direct, hand_of, in_time
from mecm.trials.sandbox import MecmSandbox, Provider
from tests.mecm.trials.conftest import Played


@pytest.fixture
def trial(certifier: Any, organisation: Any, node: Any, package: Any) -> Trial:
    return services.begin(actor=certifier, organisation=organisation, node=node, package=package)


@pytest.fixture
def sandbox(trial: Trial, certifier: Any, agent: Played) -> MecmSandbox:
    """The sandbox of the trial; each pause is the agent's turn."""
    return MecmSandbox(trial, certifier, Agent(trial, sleep=agent.look), sleep=agent.look)


# --- marks


def test_a_mark_is_told_to_the_node_and_written_down(make_node: Any, actor: Any) -> None:
    node = make_node()
    assert services.mark_sandbox(node, on=True, actor=actor)
    assert not services.mark_sandbox(node, on=True, actor=actor)
    assert DesiredObject.objects.live().filter(node=node, kind="sandbox", key="self").exists()
    assert services.mark_sandbox(node, on=False, actor=actor)
    assert not DesiredObject.objects.live().filter(node=node, kind="sandbox").exists()
    assert sorted(each.facts["on"] for each in Entry.objects.filter(action="node.sandbox")) == [False, True]


def test_only_who_may_change_nodes_marks_one(make_node: Any, certifier: Any) -> None:
    with pytest.raises(Denied):
        services.mark_sandbox(make_node(), on=True, actor=certifier)
    assert not Sandbox.objects.exists()


def test_a_mark_stays_while_a_trial_needs_it(trial: Trial, node: Any) -> None:
    with pytest.raises(Conflict, match="under way"):
        services.mark_sandbox(node, on=False, actor=SYSTEM)
    services.close(trial)
    assert services.mark_sandbox(node, on=False, actor=SYSTEM)


# --- who and where


def test_a_production_node_takes_no_trial(certifier: Any, organisation: Any, make_node: Any, package: Any) -> None:
    with pytest.raises(Missing, match="no sandbox"):
        services.begin(actor=certifier, organisation=organisation, node=make_node("prod"), package=package)


def test_a_node_of_somebody_else_is_not_there(
    certifier: Any, organisation: Any, stranger_organisation: Any, make_node: Any, package: Any
) -> None:
    theirs = make_node("theirs", organisation=stranger_organisation)
    services.mark_sandbox(theirs, on=True, actor=SYSTEM)
    with pytest.raises(Missing, match="There is no such node"):
        services.begin(actor=certifier, organisation=organisation, node=theirs, package=package)


def test_a_trial_needs_the_right_to_certify(organisation: Any, node: Any, package: Any, make_user: Any) -> None:
    from core.accounts.access import Actor

    viewer = Actor(make_user("viewer", organisation, "viewer"))
    with pytest.raises(Denied):
        services.begin(actor=viewer, organisation=organisation, node=node, package=package)


def test_only_the_operator_tries_what_others_bring(
    certifier: Any, organisation: Any, stranger_organisation: Any, node: Any, make_package: Any, settings: Any
) -> None:
    theirs = make_package(owner=stranger_organisation, state="checked")
    settings.OPERATOR = "other"
    with pytest.raises(Denied, match="operator of this store"):
        services.begin(actor=certifier, organisation=organisation, node=node, package=theirs)
    settings.OPERATOR = "acme"
    assert services.begin(actor=certifier, organisation=organisation, node=node, package=theirs)


def test_one_trial_at_a_time(trial: Trial, certifier: Any, organisation: Any, node: Any, package: Any) -> None:
    with pytest.raises(Unavailable, match="Another trial"):
        services.begin(actor=certifier, organisation=organisation, node=node, package=package)
    services.close(trial)
    assert services.begin(actor=certifier, organisation=organisation, node=node, package=package)


def test_a_node_that_is_away_takes_no_trial(certifier: Any, organisation: Any, node: Any, package: Any) -> None:
    node.last_seen_at = timezone.now() - timedelta(hours=1)
    node.save()
    with pytest.raises(Unavailable, match="offline"):
        services.begin(actor=certifier, organisation=organisation, node=node, package=package)


# --- deployments


def test_an_unpublished_package_runs_on_trial_and_nowhere_else(trial: Trial, certifier: Any, admin: Any) -> None:
    from core.accounts.access import Actor

    deployment = services.deploy(trial, {}, actor=certifier)
    assert deployment.namespace == trial.namespace
    assert deployment.namespace.startswith("trial-")
    operator = Actor(admin)
    assert list(Deployment.objects.visible_to(operator)) == []
    with pytest.raises(Conflict, match="only a published package"):
        deployments.request(
            actor=operator, organisation=trial.organisation, node=trial.node, package=trial.package, name="hello"
        )


@pytest.mark.parametrize("state", ["draft", "rejected"])
def test_what_was_never_checked_runs_nowhere(trial: Trial, certifier: Any, state: str) -> None:
    type(trial.package).objects.filter(pk=trial.package_id).update(state=state)
    with pytest.raises(Conflict, match="only a checked package"):
        services.deploy(trial, {}, actor=certifier)


def test_a_trial_deploys_into_no_tenants_namespace(trial: Trial, certifier: Any) -> None:
    with pytest.raises(Conflict, match="namespace of its own"):
        deployments.request_trial(
            actor=certifier, organisation=trial.organisation, node=trial.node, package=trial.package, name="hello",
            namespace="t-acme",
        )  # fmt: skip


# --- the sandbox


def test_one_instance_serves_all_who_ask_and_a_new_one_follows_its_end(sandbox: MecmSandbox, agent: Played) -> None:
    assert sandbox.state() == {**lending.ABSENT, "instances": 0}
    assert sandbox.deploy({})["state"] == "ready"
    assert sandbox.deploy({})["instances"] == 1
    agent.answers["goodbye"] = lambda spec: {"confirmed": True, "grace": spec["arguments"]["grace"]}
    assert sandbox.terminate()["grace"] == 5.0, "what the descriptor allows"
    assert sandbox.state()["state"] == "absent"
    agent.answers["leftovers"] = lambda spec: {"left": ["volume data"]}
    assert sandbox.leftovers() == ["volume data"]
    assert sandbox.deploy({})["instances"] == 2
    assert sandbox.deploy({"replicas": 2})["instances"] == 3


def test_what_fails_to_start_is_told_at_once(sandbox: MecmSandbox, agent: Played) -> None:
    agent.ready = False
    agent.answers["state"] = lambda spec: {"state": "failed", "reason": "ImagePullBackOff", "restarts": 0}
    began = time.monotonic()
    assert sandbox.deploy({}, 60)["reason"] == "ImagePullBackOff"
    assert time.monotonic() - began < 30, "it does not wait until the time is over"


def test_a_command_names_the_instance_and_until_when_it_is_wanted(sandbox: MecmSandbox, agent: Played) -> None:
    sandbox.deploy({})
    agent.answers["request"] = lambda spec: {"connected": True, "spec": spec}
    spec = sandbox.request(8080, "/x")["spec"]
    deployment = Deployment.objects.get()
    assert (spec["name"], spec["namespace"]) == (deployment.name, deployment.namespace)
    assert spec["appInstanceId"] == str(deployment.app_instance_id)
    assert 0 < spec["until"] - time.time() < 60
    assert spec["arguments"] == {"port": 8080, "path": "/x", "timeout": 5.0, "scheme": "http"}


def test_a_restart_is_over_when_a_container_was_started_since(sandbox: MecmSandbox, agent: Played) -> None:
    sandbox.deploy({})
    looks = iter([("ready", 0), ("progressing", 1), ("ready", 1)])
    agent.answers["kill"] = lambda spec: {"before": {"restarts": 0}, "killed": ["a"]}
    agent.answers["state"] = lambda spec: dict(zip(("state", "restarts"), next(looks), strict=True))
    assert sandbox.restart() == {"state": "ready", "restarts": 1, "killed": ["a"], "came_back": True}


def test_a_cut_counts_when_both_ends_saw_it(sandbox: MecmSandbox, agent: Played, node: Any) -> None:
    sandbox.deploy({})
    agent.answers["cut"] = lambda spec: {"was_cut": True, "after": {"state": "ready"}}
    assert sandbox.cut_link(5)["was_cut"] is False, "the node says so, but never left us"

    def cut(spec: dict[str, Any]) -> dict[str, Any]:
        NodeSync.objects.filter(node=node).update(connected_at=timezone.now())
        return {"was_cut": True, "after": {"state": "ready"}}

    agent.answers["cut"] = cut
    assert sandbox.cut_link(5)["was_cut"] is True


@pytest.mark.parametrize(
    "ask",
    [
        lambda sandbox: sandbox.deploy([1]),
        lambda sandbox: sandbox.deploy({}, "soon"),
        lambda sandbox: sandbox.deploy({}, float("nan")),
        lambda sandbox: sandbox.deploy({"global": {"mep": {}}}),
        lambda sandbox: sandbox.request("80"),
        lambda sandbox: sandbox.request(80, "no-slash"),
        lambda sandbox: sandbox.request(80, scheme="file"),
        lambda sandbox: sandbox.restart(float("inf")),
        lambda sandbox: sandbox.logs(10**9),
        lambda sandbox: sandbox.logs("all"),
    ],
)
def test_what_an_untrusted_check_asks_is_looked_at_first(sandbox: MecmSandbox, ask: Any) -> None:
    sandbox.trial.refresh_from_db()
    before = sandbox.trial.commands
    with pytest.raises(Invalid):
        ask(sandbox)
    sandbox.trial.refresh_from_db()
    assert sandbox.trial.commands == before


@pytest.mark.parametrize(
    ("app", "deadline", "seen", "confirmed"),
    [
        ({"terminationConfirmedAt": 105.0}, 110.0, False, True),
        ({"terminationConfirmedAt": 111.0}, 110.0, True, False),
        ({"terminationConfirmedAt": 105.0}, None, False, True),
        ({"terminationConfirmedAt": None}, 110.0, True, False),
        ({}, 110.0, True, True),
        ({}, 110.0, False, False),
    ],
)
def test_a_confirmation_counts_by_the_clock_of_the_mep(
    app: dict[str, Any], deadline: float | None, seen: bool, confirmed: bool
) -> None:
    assert in_time({"app": app}, deadline, seen) is confirmed


@pytest.mark.parametrize("method", ["services", "rules", "usage", "logs", "restart", "terminate"])
def test_without_an_instance_there_is_nothing_to_ask(sandbox: MecmSandbox, method: str) -> None:
    with pytest.raises(Conflict, match="deploy it first"):
        getattr(sandbox, method)()


def test_what_the_node_refuses_is_told_in_its_words(sandbox: MecmSandbox, agent: Played) -> None:
    sandbox.deploy({})
    agent.answers["usage"] = lambda spec: {"problem": "this node is no sandbox", "code": "denied", "retryable": False}
    with pytest.raises(Conflict, match="lab-1: this node is no sandbox"):
        sandbox.usage()


def test_an_agent_that_knows_no_trials_is_told_apart(trial: Trial, certifier: Any, node: Any) -> None:
    deployment = services.deploy(trial, {}, actor=certifier)
    number = services.command(trial, "state", deployment, within=1)
    ReportedObject.objects.create(
        node=node, kind="trial", key=str(trial.pk), status={"state": "failed", "reason": "Unsupported"}
    )
    with pytest.raises(Conflict, match="too old"):
        services.answer(trial, number)


def test_a_node_that_says_nothing_is_not_waited_for_longer_than_asked(trial: Trial, certifier: Any) -> None:
    deployment = services.deploy(trial, {}, actor=certifier)
    hours = iter(range(100))
    silent = Agent(trial, clock=lambda: next(hours) * 3600.0, sleep=lambda seconds: None)
    with pytest.raises(TimedOut, match="did not answer"):
        silent.do(deployment, "state", within=10)


def test_a_sandbox_says_what_is_real(sandbox: MecmSandbox, node: Any) -> None:
    plane = {"adapter": "memory", "simulated": True}
    ReportedObject.objects.create(node=node, kind="mep", key="state", status={"user_plane": plane})
    told = sandbox.about()
    assert (told["node"], told["engine"], told["simulated"], told["user_plane"]) == ("lab-1", "docker", False, plane)
    assert (told["engine_version"], told["mep_version"], told["link"], told["mep"]) == (
        "Docker Engine 27", "1.2", "agent", True,
    )  # fmt: skip
    type(node).objects.update(simulated=True)
    assert sandbox.about()["simulated"] is True


# --- the end


def left() -> dict[str, Any]:
    wishes = DesiredObject.objects.live().exclude(kind="sandbox").values_list("kind", flat=True)
    return {
        "trials": Trial.objects.under_way().count(),
        "deployments": Deployment.objects.count(),
        "wishes": list(wishes),
        "reports": list(ReportedObject.objects.filter(kind__in=["app", "trialReport"]).values_list("kind", flat=True)),
    }


NOTHING: dict[str, Any] = {"trials": 0, "deployments": 0, "wishes": [], "reports": []}


def test_nothing_is_left_of_a_trial(sandbox: MecmSandbox, agent: Played, trial: Trial, package: Any) -> None:
    sandbox.deploy({})
    sandbox.state()
    assert not services.close(trial)
    agent.look()
    assert services.close(trial)
    assert left() == NOTHING
    package.delete()  # nothing holds it any more


def test_a_trial_that_is_over_takes_nothing_more(trial: Trial, certifier: Any, agent: Played) -> None:
    deployment = services.deploy(trial, {}, actor=certifier)
    services.close(trial)
    with pytest.raises(Conflict, match="over"):
        services.deploy(trial, {}, actor=certifier)
    with pytest.raises(Conflict, match="over"):
        services.command(trial, "kill", deployment, within=5)


def test_a_worker_clears_away_what_a_killed_one_left(sandbox: MecmSandbox, agent: Played, trial: Trial) -> None:
    sandbox.deploy({})
    waiting = Operation.objects.get(kind="trial.close")
    assert waiting.run_after > timezone.now() + timedelta(minutes=5)
    Trial.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        Operation.objects.filter(kind="trial.close").update(run_after=timezone.now())
        agent.look()
        operations.run_due(kinds=["trial.close"])
    assert left() == NOTHING
    assert Operation.objects.filter(kind="trial.close").count() <= 1


def test_a_trial_in_use_is_left_alone_by_the_worker(sandbox: MecmSandbox, trial: Trial) -> None:
    sandbox.deploy({})
    Operation.objects.filter(kind="trial.close").update(run_after=timezone.now())
    operations.run_due(kinds=["trial.close"])
    trial.refresh_from_db()
    assert (trial.closing, trial.ended_at) == (False, None)
    assert Operation.objects.get(kind="trial.close", state="pending").run_after > timezone.now()


def test_a_command_renews_the_lease(sandbox: MecmSandbox, trial: Trial) -> None:
    sandbox.deploy({})
    Trial.objects.update(lease_until=timezone.now() + timedelta(seconds=1))
    sandbox.state()
    trial.refresh_from_db()
    assert trial.lease_until > timezone.now() + timedelta(minutes=5)


def test_a_node_that_is_away_keeps_the_trial_open_until_it_is_back(
    sandbox: MecmSandbox, agent: Played, trial: Trial
) -> None:
    sandbox.deploy({})
    services.hurry(trial)
    for _ in range(3):
        assert not services.close_if_abandoned(trial)
    assert Trial.objects.under_way().count() == 1
    agent.look()
    assert services.close_if_abandoned(trial)


# --- lending


def test_the_provider_is_found_by_the_store_and_lends_its_organisations_nodes_only(
    organisation: Any, stranger_organisation: Any, node: Any, make_node: Any
) -> None:
    make_node("production")
    assert sandboxes.registry.get("mecm") is Provider
    listed = sandboxes.nodes(organisation.pk)
    assert [(each["name"], each["engine"], each["simulated"]) for each in listed] == [("lab-1", "docker", False)]
    assert sandboxes.nodes(stranger_organisation.pk) == []


def test_a_lent_sandbox_is_given_back_whatever_happens(
    organisation: Any, certifier: Any, node: Any, package: Any
) -> None:
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        Provider().open(
            package.pk, organisation_id=organisation.pk, actor_id=certifier.user.pk, node_id=str(node.pk), operation=""
        ),
    ):
        raise RuntimeError("in the middle")
    assert left() == NOTHING


def test_the_next_attempt_of_the_same_work_does_not_wait_for_the_lease_of_the_lost_one(
    organisation: Any, certifier: Any, node: Any, package: Any
) -> None:
    asked = {"organisation_id": organisation.pk, "actor_id": certifier.user.pk, "node_id": str(node.pk)}
    services.begin(actor=certifier, organisation=organisation, node=node, package=package, operation="run-1")
    with pytest.raises(Unavailable), Provider().open(package.pk, **asked, operation="run-2"):
        pass
    with Provider().open(package.pk, **asked, operation="run-1") as lent:
        assert lent.about()["node"] == "lab-1"
    assert left() == NOTHING


@pytest.mark.parametrize("wrong", [{"node_id": "nonsense"}, {"package_id": "7"}, {"actor_id": 10**6}])
def test_what_is_not_there_is_not_lent(
    organisation: Any, certifier: Any, node: Any, package: Any, wrong: dict[str, Any]
) -> None:
    asked = {"organisation_id": organisation.pk, "actor_id": certifier.user.pk, "node_id": node.pk, "operation": ""}
    asked |= wrong
    with pytest.raises(Missing), Provider().open(asked.pop("package_id", package.pk), **asked):
        pass
    assert not Trial.objects.exists()


# --- clusters that the centre drives


def test_a_direct_node_is_asked_in_this_process_and_has_no_link(
    certifier: Any, organisation: Any, make_node: Any, package: Any
) -> None:
    direct = make_node("cluster", link="direct")
    services.mark_sandbox(direct, on=True, actor=SYSTEM)
    assert not DesiredObject.objects.exists(), "nobody listens to wishes there"
    trial = services.begin(actor=certifier, organisation=organisation, node=direct, package=package)

    def work(_: float = 0.0) -> None:
        Operation.objects.filter(state="pending").exclude(kind="trial.close").update(run_after=timezone.now())
        operations.run_due(kinds=["deployment.apply", "deployment.observe"])

    sandbox = MecmSandbox(trial, certifier, sleep=work)
    assert isinstance(hand_of(trial), Direct)
    assert sandbox.deploy({}, 30)["state"] == "ready"
    assert sandbox.about()["simulated"] is True
    assert sandbox.about()["mep"] is False
    for method, words in (("usage", "runs nothing"), ("services", "No MEP was set"), ("terminate", "No MEP was set")):
        with pytest.raises(BreakwaterError, match=words):
            getattr(sandbox, method)()
    with pytest.raises(Conflict, match="no link"):
        sandbox.cut_link(5)
    assert not services.close(trial)
    work()
    assert services.close(trial)
    assert left()["deployments"] == 0
