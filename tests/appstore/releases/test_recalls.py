"""Recalls: whose packages they reach, what they change, the signed list, and what a partner's list may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone

from appstore.keys import services as keys
from appstore.packages import gates
from appstore.releases import services
from appstore.releases.models import Recall, SignedList
from core import dsse, recalls
from core.accounts.access import SYSTEM, Actor
from core.errors import Conflict, Denied, Invalid, Missing
from core.recalls import Entry, Lift, RecallList

pytestmark = pytest.mark.django_db

URL = "/api/v1/recalls"


def state(package: Any) -> str:
    package.refresh_from_db()
    return str(package.state)


class TestIssuing:
    """Who recalls what."""

    def test_a_recall_marks_the_release_and_is_in_the_signed_list(self, make: Any, actor: Any) -> None:
        package, better = make(state="deprecated"), make(version="2.0")
        made = services.recall([package], actor=actor, reason="It leaks", advice="Update", successor=better)
        assert (state(package), package.state_reason, package.successor) == ("recalled", "It leaks", better)
        assert package.events.get().facts["recall"] == str(made.pk)
        told = recalls.open_list(services.recall_list(), services.list_keys())
        (entry,) = told.entries
        assert (entry.sha256, entry.reason, entry.advice, entry.action) == (
            package.sha256,
            "It leaks",
            "Update",
            "stop",
        )
        assert told.serial == made.serial

    def test_lifting_leads_back_and_the_list_says_so(self, make: Any, actor: Any) -> None:
        package = make(state="deprecated")
        made = services.recall([package], actor=actor, reason="It leaks")
        before = services.present()
        services.lift(made, actor=actor, reason="It was another one")
        assert state(package) == "deprecated"
        after = services.present()
        assert (after.entries, after.serial > before.serial) == ((), True)
        assert [each.reason for each in after.lifted] == ["It was another one"]
        recalls.insist_on_newer(before, after)
        with pytest.raises(Conflict, match="lifted before"):
            services.lift(made, actor=actor, reason="again")

    def test_a_release_in_two_recalls_is_free_when_the_last_one_is_lifted(self, make: Any, actor: Any) -> None:
        package = make()
        first, second = (services.recall([package], actor=actor, reason=each) for each in ("one", "two"))
        services.lift(first, actor=actor, reason="x")
        assert state(package) == "recalled"
        services.lift(second, actor=actor, reason="x")
        assert state(package) == "published"

    def test_the_store_recalls_bytes_whoever_has_them_now_or_later(
        self, make: Any, actor: Any, stranger_organisation: Any
    ) -> None:
        ours = make()
        theirs = make(owner=stranger_organisation)
        services.recall([ours], actor=actor, reason="It leaks")
        assert (state(ours), state(theirs)) == ("recalled", "recalled")
        later = make(version="1.0", owner=stranger_organisation, origin="x" * 64, state="checked")
        for deed in ("publish", "deploy", "import"):
            with pytest.raises(Conflict, match="It leaks"):
                gates.require(deed, later, stranger_organisation.pk)  # type: ignore[arg-type]

    def test_a_digest_that_nobody_has_here_can_be_recalled_by_the_store_alone(
        self, make: Any, actor: Any, stranger: Any
    ) -> None:
        with pytest.raises(Missing):
            services.recall(actor=Actor(stranger), digests=["d" * 64], reason="x")
        services.recall(actor=actor, digests=["sha256:" + "D" * 64], reason="It leaks")
        with pytest.raises(Conflict):
            gates.require("publish", make(sha256="d" * 64, state="checked"), actor.user.pk)

    def test_a_publisher_recalls_its_own_release_and_touches_nobody_with_the_same_bytes(
        self, make: Any, stranger: Any, stranger_organisation: Any, organisation: Any
    ) -> None:
        ours, theirs = make(), make(owner=stranger_organisation)
        services.recall([theirs], actor=Actor(stranger), reason="Ours leaks")
        assert (state(theirs), state(ours)) == ("recalled", "published")
        gates.require("deploy", ours, organisation.pk)
        (entry,) = services.present().entries
        assert entry.package == str(theirs.pk)

    def test_strangers_members_and_mistakes(
        self, make: Any, actor: Any, stranger: Any, make_user: Any, organisation: Any, stranger_organisation: Any
    ) -> None:
        ours, theirs = make(), make(name="other", owner=stranger_organisation)
        developer = Actor(make_user("dora", organisation, "developer"))
        for who, error in ((Actor(stranger), Missing), (developer, Denied)):
            with pytest.raises(error):
                services.recall([ours], actor=who, reason="x")
        with pytest.raises(Missing):
            services.recall([theirs, ours], actor=Actor(stranger), reason="x")
        for wrong in ({"reason": " "}, {"severity": "odd"}, {"action": "explode"}, {"digests": ["x"]}):
            with pytest.raises(Invalid):
                services.recall([ours], actor=actor, **{"reason": "x", **wrong})
        assert (state(ours), state(theirs), Recall.objects.count()) == ("published", "published", 0)


class TestList:
    """The list itself."""

    def test_everybody_fetches_it_and_asking_again_costs_nothing(self, make: Any, actor: Any, client: Any) -> None:
        services.recall([make()], actor=actor, reason="It leaks")
        answer = client.get(URL)
        assert recalls.open_list(answer.json(), services.list_keys()).entries[0].reason == "It leaks"
        again = client.get(URL, headers={"If-None-Match": answer["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        services.recall([make(version="2")], actor=actor, reason="That one too")
        assert client.get(URL, headers={"If-None-Match": answer["ETag"]}).status_code == 200

    def test_an_old_list_is_signed_anew_with_a_higher_serial(self, make: Any, actor: Any) -> None:
        services.recall([make()], actor=actor, reason="x")
        before = services.present()
        assert services.present() == before
        SignedList.objects.update(issued_at=timezone.now() - timedelta(days=16))
        after = services.present()
        assert (after.serial, after.entries) == (before.serial + 1, before.entries)

    def test_who_knows_a_retired_key_learns_of_the_present_one(self, make: Any, actor: Any) -> None:
        services.recall([make()], actor=actor, reason="x")
        old = services.list_keys()
        pinned = services.public_keys()
        keys.rotate(keys.RECALL, actor=actor)
        told = recalls.open_list(services.recall_list(), old)
        assert list(told.keys) == services.public_keys() != pinned

    def test_partners_know_it_by_the_key_of_the_store(self, make: Any, actor: Any) -> None:
        services.recall([make()], actor=actor, reason="x")
        public = dsse.load_public(keys.current(keys.STORE).public_pem)
        assert recalls.open_list(services.recall_list(), [public]).store == keys.current(keys.STORE).id


@dataclass
class Peer:
    """A partner store with its key."""

    key: ec.EllipticCurvePrivateKey
    name: str = "Far Store"

    @property
    def store_id(self) -> str:
        return dsse.key_id(self.key.public_key())

    @property
    def public_pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def says(self, serial: int, *entries: Entry, lifted: tuple[Lift, ...] = (), store: str = "") -> dict[str, Any]:
        told = RecallList(store or self.store_id, serial, "2026", "2027", entries, lifted)
        return recalls.sign(told, self.key)


class TestPartners:
    """What a partner's list changes here."""

    @pytest.fixture
    def peer(self) -> Peer:
        return Peer(ec.generate_private_key(ec.SECP256R1()))

    def test_it_recalls_what_came_from_there_and_nothing_else(self, make: Any, peer: Peer) -> None:
        fetched, ours = make(origin=peer.store_id, origin_ref="p-1"), make()
        elsewhere = make(origin="e" * 64)
        entry = Entry("r-1", fetched.sha256, package="p-1", reason="It leaks", severity="critical")
        taken = services.apply_foreign(peer.says(1, entry), peer)
        assert [state(each) for each in (fetched, ours, elsewhere)] == ["recalled", "published", "published"]
        (made,) = taken.issued
        assert (made.origin, made.origin_ref, made.severity) == (peer.store_id, "r-1", "critical")
        assert [each.package for each in services.present().entries] == [str(fetched.pk)]
        assert services.apply_foreign(peer.says(1, entry), peer).issued == []
        lifted = services.apply_foreign(peer.says(2, lifted=(Lift("r-1", fetched.sha256, "p-1", "fine"),)), peer)
        assert (len(lifted.lifted), state(fetched)) == (1, "published")

    def test_what_is_fetched_later_is_refused(self, make: Any, peer: Peer, organisation: Any) -> None:
        services.apply_foreign(peer.says(1, Entry("r-1", "f" * 64, reason="It leaks")), peer)
        later = make(sha256="f" * 64, origin=peer.store_id, state="checked")
        with pytest.raises(Conflict, match="It leaks"):
            gates.require("import", later, organisation.pk)
        gates.require("import", make(version="9", sha256="f" * 64, origin="g" * 64, state="checked"), organisation.pk)

    def test_a_partner_that_lies_changes_nothing(self, make: Any, peer: Peer) -> None:
        fetched = make(origin=peer.store_id)
        entry = Entry("r-1", fetched.sha256)
        liar = Peer(ec.generate_private_key(ec.SECP256R1()))
        for envelope, problem in (
            (liar.says(1, entry, store=peer.store_id), "not trusted"),
            (peer.says(1, entry, store="0" * 64), "not the one of"),
        ):
            with pytest.raises(Invalid, match=problem):
                services.apply_foreign(envelope, peer)
        assert state(fetched) == "published"
        services.apply_foreign(peer.says(5, entry), peer)
        for envelope in (peer.says(4, entry), peer.says(6)):
            with pytest.raises(Conflict):
                services.apply_foreign(envelope, peer)
        assert state(fetched) == "recalled"

    def test_only_the_partner_lifts_what_it_recalled(self, make: Any, peer: Peer, actor: Any) -> None:
        fetched = make(origin=peer.store_id)
        (made,) = services.apply_foreign(peer.says(1, Entry("r-1", fetched.sha256)), peer).issued
        with pytest.raises(Conflict, match="partner"):
            services.lift(made, actor=actor, reason="We think not")
        assert services.lift(made, actor=SYSTEM, reason="ended").lifted_at is not None


def test_the_life_of_a_recall_through_the_api(make: Any, api: Any, stranger_api: Any, client: Any) -> None:
    package = make()
    wanted = {"packages": [str(package.pk)], "reason": "It leaks", "severity": "critical"}
    assert client.post(URL, wanted, content_type="application/json").status_code == 401
    assert stranger_api.post(URL, wanted, format="json").status_code == 404
    assert api.post(URL, {"reason": "x"}, format="json").status_code == 400
    made = api.post(URL, wanted, format="json").json()
    assert made["packages"][0]["package"] == str(package.pk)
    assert api.get(f"{URL}/{made['id']}").json()["reason"] == "It leaks"
    assert stranger_api.get(f"{URL}/{made['id']}").status_code == 404
    assert stranger_api.post(f"{URL}/{made['id']}/lift", {"reason": "x"}, format="json").status_code == 404
    assert api.post(f"{URL}/{made['id']}/lift", {}, format="json").status_code == 400
    assert api.post(f"{URL}/{made['id']}/lift", {"reason": "fine"}, format="json").json()["lift_reason"] == "fine"
    assert state(package) == "published"
