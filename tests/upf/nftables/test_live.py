"""Packets of a UE go where the rules say, through the kernel of an edge that is a network namespace."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Unavailable
from tests.contracts.upf import Harness, UpfContract
from tests.upf.lab import APP, SILENCE, Helper, Lab, needs_lab
from tests.waiting import until
from upf_adapter import create
from upf_adapter.contract import TrafficRule, UpfAdapter

pytestmark = [pytest.mark.live, needs_lab]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab((4000, 5000)) as lab:
        yield lab


@pytest.fixture(scope="module")
def helper(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Helper:
    return Helper(lab, tmp_path_factory.mktemp("helper"))


@pytest.fixture
def upf(helper: Helper) -> Iterator[UpfAdapter]:
    adapter = create("nftables", {"socket": str(helper.socket)})
    adapter.replace([])
    yield adapter
    adapter.close()


def to_app(family: int = 4, address: str = "") -> dict[str, Any]:
    return {"interfaceType": "IP", "dstIpAddress": address or APP[family]}


def rule(key: str, action: str, *targets: dict[str, Any], priority: int = 10, **filter_: Any) -> TrafficRule:
    return TrafficRule(key, "FLOW", priority, (filter_,), action, targets)


SERVER = "203.0.113.5"


def test_before_the_rule_the_internet_answers_and_after_it_the_app(lab: Lab, upf: UpfAdapter) -> None:
    assert lab.ask(SERVER) == ["internet"]
    upf.put(rule("a/1", "FORWARD_DECAPSULATED", to_app(), dstAddress=[SERVER], protocol=["UDP"]))
    assert lab.ask(SERVER) == ["app"]
    assert lab.ask("203.0.113.6") == ["internet"]
    counted = upf.counters()["a/1"]
    assert (counted.packets, counted.octets) == (1, 20 + 8 + len(b"ask"))
    upf.delete("a/1")
    assert lab.ask(SERVER) == ["internet"]


def test_what_is_dropped_is_answered_by_nobody(lab: Lab, upf: UpfAdapter) -> None:
    upf.put(rule("a/1", "DROP", dstAddress=[SERVER]))
    assert lab.ask(SERVER, wait=SILENCE) == []
    assert lab.ask("203.0.113.6") == ["internet"]
    assert upf.counters()["a/1"].packets == 1


def test_what_is_passed_through_is_kept_from_rules_below(lab: Lab, upf: UpfAdapter) -> None:
    upf.replace(
        [
            rule("a/wide", "DROP", dstAddress=["203.0.113.0/24"], priority=20),
            rule("a/hole", "PASSTHROUGH", dstAddress=[SERVER], priority=10),
        ]
    )
    assert lab.ask(SERVER) == ["internet"]
    assert lab.ask("203.0.113.6", wait=SILENCE) == []


def test_a_copy_goes_to_the_app_and_the_packet_its_ordinary_way(lab: Lab, upf: UpfAdapter) -> None:
    upf.put(rule("a/1", "DUPLICATE_DECAPSULATED", to_app(), dstAddress=[SERVER]))
    assert lab.ask(SERVER, most=2) == ["app", "internet"]
    assert upf.counters()["a/1"].packets == 1


def test_of_two_destinations_one_gets_the_copy_and_the_other_the_packet(lab: Lab, upf: UpfAdapter) -> None:
    upf.put(rule("a/1", "DUPLICATE_DECAPSULATED", to_app(), to_app(address="10.60.0.3"), dstAddress=[SERVER]))
    assert lab.ask(SERVER, most=3, wait=2) == ["app", "app"]


@pytest.mark.parametrize("family", [4, 6])
def test_the_priority_decides_where_filters_overlap(lab: Lab, upf: UpfAdapter, family: int) -> None:
    server, wide = {4: (SERVER, "203.0.113.0/24"), 6: ("2001:db8:cafe::5", "2001:db8:cafe::/64")}[family]
    upf.replace(
        [
            rule("a/app", "FORWARD_DECAPSULATED", to_app(family), dstAddress=[wide], priority=5),
            rule("a/drop", "DROP", dstAddress=[server], dstPort=["4000"], priority=4),
            rule("a/low", "DROP", dstPort=["1-65535"], priority=200),
        ]
    )
    assert lab.ask(server, 4000, wait=SILENCE) == []
    assert lab.ask(server, 5000) == ["app"]
    assert lab.ask("10.70.0.2" if family == 4 else "fd70::2", 4000, wait=SILENCE) == []
    seen = {key: each.packets for key, each in upf.counters().items()}
    assert seen == {"a/app": 1, "a/drop": 1, "a/low": 1}


def test_dscp_and_the_traffic_class_are_told_apart(lab: Lab, upf: UpfAdapter) -> None:
    upf.replace(
        [
            rule("a/4", "FORWARD_DECAPSULATED", to_app(), dSCP=46),
            rule("a/6", "FORWARD_DECAPSULATED", to_app(6), tC=46 << 2),
        ]
    )
    for server in (SERVER, "2001:db8:cafe::7"):
        assert lab.ask(server, tos=46 << 2) == ["app"]
        assert lab.ask(server, tos=0) == ["internet"]


def test_several_filters_are_alternatives(lab: Lab, upf: UpfAdapter) -> None:
    both = rule("a/1", "FORWARD_DECAPSULATED", to_app(), dstAddress=[SERVER], dstPort=["4000"])
    upf.put(dataclasses.replace(both, filters=(*both.filters, {"srcPort": ["7777"]})))
    assert lab.ask(SERVER, 4000) == ["app"]
    assert lab.ask(SERVER, 5000) == ["internet"]
    assert lab.ask("203.0.113.77", 5000, source_port=7777) == ["app"]


def test_no_rule_can_cut_the_link_itself(lab: Lab, upf: UpfAdapter) -> None:
    upf.put(rule("a/1", "DROP", tC=0))
    lab.run("edge", "ip", "neigh", "flush", "dev", "ue0")
    lab.run("ue", "ip", "neigh", "flush", "dev", "eth0")
    assert lab.ask("2001:db8:cafe::5", tos=4) == ["internet"]


def test_an_app_that_cannot_be_reached_is_worth_a_retry_and_holds_up_nobody(lab: Lab, upf: UpfAdapter) -> None:
    far = rule("a/far", "FORWARD_DECAPSULATED", to_app(address="198.51.100.1"), dstAddress=[SERVER])
    outcome = upf.replace([far, rule("a/drop", "DROP", dstAddress=["203.0.113.6"])])
    assert outcome.in_force == {"a/drop"}
    assert isinstance(outcome.problems["a/far"], Unavailable)
    assert "not on a network of this node" in outcome.problems["a/far"].detail
    with pytest.raises(Unavailable, match="not on a network"):
        upf.put(far)
    assert lab.ask(SERVER) == ["internet"]


def test_a_flush_is_seen_and_repaired_and_changes_of_others_are_not_minded(lab: Lab, upf: UpfAdapter) -> None:
    wanted = [rule("a/1", "FORWARD_DECAPSULATED", to_app(), dstAddress=[SERVER])]
    upf.replace(wanted)
    assert upf.intact()
    lab.run("edge", "nft", "add table ip neighbour")
    assert upf.intact()
    for harm in (
        "flush ruleset",
        "flush chain ip breakwater steer",
        "insert rule ip breakwater steer drop",
        "delete table ip breakwater",
        "add table ip breakwater { flags dormant; }",
    ):
        lab.run("edge", "nft", harm)
        assert not upf.intact(), harm
        upf.replace(wanted)
        assert upf.intact()
        assert lab.ask(SERVER) == ["app"]
    lab.run("edge", "ip", "rule", "del", "priority", "10001")
    assert not upf.intact()
    assert lab.ask(SERVER) == ["internet"]
    upf.replace(wanted)
    assert upf.intact()
    assert lab.ask(SERVER) == ["app"]


def listing(lab: Lab) -> str:
    """Return our table with the handles of everything in it, without what was counted."""
    return re.sub(r"packets \d+ bytes \d+", "", lab.run("edge", "nft", "-a", "list", "table", "ip", "breakwater"))


def test_the_helper_may_be_killed_and_takes_over_what_is_in_force(lab: Lab, helper: Helper, upf: UpfAdapter) -> None:
    wanted = [rule("a/1", "FORWARD_DECAPSULATED", to_app(), dstAddress=[SERVER])]
    upf.replace(wanted)
    lab.ask(SERVER)
    assert upf.intact(), "the fingerprint is in the ruleset now"
    before = listing(lab)
    helper.kill()
    assert lab.ask(SERVER) == ["app"], "rules stay in force"
    with pytest.raises(Unavailable):
        upf.intact()
    helper.start()
    assert not upf.intact(), "it knows nothing of rules yet"
    assert not upf.replace(wanted).problems
    assert upf.intact()
    assert listing(lab) == before, "nothing was touched"
    assert upf.counters()["a/1"].packets == 2
    helper.kill()
    lab.run("edge", "nft", "add rule ip breakwater steer drop")
    helper.start()
    upf.replace(wanted)
    assert upf.intact()
    assert lab.ask(SERVER) == ["app"]
    assert "\t\tdrop" not in lab.run("edge", "nft", "list", "chain", "ip", "breakwater", "steer")


def test_the_helper_holds_one_capability_and_is_not_root(helper: Helper) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{helper.pid}/status").read_text().splitlines() if ":\t" in line
    )
    only = 1 << 12
    assert {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {
        "CapPrm": only, "CapEff": only, "CapBnd": only, "CapInh": 0, "CapAmb": 0,
    }  # fmt: skip
    assert status["Uid"].split() == ["65534"] * 4
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("server", [SERVER, "2001:db8:cafe::5"])
def test_no_packet_goes_astray_while_rules_are_replaced_under_load(lab: Lab, upf: UpfAdapter, server: str) -> None:
    family = 6 if ":" in server else 4
    others = {4: "203.0.{}.{}", 6: "2001:db8:cafe:{:x}::{:x}"}[family]

    def generation(n: int) -> list[TrafficRule]:
        """Return a set in which every rule differs from those of the set before, and this server is always the app's."""
        mine = [
            rule("a/mine", "FORWARD_DECAPSULATED", to_app(family), dstAddress=[server], dstPort=[f"{10 + n}-9999"]),
            rule("a/low", "DROP", dstAddress=[server], dstPort=[str(20000 + n)], priority=200),
        ]
        around = [
            rule(f"b/{at}", "DROP", dstAddress=[others.format(at // 200 + n % 3, at % 200 + 10)], dstPort=[str(1 + n)])
            for at in range(300)
        ]
        # Every third set has a rule about all destinations, so that the base chain changes as well.
        return mine + around + ([rule("c/1", "DROP", dstPort=["6"], priority=1)] if n % 3 == 0 else [])

    upf.replace(generation(0))
    for role in ("app", "internet"):
        lab.watch(role, server)
    flood = lab.flood(server, 4000, 60)
    until(lambda: lab.seen("app", server) > 1000, 10)
    for n in range(1, 21):
        assert not upf.replace(generation(n)).problems
        upf.put(generation(n + 1)[0])
    until(lambda: lab.seen("app", server) > 20_000, 30)
    flood.kill()
    assert lab.seen("internet", server) == 0


def test_a_large_set_comes_whole_and_nothing_of_the_one_before_stays(lab: Lab, helper: Helper, upf: UpfAdapter) -> None:
    def generation(n: int) -> list[TrafficRule]:
        """Return so many rules that the kernel works on the first while the last are still compiled."""
        return [
            rule(
                f"a/{at}",
                "FORWARD_DECAPSULATED",
                to_app(),
                dstAddress=[f"203.0.{at // 200}.{at % 200}"],
                dstPort=[f"{n}-5000"],
            )
            for at in range(100, 23_000, 7)
        ]

    def count(what: str) -> int:
        return lab.run("edge", "nft", "list", "table", "ip", "breakwater").count(what)

    for n in (1, 2, 3):
        assert not upf.replace(generation(n)).problems
        assert upf.intact()
        assert len(upf.counters()) == len(generation(n)) == count("\tcounter r")
        # One for each rule, the one that all of them end in, ours, and the note.
        assert count("\tchain ") == len(generation(n)) + 3
        assert count("\tmap ") == 2
        assert lab.ask(SERVER) == ["app"]
    upf.replace(generation(4))
    # At once behind it, while the old rules are still being taken away.
    upf.put(rule("a/100", "DROP", dstAddress=[SERVER], priority=1))
    assert lab.ask(SERVER, wait=SILENCE) == []
    assert upf.intact()
    upf.replace(generation(5))
    lab.run("edge", "nft", "add chain ip breakwater foreign")
    upf.replace(generation(6))
    assert upf.intact()
    assert count("foreign") == 0
    assert lab.ask(SERVER) == ["app"]


class NftablesHarness(Harness):
    """The kernel is asked for the counters it has; what a rule's counter is called tells which rule it is."""

    def __init__(self, helper: Helper) -> None:
        self.helper = helper
        self.adapter = self.reopen()
        self.adapter.replace([])

    def installed(self) -> set[str]:
        listed = self.helper.lab.run("edge", "nft", "list", "ruleset")
        from upf_adapter.nftables.batch import counter_name

        return {key for key, rule_ in self.adapter.rules().items() if f'counter name "{counter_name(rule_)}"' in listed}

    def reopen(self) -> UpfAdapter:
        self.adapter = create("nftables", {"socket": str(self.helper.socket)})
        return self.adapter

    def cut(self) -> None:
        self.helper.kill()

    def mend(self) -> None:
        self.helper.start()

    def lose(self) -> None:
        self.helper.lab.run("edge", "nft", "flush", "ruleset")


@pytest.fixture
def harness(helper: Helper) -> Iterator[NftablesHarness]:
    harness = NftablesHarness(helper)
    yield harness
    harness.adapter.close()


class TestNftablesUpf(UpfContract):
    def test_it_says_that_it_steers_packets(self, harness: NftablesHarness) -> None:
        assert not harness.adapter.simulated
        assert os.uname().release in harness.adapter.ping()


def test_the_tables_are_gone_from_sight_of_other_namespaces(lab: Lab, upf: UpfAdapter) -> None:
    upf.put(rule("a/1", "DROP", dstAddress=[SERVER]))
    assert "breakwater" not in lab.run("app", "nft", "list", "tables")
    until(lambda: upf.intact(), 5)
