"""What holds for every DNS backend; `peer` lends one with a way to see what clients are answered."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from core.errors import BreakwaterError, Conflict
from mep.dns.backends.contract import DnsBackend, RecordSet, Refused
from tests.waiting import until


class Peer(Protocol):
    """A backend and the server behind it."""

    backend: DnsBackend
    #: A domain that names may be put into.
    domain: str

    def answers(self, name: str, kind: str) -> set[str]:
        """Return the addresses that a client gets."""

    def foreign(self) -> RecordSet | None:
        """Return a set that somebody else has put on the server; None when nobody else can."""

    def stop(self) -> None:
        """Take the server away."""

    def start(self) -> None:
        """Bring it back."""


def shown(peer: Peer, name: str, kind: str, addresses: set[str]) -> None:
    """Wait until clients get these addresses: a server may take a change and show it a moment later (BIND's RPZ does)."""
    until(lambda: peer.answers(name, kind) == addresses, what=f"{name} {kind} to be {addresses}")


class Contract:
    """The tests; a subclass lends its `peer`."""

    def test_what_is_put_is_answered_and_read_back(self, peer: Peer) -> None:
        one = RecordSet(f"one.{peer.domain}", "A", 30, ("10.0.0.1", "10.0.0.2"))
        six = RecordSet(f"one.{peer.domain}", "AAAA", 20, ("2001:db8::1",))
        assert peer.backend.apply([one, six], []) == {one.key: None, six.key: None}
        shown(peer, one.name, "A", set(one.addresses))
        shown(peer, one.name, "AAAA", set(six.addresses))
        present = peer.backend.present()
        assert present is not None
        assert present[one.key] == one
        assert present[six.key] == six

    def test_the_other_family_and_other_names_stay_without_data(self, peer: Peer) -> None:
        one = RecordSet(f"one.{peer.domain}", "A", 30, ("10.0.0.1",))
        peer.backend.apply([one], [])
        shown(peer, one.name, "AAAA", set())
        shown(peer, f"two.{peer.domain}", "A", set())

    def test_what_is_ours_is_replaced_and_taken_out(self, peer: Peer) -> None:
        old = RecordSet(f"one.{peer.domain}", "A", 30, ("10.0.0.1",))
        six = RecordSet(f"one.{peer.domain}", "AAAA", 30, ("2001:db8::1",))
        new = RecordSet(f"one.{peer.domain}", "A", 5, ("10.0.0.9", "10.0.0.8"))
        new = RecordSet(new.name, "A", 5, tuple(sorted(new.addresses)))
        peer.backend.apply([old, six], [])
        for _ in range(2):
            assert peer.backend.apply([new], [], owned=[old.key]) == {new.key: None}
        shown(peer, new.name, "A", set(new.addresses))
        for _ in range(2):
            assert peer.backend.apply([], [new]) == {new.key: None}, "gone already is fine"
        shown(peer, new.name, "A", set())
        shown(peer, new.name, "AAAA", {"2001:db8::1"})
        present = peer.backend.present()
        assert present is not None
        assert new.key not in present

    def test_records_of_others_are_not_overwritten_and_the_rest_gets_through(self, peer: Peer) -> None:
        theirs = peer.foreign()
        if theirs is None:
            pytest.skip("nobody else can write there")
        greedy = RecordSet(theirs.name, theirs.kind, 30, ("10.6.6.6",))
        rest = [RecordSet(f"n{number}.{peer.domain}", "A", 30, ("10.0.0.1",)) for number in range(40)]
        outcome = peer.backend.apply([*rest[:13], greedy, *rest[13:]], [])
        assert isinstance(outcome[greedy.key], Conflict)
        assert [outcome[each.key] for each in rest] == [None] * 40
        shown(peer, theirs.name, theirs.kind, set(theirs.addresses))
        shown(peer, rest[0].name, "A", {"10.0.0.1"})
        shown(peer, rest[-1].name, "A", {"10.0.0.1"})

    def test_scopes_are_held_or_refused_with_the_nearest_thing(self, peer: Peer) -> None:
        scoped = RecordSet(f"one.{peer.domain}", "A", 30, ("10.0.0.1",), scope="vip")
        if peer.backend.capabilities().scopes:
            peer.backend.check(scoped)
            peer.backend.apply([scoped], [])
            assert peer.answers(scoped.name, "A") == set(), "only for those in the scope"
            return
        with pytest.raises(Refused, match="vip") as refusal:
            peer.backend.check(scoped)
        assert refusal.value.nearest

    def test_names_that_cannot_be_held_are_refused_with_the_nearest_thing(self, peer: Peer) -> None:
        far = RecordSet("www.elsewhere.test", "A", 30, ("10.0.0.1",))
        if peer.backend.capabilities().any_name:
            peer.backend.check(far)
            peer.backend.apply([far], [])
            shown(peer, far.name, "A", {"10.0.0.1"})
            return
        with pytest.raises(Refused, match="not inside the zone") as refusal:
            peer.backend.check(far)
        assert refusal.value.nearest

    def test_a_server_that_is_away_is_an_error_that_waiting_mends(self, peer: Peer) -> None:
        if peer.backend.name == "embedded":
            pytest.skip("it lives in our own process")
        one = RecordSet(f"one.{peer.domain}", "A", 30, ("10.0.0.1",))
        peer.backend.probe()
        peer.stop()
        calls: list[Any] = [peer.backend.probe, peer.backend.present, lambda: peer.backend.apply([one], [])]
        for call in calls:
            with pytest.raises(BreakwaterError) as problem:
                call()
            assert problem.value.retryable
        peer.start()
        peer.backend.probe()
        assert peer.backend.apply([one], []) == {one.key: None}

    def test_nothing_to_do_is_done(self, peer: Peer) -> None:
        assert peer.backend.apply([], []) == {}
