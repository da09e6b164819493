"""What a node does for a trial, and what it refuses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engines.trials as trials
from core.errors import Unavailable
from engines.contract import LogLine, State
from mep.agent import store, trial_mep
from mep.agent.models import Applied
from mep.agent.trials import REPORT, Sandboxes, Trials
from mep.dns import wire
from mep.mp1 import services as mp1
from mep.mp1.models import App, DnsRule, Subscription, TrafficRule
from mep.mp1.states import Action
from tests.mep.agent.conftest import Edge, MoodyEngine
from tests.mep.agent.test_link import Line, hear, say
from tests.waiting import until


@trials.registry.register("moody")
class MoodyTrials(trials.Trials[MoodyEngine]):
    """Tries on the engine of these tests."""

    killed: list[str] = []

    def usage(self, name: str, namespace: str) -> list[trials.Usage]:
        return [trials.Usage("a-0", "app", 10, 20, 3, 4, 1)]

    def kill(self, name: str, namespace: str) -> list[str]:
        self.killed.append(name)
        return ["a-0/app"]

    def ask(self, name: str, namespace: str, request: trials.Request) -> dict[str, Any]:
        return {"connected": True, "status": 200, "port": request.port}

    def leftovers(self, name: str, namespace: str) -> list[str]:
        return [f"container {each.name}" for each in self.engine.held.values() if each.namespace == namespace]


class Wire:
    """A link that a trial can cut."""

    def __init__(self) -> None:
        self.connected, self.cuts = True, list[float]()

    def cut(self, seconds: float) -> None:
        self.connected = False
        self.cuts.append(seconds)


class Bench:
    """A node with one app under trial, and the steps of a trial taken one by one."""

    def __init__(self, edge: Edge) -> None:
        self.edge, self.wire = edge, Wire()
        self.trials = Trials(edge.engine, edge.reporter, self.wire)
        self.sandboxes = Sandboxes(edge.reporter)
        self.number = 0
        MoodyTrials.killed.clear()

    def mark(self) -> None:
        self.edge.wish("self", kind="sandbox", trials=True)
        self.sandboxes.step("self")

    def run_app(self) -> None:
        self.edge.wish("a", namespace="trial-1", appInstanceId="i-1")
        assert self.edge.apps.step("a")

    def command(self, verb: str, *, until: float | None = None, namespace: str = "trial-1", **arguments: Any) -> None:
        self.number += 1
        until = time.time() + 30 if until is None else until
        self.edge.wish(
            "t", self.number, kind="trial", verb=verb, name="a", namespace=namespace, appInstanceId="i-1",
            until=until, arguments=arguments,
        )  # fmt: skip

    def do(self, verb: str, **facts: Any) -> dict[str, Any]:
        """Give a command, take steps until it is answered, and return the answer."""
        self.command(verb, **facts)
        deadline = time.monotonic() + 5
        while self.trials.step("t") is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        told = self.edge.told(REPORT, "t")
        assert told is not None
        assert told["observed_generation"] == self.number
        return dict(told["status"])


@pytest.fixture
def bench(edge: Edge) -> Bench:
    made = Bench(edge)
    made.mark()
    made.run_app()
    return made


def test_a_trial_sees_state_usage_ports_and_logs(bench: Bench) -> None:
    assert bench.do("state")["state"] == "ready"
    assert bench.do("usage")["containers"][0] | {"oom_killed": True} == bench.answer()["containers"][0]
    assert bench.do("request", port=8080) == {"connected": True, "status": 200, "port": 8080}
    bench.edge.engine.lines = [LogLine(None, "a-0", "app", "hello")]
    assert bench.do("logs", lines=5) == {"lines": ["app: hello"]}
    assert bench.do("kill")["killed"] == ["a-0/app"]


def test_a_command_is_done_once_however_often_it_is_looked_at(bench: Bench) -> None:
    bench.do("kill")
    for _ in range(3):
        assert bench.trials.step("t") is None
    assert MoodyTrials.killed == ["a"]


@pytest.mark.parametrize("verb", ["kill", "cut", "goodbye", "request", "state", "leftovers"])
def test_a_node_that_is_no_sandbox_refuses_every_command(edge: Edge, verb: str) -> None:
    bench = Bench(edge)
    bench.run_app()
    assert bench.do(verb, port=8080)["problem"] == "this node is no sandbox"
    assert (MoodyTrials.killed, bench.wire.cuts) == ([], [])
    bench.mark()
    edge.unwish("self", kind="sandbox")
    bench.sandboxes.step("self")
    assert bench.do(verb, port=8080)["problem"] == "this node is no sandbox"


def test_an_application_that_people_use_cannot_be_meant(bench: Bench) -> None:
    bench.edge.wish("b", namespace="t-acme")
    bench.edge.apps.step("b")
    assert bench.do("kill", namespace="t-acme")["problem"] == "the application is none that is on trial"
    assert MoodyTrials.killed == []


def test_the_owner_of_a_node_can_forbid_trials_whatever_the_centre_says(bench: Bench, settings: Any) -> None:
    settings.TRIALS = False
    assert "forbids trials" in bench.do("kill")["problem"]
    bench.sandboxes.step("self")
    told = bench.edge.told("sandbox", "self")
    assert told is not None
    assert told["status"]["state"] == "failed"


def test_a_command_that_comes_too_late_is_not_done(bench: Bench) -> None:
    assert "too late" in bench.do("kill", until=time.time() - 300)["problem"]
    assert MoodyTrials.killed == []


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("dance", {}),
        ("request", {}),
        ("request", {"port": 70000}),
        ("request", {"port": True}),
        ("request", {"port": 80, "path": "//x\r\nHost: y"}),
        ("request", {"port": 80, "timeout": 3600}),
        ("request", {"port": 80, "scheme": "file"}),
        ("cut", {"seconds": 1e9}),
        ("cut", {"seconds": "long"}),
        ("goodbye", {"grace": -1}),
    ],
)
def test_a_command_that_makes_no_sense_is_answered_with_the_reason(bench: Bench, verb: str, arguments: Any) -> None:
    told = bench.do(verb, **arguments)
    assert told["problem"]
    assert bench.wire.cuts == []


def test_a_spec_that_is_no_command_is_answered_too(bench: Bench) -> None:
    bench.number += 1
    bench.edge.wish("t", bench.number, kind="trial", verb=7)
    assert bench.trials.step("t") is None
    assert "needs verb" in bench.answer()["problem"]


def test_trouble_of_the_runtime_is_an_answer(bench: Bench) -> None:
    bench.edge.engine.status = _raise  # type: ignore[method-assign]
    assert bench.do("state") == {"problem": "the runtime is away", "code": "unavailable", "retryable": True}


def _raise(*_: Any) -> Any:
    raise Unavailable("the runtime is away")


def test_an_agent_that_died_in_the_middle_neither_repeats_nor_claims(bench: Bench) -> None:
    bench.command("cut", seconds=60)
    assert bench.trials.step("t") is not None
    again = Trials(bench.edge.engine, bench.edge.reporter, bench.wire)
    assert again.step("t") is None
    assert "started again in the middle" in bench.answer()["problem"]
    assert bench.wire.cuts == [60]


def test_a_cut_ends_by_itself_and_tells_how_the_app_fared(bench: Bench) -> None:
    bench.command("cut", seconds=0.2, request={"port": 8080, "scheme": "tcp"})
    assert bench.trials.step("t") is not None
    bench.edge.engine.state = State.PROGRESSING
    assert bench.trials.step("t") is not None
    time.sleep(0.25)
    assert bench.trials.step("t") is not None, "the time is over, and the link is not back"
    bench.wire.connected, bench.edge.engine.state = True, State.READY
    assert bench.trials.step("t") is None
    told = bench.answer()
    assert (told["was_cut"], told["found_back"], told["after"]["state"]) == (True, True, "ready")
    assert told["states"] == ["progressing"]
    assert told["answered"] >= 1


def test_what_is_over_is_forgotten(bench: Bench) -> None:
    bench.do("state")
    bench.edge.unwish("t", kind="trial")
    assert bench.trials.step("t") is None
    assert store.wish("trial", "t") is None
    assert bench.edge.told(REPORT, "t") is None
    assert bench.edge.told("trial", "t") is None
    assert not Applied.objects.filter(kind="trial").exists()


# --- Mp1


@pytest.fixture
def instance(bench: Bench) -> str:
    """An app instance that is ready and wants to hear of its end."""
    mp1.provision(
        "i-1",
        app_name="a",
        dns_rules=[
            {"dnsRuleId": "n", "domainName": "a.mec.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.7"}
        ],
    )
    mp1.confirm_ready("i-1")
    Subscription.objects.create(
        app_id="i-1", kind=Subscription.TERMINATION, callback="http://192.0.2.1/", root="https://mep", created_at=0
    )
    return "i-1"


def pass_time(bench: Bench, seconds: float) -> None:
    """Let the goodbye that is under way have begun earlier."""
    _, look = bench.trials._ongoing["t"]
    look.__self__.began -= seconds  # type: ignore[attr-defined]


def test_a_confirmed_goodbye(bench: Bench, instance: str) -> None:
    bench.command("goodbye", grace=60)
    assert bench.trials.step("t") is not None
    assert bench.trials.step("t") is not None
    Subscription.objects.update(delivered=1)
    mp1.confirm_termination(instance, Action.TERMINATING)
    assert bench.trials.step("t") is None
    told = bench.answer()
    assert (told["listening"], told["notified"], told["confirmed"], told["grace"]) == (True, True, True, 60.0)
    assert told["seconds"] < 60


def test_a_confirmation_in_time_counts_however_late_anybody_looks(bench: Bench, instance: str) -> None:
    bench.command("goodbye", grace=60)
    assert bench.trials.step("t") is not None
    mp1.confirm_termination(instance, Action.TERMINATING)
    pass_time(bench, 100)
    assert bench.trials.step("t") is None
    told = bench.answer()
    assert told["confirmed"]
    assert told["seconds"] <= told["grace"]


def test_a_goodbye_that_is_heard_and_ignored(bench: Bench, instance: str) -> None:
    bench.command("goodbye", grace=60)
    assert bench.trials.step("t") is not None
    Subscription.objects.update(delivered=1)
    assert bench.trials.step("t") is not None
    pass_time(bench, 61)
    mp1.end_overdue_terminations(time.time() + 61)
    assert bench.trials.step("t") is None
    told = bench.answer()
    assert (told["notified"], told["confirmed"]) == (True, False)


def test_a_goodbye_that_cannot_be_delivered(bench: Bench, instance: str) -> None:
    bench.command("goodbye", grace=60)
    assert bench.trials.step("t") is not None
    Subscription.objects.update(last_error="connection refused")
    pass_time(bench, 61)
    assert bench.trials.step("t") is None
    told = bench.answer()
    assert (told["notified"], told["confirmed"], told["delivery_error"]) == (False, False, "connection refused")


def test_nobody_is_waited_for_who_does_not_listen(bench: Bench) -> None:
    mp1.provision("i-1", app_name="a")
    told = bench.do("goodbye", grace=60)
    assert (told["known"], told["was_ready"], told["listening"], told["confirmed"]) == (True, False, False, False)
    App.objects.all().delete()
    assert bench.do("goodbye", grace=60)["known"] is False


def test_what_is_left_is_searched_in_the_runtime_and_on_mp1(bench: Bench, instance: str) -> None:
    assert bench.do("leftovers")["left"] == [
        "container a", "Mp1 knows the instance", f"subscription {Subscription.objects.get().pk}", "DNS rule n",
    ]  # fmt: skip
    mp1.discard(instance)
    bench.edge.engine.held.clear()
    assert bench.do("leftovers") == {"left": []}
    assert not TrafficRule.objects.exists()


def test_only_the_instance_itself_is_looked_at(bench: Bench, instance: str, settings: Any) -> None:
    settings.DNS_BACKEND = "memory"
    mp1.provision("i-2", app_name="other", dns_rules=[])
    told = bench.do("mep")
    assert told["app"]["appInstanceId"] == instance
    assert [each["dnsRuleId"] for each in told["dns_rules"]] == ["n"]
    assert told["dns_rules"][0]["asked"] is False, "an external resolver is not ours to ask"
    assert told["subscriptions"][0]["callbackReference"] == "", "the address of a callback holds the app's secret"


# --- DNS


@pytest.fixture
def resolver(settings: Any) -> Iterator[Callable[[bytes | None], None]]:
    """A resolver that gives one answer: the records, or nothing at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        settings.DNS_BIND, settings.DNS_PORT, settings.DNS_BACKEND = ["127.0.0.1"], server.getsockname()[1], "embedded"

        def serve(records: bytes | None) -> None:
            def once() -> None:
                data, client = server.recvfrom(4096)
                if records is not None:
                    asked = wire.question(data)
                    server.sendto(wire.reply(data[:2], asked, wire.AA, records, answers=1 if records else 0), client)

            threading.Thread(target=once, daemon=True).start()

        yield serve


def test_a_rule_is_looked_up_at_the_nodes_own_resolver(
    bench: Bench, instance: str, resolver: Callable[[bytes | None], None]
) -> None:
    assert DnsRule.objects.get().state == "ACTIVE"
    resolver(wire.record(wire.A, 30, socket.inet_aton("192.0.2.7")))
    assert bench.do("mep")["dns_rules"][0]["answers"] == ["192.0.2.7"]
    resolver(b"")
    assert bench.do("mep")["dns_rules"][0]["answers"] == []


def test_a_resolver_that_is_silent_or_lies_is_told(settings: Any, resolver: Callable[[bytes | None], None]) -> None:
    resolver(None)
    assert trial_mep.resolve("a.mec.example", "IP_V4")["dns_problem"] == "the node's resolver does not answer"
    with pytest.raises(ValueError, match="no answer to our question"):
        trial_mep.addresses(b"\0\1" + bytes(10), 2, wire.A)
    assert "dns_problem" in trial_mep.resolve("ä.example", "IP_V4")


# --- the link


@pytest.fixture
def line(tmp_path: Path, settings: Any, transactional_db: None) -> Iterator[Line]:
    settings.VAR = tmp_path
    made = Line(tmp_path / "identity")
    yield made
    made.stop()


async def friendly(server: Any, hello: dict[str, Any]) -> None:
    """A centre that has nothing to wish for."""
    await say(server, "WELCOME", epoch="e1", mode="snapshot", server_rev=0)
    await say(server, "END", rev=0)
    await hear(server, "ACK")
    await server.wait_closed()


def test_a_cut_link_is_silent_for_its_time_and_then_dials_again(line: Line) -> None:
    line.start(friendly)
    until(lambda: line.link.connected, 5, what="the link to be up")
    began = time.monotonic()
    line.link.cut(0.6)
    until(lambda: len(line.hellos) == 2, what="the agent to hang up and to dial again")
    assert time.monotonic() - began >= 0.6
    until(lambda: line.link.connected, 5, what="the link to be up again")


def test_a_link_that_is_cut_can_be_stopped_at_once(line: Line) -> None:
    line.start(friendly)
    until(lambda: line.link.connected, 5, what="the link to be up")
    line.link.cut(100)
    until(lambda: not line.link.connected, 2, what="the agent to hang up")
    began = time.monotonic()
    line.stop()
    assert time.monotonic() - began < 30
