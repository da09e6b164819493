"""What live checks make of what they see, on a sandbox whose behaviour is scripted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.certification import live
from appstore.certification.checks.live_registers_services import _same_version
from appstore.certification.contract import Kind, Need, Subject
from core.findings import Finding
from tests.appstore.certification.live_checks import live_checks, run, subject_of

PROMISE = {
    "appServiceProduced": [{"serName": "positioning", "version": "1.0"}],
    "appDNSRule": [{"dnsRuleId": "name", "domainName": "app.mec.example", "ipAddress": "203.0.113.10"}],
    "appTrafficRule": [{"trafficRuleId": "uplink"}],
}
QUICK = {
    "live-becomes-ready": {},
    "live-registers-services": {"registered_within": 0},
    "live-rules-applied": {"applied_within": 0},
    "live-serves-ports": {"answers_within": 0},
    "live-within-limits": {"requests": 16},
    "live-survives-restart": {"registered_within": 0},
    "live-survives-cut-link": {},
    "live-answers-termination": {},
    "live-leaves-nothing": {"gone_within": 0},
}


class Scripted:
    """An application without fault; a test replaces what one of the questions is answered. All values are JSON."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.present, self.instances = False, 0
        self.answers: dict[str, Any] = {
            "about": {
                "node": "lab-1", "engine": "docker", "simulated": False, "link": "agent", "mep": True,
                "user_plane": {"adapter": "nftables", "simulated": False},
            },
            "state": {
                "state": "ready", "reason": "", "message": "", "restarts": 0, "workloads": [],
                "endpoints": [{"service": "web", "cluster_port": 8080, "protocol": "TCP"}],
            },
            "services": [{"serName": "positioning", "version": "1.0.3", "state": "ACTIVE"}],
            "rules": {
                "dns": [
                    {
                        "dnsRuleId": "name", "state": "ACTIVE", "enforcement": "in-force", "asked": True,
                        "answers": ["203.0.113.10"],
                    }
                ],
                "traffic": [{"trafficRuleId": "uplink", "state": "ACTIVE", "enforcement": "in-force"}],
            },
            "usage": [
                {
                    "pod": "web-0", "container": "app", "memory_bytes": 30 << 20, "memory_limit": 96 << 20,
                    "cpu_millis": 20, "cpu_limit": 500, "oom_killed": False,
                }
            ],
            "request": {"connected": True, "status": 200, "bytes": 10, "milliseconds": 2.0},
            "restart": {"state": "ready", "restarts": 1, "killed": ["web-0/app"], "came_back": True},
            "cut_link": {
                "was_cut": True, "state": "ready", "states": ["ready"], "unanswered": 0, "answered": 9, "seconds": 6.0,
                "before": {"restarts": 0}, "after": {"state": "ready", "restarts": 0},
            },
            "terminate": {
                "known": True, "was_ready": True, "listening": True, "notified": True, "confirmed": True,
                "seconds": 0.4, "grace": 10.0,
            },
            "leftovers": [],
        }  # fmt: skip

    def deploy(self, values: Any, timeout: float = 120.0) -> Any:
        self.instances += not self.present
        self.present = True
        self.asked.append("deploy")
        return self.state()

    def state(self) -> Any:
        seen = self.answers["state"] if self.present else {"state": "absent", "endpoints": []}
        return self._json({**seen, "instances": self.instances})

    def terminate(self, timeout: float = 30.0) -> Any:
        self.present = False
        return self._answer("terminate")

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self._answer(name)

    def _answer(self, name: str) -> Any:
        self.asked.append(name)
        answer = self.answers[name]
        return self._json(answer.pop(0) if isinstance(answer, Turns) else answer)

    def _json(self, value: Any) -> Any:
        return json.loads(json.dumps(value))


class Turns(list[Any]):
    """Answers that are given one after the other."""


CHECKS = {check.name: check for check in live_checks()}


def judged(name: str, sandbox: Scripted, descriptor: Any = PROMISE, **options: Any) -> tuple[str, list[Finding]]:
    return run(CHECKS[name], sandbox, subject_of(descriptor), **{**QUICK[name], **options})  # type: ignore[arg-type]


def codes(found: list[Finding]) -> list[str]:
    return [each.code for each in found]


@pytest.mark.parametrize("name", QUICK)
def test_an_application_without_fault_passes_each_check_alone(name: str) -> None:
    assert judged(name, Scripted()) == ("passed", [])


def test_one_instance_is_shared_and_ended_last() -> None:
    sandbox = Scripted()
    for check in live_checks():
        assert run(check, sandbox, subject_of(PROMISE), **QUICK[check.name]) == ("passed", [])  # type: ignore[arg-type]
    assert (sandbox.instances, sandbox.asked.count("terminate"), sandbox.asked[-1]) == (1, 1, "leftovers")
    assert next(each.name for each in live_checks()) == "live-becomes-ready"


def test_every_check_says_what_it_needs() -> None:
    assert set(CHECKS) == set(QUICK)
    for check in CHECKS.values():
        assert (check.kind, check.needs) == (Kind.LIVE, frozenset({Need.SANDBOX}))
        assert check.title
        assert check.reason
        assert check.seconds > live.READY_WITHIN.default


@pytest.mark.parametrize("name", QUICK)
def test_on_a_simulated_runtime_nothing_is_passed(name: str) -> None:
    sandbox = Scripted()
    sandbox.answers["about"] |= {"simulated": True, "engine": "memory"}
    outcome, found = judged(name, sandbox)
    assert outcome == "skipped: lab-1 simulates its runtime (memory): nothing real could be seen"
    assert found == []
    assert sandbox.asked == ["about"]


@pytest.mark.parametrize("name", QUICK)
def test_a_package_without_a_chart_is_not_tried(name: str) -> None:
    outcome, _ = run(CHECKS[name], Scripted(), subject_of(PROMISE, chart=None))  # type: ignore[arg-type]
    assert outcome.startswith("skipped: The package has no chart")


def test_what_does_not_become_ready_fails_once_and_is_skipped_elsewhere() -> None:
    sandbox = Scripted()
    workload = {
        "kind": "Deployment",
        "name": "web",
        "state": "failed",
        "reason": "ImagePullBackOff",
        "message": "no image",
    }
    sandbox.answers["state"] |= {"state": "failed", "reason": "ImagePullBackOff", "workloads": [workload]}
    outcome, found = judged("live-becomes-ready", sandbox)
    assert (outcome, codes(found), found[0].place) == ("failed", ["not-ready"], "Deployment/web")
    assert "no image" in found[0].message
    for name in set(QUICK) - {"live-becomes-ready", "live-leaves-nothing"}:
        assert judged(name, sandbox)[0].startswith("skipped: The application does not become ready")
    assert judged("live-leaves-nothing", sandbox) == ("passed", [])


def test_restarts_before_it_was_ready_are_told() -> None:
    sandbox = Scripted()
    sandbox.answers["state"] |= {"restarts": 2}
    outcome, found = judged("live-becomes-ready", sandbox)
    assert (outcome, codes(found)) == ("warned", ["restarted-before-ready"])
    assert judged("live-becomes-ready", sandbox, restarts=2) == ("passed", [])


@pytest.mark.parametrize(
    ("registered", "outcome", "code"),
    [
        ([], "failed", "service-not-registered"),
        ([{"serName": "positioning", "version": "1.0", "state": "SUSPENDED"}], "failed", "service-not-active"),
        ([{"serName": "positioning", "version": "2.0", "state": "ACTIVE"}], "warned", "service-version-differs"),
        (
            [
                {"serName": "positioning", "version": "1.0", "state": "ACTIVE"},
                {"serName": "spy", "version": "1", "state": "ACTIVE"},
            ],
            "failed",
            "service-undeclared",
        ),
    ],
)
def test_services_are_exactly_those_that_are_declared(registered: Any, outcome: str, code: str) -> None:
    sandbox = Scripted()
    sandbox.answers["services"] = registered
    said, found = judged("live-registers-services", sandbox)
    assert (said, codes(found)) == (outcome, [code])


def test_a_service_that_comes_a_moment_later_is_in_time() -> None:
    sandbox = Scripted()
    late = sandbox.answers["services"]
    sandbox.answers["services"] = Turns([[], late])
    assert judged("live-registers-services", sandbox, registered_within=5) == ("passed", [])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.lists(st.integers(0, 20), max_size=3))
def test_a_longer_version_of_the_same_is_the_same(version: list[int], more: list[int]) -> None:
    short, long = ".".join(map(str, version)), ".".join(map(str, [*version, *more]))
    assert _same_version(short, long)
    assert _same_version(long, short)
    assert not _same_version(short, ".".join(map(str, [*version[:-1], version[-1] + 1, *more])))


@pytest.mark.parametrize(
    ("dns", "code"),
    [
        ({"answers": ["203.0.113.99"]}, "dns-rule-not-applied"),
        ({"answers": [], "dns_problem": "the node's resolver does not answer"}, "dns-rule-not-applied"),
        ({"enforcement": "pending"}, "dns-rule-not-applied"),
        ({"state": "INACTIVE"}, "dns-rule-not-applied"),
        ({"dnsRuleId": "another"}, "dns-rule-not-applied"),
    ],
)
def test_a_dns_rule_counts_when_the_resolver_answers_it(dns: dict[str, Any], code: str) -> None:
    sandbox = Scripted()
    sandbox.answers["rules"]["dns"][0] |= dns
    outcome, found = judged("live-rules-applied", sandbox)
    assert (outcome, codes(found)) == ("failed", [code])


def test_a_rule_for_one_scope_is_not_asked_for_by_a_client_outside() -> None:
    sandbox = Scripted()
    sandbox.answers["rules"]["dns"][0] |= {"answers": [], "scope": "slice-7"}
    assert judged("live-rules-applied", sandbox) == ("passed", [])


def test_a_traffic_rule_counts_when_the_user_plane_has_it() -> None:
    sandbox = Scripted()
    sandbox.answers["rules"]["traffic"][0] |= {"enforcement": "refused", "reason": "cannot DROP"}
    outcome, found = judged("live-rules-applied", sandbox)
    assert (outcome, codes(found)) == ("failed", ["traffic-rule-not-applied"])
    assert "cannot DROP" in found[0].message


def test_a_simulated_user_plane_is_told_and_can_be_refused() -> None:
    sandbox = Scripted()
    sandbox.answers["about"]["user_plane"] = {"adapter": "memory", "simulated": True}
    outcome, found = judged("live-rules-applied", sandbox)
    assert (outcome, codes(found)) == ("passed", ["user-plane-simulated"])
    assert judged("live-rules-applied", sandbox, simulated_user_plane="error")[0] == "failed"


@pytest.mark.parametrize(
    ("answer", "outcome", "told"),
    [
        ({"connected": False, "problem": "Connection refused"}, "failed", ["port-closed"]),
        ({"connected": True, "status": 503}, "warned", ["port-in-trouble"]),
        ({"connected": True, "status": 404}, "passed", []),
        ({"connected": True, "problem": "what answers speaks no HTTP"}, "passed", ["port-without-http"]),
    ],
)
def test_a_port_has_to_take_connections(answer: Any, outcome: str, told: list[str]) -> None:
    sandbox = Scripted()
    sandbox.answers["request"] = answer
    said, found = judged("live-serves-ports", sandbox)
    assert (said, codes(found)) == (outcome, told)


@pytest.mark.parametrize(
    ("usage", "outcome", "told"),
    [
        ({"oom_killed": True}, "failed", ["memory-exceeded"]),
        ({"memory_bytes": 90 << 20}, "warned", ["memory-near-limit"]),
        ({"cpu_millis": 498}, "failed", ["cpu-exhausted"]),
        ({"memory_limit": 0}, "passed", ["no-limit"]),
    ],
)
def test_limits_are_not_reached_under_light_load(usage: Any, outcome: str, told: list[str]) -> None:
    sandbox = Scripted()
    sandbox.answers["usage"][0] |= usage
    said, found = judged("live-within-limits", sandbox)
    assert (said, codes(found)) == (outcome, told)


def test_the_load_stops_at_the_first_kill() -> None:
    sandbox = Scripted()
    sandbox.answers["usage"][0]["oom_killed"] = True
    judged("live-within-limits", sandbox, requests=80)
    assert sandbox.asked.count("request") == 8


@pytest.mark.parametrize(
    ("after", "outcome", "told"),
    [
        ({"came_back": False, "state": "failed", "reason": "CrashLoopBackOff"}, "failed", ["not-back-after-restart"]),
        ({"killed": []}, "skipped: No container was running that could be killed", []),
    ],
)
def test_who_is_killed_has_to_come_back(after: Any, outcome: str, told: list[str]) -> None:
    sandbox = Scripted()
    sandbox.answers["restart"] |= after
    said, found = judged("live-survives-restart", sandbox)
    assert (said, codes(found)) == (outcome, told)


def test_who_comes_back_without_its_services_fails() -> None:
    sandbox = Scripted()
    sandbox.answers["services"] = Turns([sandbox.answers["services"], []])
    outcome, found = judged("live-survives-restart", sandbox)
    assert (outcome, codes(found)) == ("failed", ["service-lost-by-restart"])


@pytest.mark.parametrize(
    ("told", "outcome", "code"),
    [
        ({"states": ["ready", "progressing"]}, "failed", ["not-ready-while-cut-off"]),
        ({"unanswered": 3}, "failed", ["silent-while-cut-off"]),
        ({"after": {"state": "ready", "restarts": 1}}, "failed", ["restarted-by-cut"]),
        ({"state": "failed", "after": {"state": "failed", "restarts": 0}}, "failed", ["not-ready-after-cut"]),
        ({"was_cut": False}, "skipped: The link of the node could not be cut, so nothing was seen", []),
    ],
)
def test_who_needs_the_centre_is_found_by_a_cut(told: Any, outcome: str, code: list[str]) -> None:
    sandbox = Scripted()
    sandbox.answers["cut_link"] |= told
    said, found = judged("live-survives-cut-link", sandbox)
    assert (said, codes(found)) == (outcome, code)


def test_a_cluster_that_the_centre_drives_has_no_link_to_cut() -> None:
    sandbox = Scripted()
    sandbox.answers["about"]["link"] = "direct"
    assert judged("live-survives-cut-link", sandbox)[0].startswith("skipped: The centre drives this cluster itself")


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"was_ready": False, "listening": False, "notified": False, "confirmed": False}, "never-confirmed-ready"),
        ({"listening": False, "notified": False, "confirmed": False}, "termination-not-subscribed"),
        ({"notified": False, "confirmed": False}, "termination-not-delivered"),
        ({"confirmed": False}, "termination-ignored"),
    ],
)
def test_each_way_not_to_answer_a_termination_has_its_own_name(told: Any, code: str) -> None:
    sandbox = Scripted()
    sandbox.answers["terminate"] |= told
    outcome, found = judged("live-answers-termination", sandbox)
    assert (outcome, codes(found)) == ("failed", [code])


def test_an_application_that_does_not_use_the_platform_is_told_nothing() -> None:
    sandbox = Scripted()
    sandbox.answers["terminate"] |= {"was_ready": False, "listening": False, "notified": False, "confirmed": False}
    assert judged("live-answers-termination", sandbox, {})[0].startswith("skipped: The application does not use")


@pytest.mark.parametrize("name", ["live-registers-services", "live-rules-applied", "live-answers-termination"])
def test_without_a_platform_on_the_node_nothing_is_said_of_it(name: str) -> None:
    sandbox = Scripted()
    sandbox.answers["about"]["mep"] = False
    assert judged(name, sandbox)[0] == "skipped: lab-1 has no MEC platform, so nothing can be registered there"


def test_each_thing_that_is_left_is_named() -> None:
    sandbox = Scripted()
    sandbox.answers["leftovers"] = ["volume data", "DNS rule name"]
    outcome, found = judged("live-leaves-nothing", sandbox)
    assert (outcome, [each.place for each in found]) == ("failed", ["volume data", "DNS rule name"])


def test_no_live_check_needs_django(repository: Path) -> None:
    names = [path.stem for path in sorted((repository / "appstore/certification/checks").glob("live_*.py"))]
    code = "import importlib, sys\n" + "".join(
        f"importlib.import_module('appstore.certification.checks.{name}')\n" for name in names
    )
    code += "assert not [name for name in sys.modules if name.split('.')[0] in ('django', 'mecm', 'celery')]\n"
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)


def test_a_descriptor_with_other_shapes_promises_nothing() -> None:
    subject: Subject = subject_of({"appServiceProduced": "positioning", "appDNSRule": [1, None]})
    assert live.declared(subject, "appServiceProduced") == []
    assert live.declared(subject, "appDNSRule") == []
    assert not live.uses_platform(subject)
