"""The contract of UPF adapters: what each one must do, whatever user plane is behind it.

A test module of an adapter subclasses `UpfContract` and gives it a fixture `harness`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import pytest

import upf_adapter
from core.errors import Invalid, Unavailable
from tests.waiting import until
from upf_adapter.contract import ACTIONS, Refused, TrafficRule, UpfAdapter

#: A filter that every user plane can express: one destination, and one UE where a session of one UE is meant.
PLAIN = {"srcAddress": ["10.45.0.2"], "dstAddress": ["203.0.113.5"], "protocol": ["UDP"], "dstPort": ["4000"]}
TO_APP = {"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}
TO_MAC = {"interfaceType": "MAC", "dstMacAddress": "02:00:00:00:00:01"}
TO_TUNNEL = {
    kind: {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": kind, "tunnelDstAddress": "198.51.100.9"}}
    for kind in ("GTP_U", "GRE")
}
#: One value for each member of a TrafficFilter that goes beyond addresses, ports and protocol.
MEMBERS: dict[str, Any] = {
    "tag": ["gold"],
    "uri": ["video"],
    "packetLabel": ["x"],
    "srcTunnelAddress": ["198.51.100.1"],
    "tgtTunnelAddress": ["198.51.100.2"],
    "srcTunnelPort": ["2152"],
    "dstTunnelPort": ["2152"],
    "qCI": 9,
    "dSCP": 46,
    "tC": 184,
}


def rule(key: str = "app/r1", action: str = "FORWARD_DECAPSULATED", **changes: Any) -> TrafficRule:
    """Return a rule that is as plain as can be; keywords change its fields."""
    least = ACTIONS.get(action, (0, 0))[0]
    whole = {"filter_type": "FLOW", "priority": 10, "filters": (PLAIN,), "destinations": (TO_APP,) * least} | changes
    return TrafficRule(id=key, action=action, **whole)


def about(rule_: TrafficRule, **members: Any) -> TrafficRule:
    """Return the rule with members of its filter changed."""
    return dataclasses.replace(rule_, filters=({**rule_.filters[0], **members},))


class Harness(ABC):
    """What the suite needs to know about one adapter and the user plane behind it."""

    adapter: UpfAdapter
    #: Seconds that the user plane may take to show a change.
    patience: float = 10.0
    #: An action that this user plane has.
    action = "FORWARD_DECAPSULATED"
    #: Whether `lose` and `cut` mean anything: a simulated user plane in memory cannot be away.
    remote = True

    @abstractmethod
    def installed(self) -> set[str]:
        """Return the ids of the rules that the user plane itself has, asked past the adapter."""

    @abstractmethod
    def reopen(self) -> UpfAdapter:
        """Return a new adapter on the same user plane, as after a restart of the MEP's process."""

    def cut(self) -> None:
        """Make the user plane unreachable."""
        raise AssertionError("this user plane cannot be cut off")

    def mend(self) -> None:
        """Make it reachable again; it has kept its rules."""
        raise AssertionError("this user plane cannot be cut off")

    def lose(self) -> None:
        """Make the user plane forget all rules, as by a restart of its own or by a foreign hand."""
        raise AssertionError("this user plane cannot forget")


class UpfContract:
    """The suite."""

    def sample(self, harness: Harness, key: str = "app/r1", **changes: Any) -> TrafficRule:
        """Return a rule that this user plane can express."""
        return rule(key, harness.action, **changes)

    def shown(self, harness: Harness, ids: Iterable[str]) -> None:
        """Wait until the user plane itself has exactly these rules, and the adapter says the same."""
        wanted = set(ids)
        until(lambda: harness.installed() == wanted, harness.patience)
        assert set(harness.adapter.rules()) == wanted

    def test_a_rule_that_is_put_is_in_force_as_given(self, harness: Harness) -> None:
        wanted = self.sample(harness)
        harness.adapter.put(wanted)
        self.shown(harness, {wanted.id})
        assert harness.adapter.rules()[wanted.id] == wanted

    def test_putting_twice_is_putting_once(self, harness: Harness) -> None:
        wanted = self.sample(harness)
        harness.adapter.put(wanted)
        harness.adapter.put(wanted)
        self.shown(harness, {wanted.id})

    def test_a_changed_rule_takes_the_place_of_the_old_one(self, harness: Harness) -> None:
        old = self.sample(harness)
        new = about(dataclasses.replace(old, priority=3), dstPort=["5000"])
        harness.adapter.put(old)
        harness.adapter.put(new)
        self.shown(harness, {old.id})
        assert harness.adapter.rules()[old.id] == new

    def test_a_deleted_rule_is_gone_and_the_others_stay(self, harness: Harness) -> None:
        for key in ("app/r1", "app/r2"):
            harness.adapter.put(self.sample(harness, key))
        harness.adapter.delete("app/r1")
        self.shown(harness, {"app/r2"})

    def test_deleting_what_is_not_there_is_fine(self, harness: Harness) -> None:
        harness.adapter.delete("app/never")
        self.shown(harness, set())

    def test_a_set_takes_the_place_of_the_set_before(self, harness: Harness) -> None:
        harness.adapter.replace([self.sample(harness, f"app/r{n}") for n in range(3)])
        outcome = harness.adapter.replace([self.sample(harness, f"app/r{n}") for n in range(2, 5)])
        assert (outcome.in_force, dict(outcome.problems)) == ({"app/r2", "app/r3", "app/r4"}, {})
        self.shown(harness, {"app/r2", "app/r3", "app/r4"})

    def test_an_empty_set_leaves_nothing(self, harness: Harness) -> None:
        harness.adapter.replace([self.sample(harness)])
        harness.adapter.replace([])
        self.shown(harness, set())

    def test_one_rule_that_cannot_be_expressed_does_not_hold_up_the_others(self, harness: Harness) -> None:
        outcome = harness.adapter.replace([self.sample(harness), rule("app/bad", "TELEPORT", destinations=())])
        assert outcome.in_force == {"app/r1"}
        assert set(outcome.problems) == {"app/bad"}
        self.shown(harness, {"app/r1"})

    def test_a_wish_that_became_inexpressible_takes_the_old_version_out(self, harness: Harness) -> None:
        harness.adapter.replace([self.sample(harness)])
        outcome = harness.adapter.replace([rule("app/r1", "TELEPORT", destinations=())])
        assert not outcome.in_force
        self.shown(harness, set())

    def test_rules_survive_a_restart_of_the_mep(self, harness: Harness) -> None:
        wanted = [self.sample(harness), self.sample(harness, "app/r2", priority=200)]
        harness.adapter.replace(wanted)
        harness.reopen()
        outcome = harness.adapter.replace(wanted)
        assert not outcome.problems
        self.shown(harness, {"app/r1", "app/r2"})

    def test_what_was_forgotten_while_the_mep_was_away_is_taken_out(self, harness: Harness) -> None:
        harness.adapter.replace([self.sample(harness), self.sample(harness, "app/r2")])
        harness.reopen()
        harness.adapter.replace([self.sample(harness, "app/r2")])
        self.shown(harness, {"app/r2"})

    def test_it_says_what_it_is(self, harness: Harness) -> None:
        assert harness.adapter.ping()
        assert upf_adapter.registry.get(harness.adapter.name) is type(harness.adapter)
        can = harness.adapter.capabilities()
        assert can.actions <= set(ACTIONS)
        assert harness.action in can.actions

    def test_it_is_intact_after_a_change(self, harness: Harness) -> None:
        harness.adapter.put(self.sample(harness))
        assert harness.adapter.intact()

    def test_counters_are_told_for_the_rules_in_force_or_not_at_all(self, harness: Harness) -> None:
        harness.adapter.put(self.sample(harness))
        counted = harness.adapter.counters()
        assert set(counted) == ({"app/r1"} if harness.adapter.capabilities().counters else set())

    # Refusals

    @pytest.mark.parametrize("action", sorted(ACTIONS))
    def test_an_action_is_carried_out_or_refused_with_the_reason(self, harness: Harness, action: str) -> None:
        can = harness.adapter.capabilities()
        wanted = rule("app/r1", action)
        if action in can.actions:
            return
        self._refused(harness, wanted, action)

    @pytest.mark.parametrize("member", sorted(MEMBERS))
    def test_a_filter_member_is_honoured_or_refused_with_the_reason(self, harness: Harness, member: str) -> None:
        if member in harness.adapter.capabilities().filters:
            return
        self._refused(harness, about(self.sample(harness), **{member: MEMBERS[member]}), member)

    @pytest.mark.parametrize(
        ("kind", "target"),
        [("MAC", TO_MAC), ("TUNNEL/GTP_U", TO_TUNNEL["GTP_U"]), ("TUNNEL/GRE", TO_TUNNEL["GRE"])],
    )
    def test_an_interface_is_used_or_refused_with_the_reason(self, harness: Harness, kind: str, target: Any) -> None:
        can = harness.adapter.capabilities()
        forwarding = next((each for each in sorted(can.actions) if each.startswith("FORWARD")), None)
        if kind in can.interfaces or forwarding is None:
            return
        self._refused(harness, rule("app/r1", forwarding, destinations=(target,)), kind)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"priority": 256}, "priority"),
            ({"filters": ()}, "at least one traffic filter"),
            ({"filters": ({"dstAddress": ["203.0.113.300"]},)}, "no address"),
            ({"filters": ({"dstPort": ["90-80"]},)}, "no port"),
            ({"filters": ({"protocol": ["CARRIER-PIGEON"]},)}, "no protocol"),
            ({"filters": ({"srcAddress": ["10.0.0.1"], "dstAddress": ["2001:db8::1"]},)}, "no packet can match"),
            ({"filters": ({"dstPort": ["80"], "protocol": ["ICMP"]},)}, "have no ports"),
        ],
    )
    def test_a_rule_that_makes_no_sense_is_invalid(self, harness: Harness, wrong: dict[str, Any], says: str) -> None:
        bad = dataclasses.replace(self.sample(harness), **wrong)
        for attempt in (harness.adapter.check, harness.adapter.put):
            with pytest.raises(Invalid, match=says):
                attempt(bad)
        self.shown(harness, set())

    def _refused(self, harness: Harness, wanted: TrafficRule, says: str) -> None:
        for attempt in (harness.adapter.check, harness.adapter.put):
            with pytest.raises(Refused, match=says):
                attempt(wanted)
        self.shown(harness, set())

    # A user plane that is away, or forgets

    def test_a_user_plane_that_is_away_is_unavailable_and_worth_a_retry(self, harness: Harness) -> None:
        if not harness.remote:
            pytest.skip("a user plane in memory cannot be away")
        harness.adapter.put(self.sample(harness))
        harness.cut()
        try:
            with pytest.raises(Unavailable):
                harness.adapter.put(self.sample(harness, "app/r2"))
            with pytest.raises(Unavailable):
                harness.adapter.ping()
        finally:
            harness.mend()
        wanted = [self.sample(harness), self.sample(harness, "app/r2")]
        until(lambda: self._settles(harness, wanted), harness.patience)
        self.shown(harness, {"app/r1", "app/r2"})

    def test_a_user_plane_that_forgot_is_noticed_and_healed(self, harness: Harness) -> None:
        if not harness.remote:
            pytest.skip("a user plane in memory forgets nothing")
        wanted = [self.sample(harness), self.sample(harness, "app/r2")]
        harness.adapter.replace(wanted)
        harness.lose()
        until(lambda: not harness.adapter.intact(), harness.patience)
        until(lambda: self._settles(harness, wanted), harness.patience)
        self.shown(harness, {"app/r1", "app/r2"})
        assert harness.adapter.intact()

    def _settles(self, harness: Harness, wanted: list[TrafficRule]) -> bool:
        try:
            return not harness.adapter.replace(wanted).problems
        except Unavailable:
            return False
