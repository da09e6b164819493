"""The recall list on a node: whose word it takes, what it stops, and that it holds without the centre."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import recalls
from core.errors import Unavailable
from core.recalls import Entry, Lift, RecallList
from mep.agent import store
from mep.agent.kinds import LEAVING, SETTLED
from mep.agent.models import Applied
from mep.agent.recalls import KEY, KIND, Recalls
from tests.mep.agent.conftest import Edge

DIGEST = "a" * 64
ENTRY = Entry("r-1", DIGEST, package="p-1", reason="It leaks.", advice="Update.")


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


class Node:
    """An edge that obeys recalls, and a centre that signs them."""

    def __init__(self, edge: Edge) -> None:
        self.edge, self.key, self.centre, self.woken = edge, ec.generate_private_key(ec.SECP256R1()), "centre-1", 0
        self.begin()

    def begin(self) -> None:
        """Be a process that has just started: all that it knows is on disk."""
        self.recalls = Recalls(self.edge.reporter, lambda: self.centre, self._wake)
        self.edge.apps.stops = self.recalls.stops

    def _wake(self) -> None:
        self.woken += 1

    def hear(
        self, serial: int, *entries: Entry, lifted: tuple[Lift, ...] = (), key: Any = None, then: Any = None
    ) -> dict[str, Any]:
        """Get a list from the centre, and return what the node says to it."""
        signer = key or self.key
        told = RecallList("s", serial, "2026", "2027", entries, lifted, (pem(then or signer),))
        self.edge.wish(KEY, serial, KIND, list=recalls.pack(recalls.sign(told, signer)), keys=[pem(signer)])
        self.recalls.step(KEY)
        told_back = self.edge.told(KIND, KEY)
        assert told_back is not None
        return dict(told_back["status"])

    def run(self, key: str = "a", **more: Any) -> None:
        """Wish for an app of the package that will be recalled, and let it become ready."""
        self.edge.wish(key, **{"package": "p-1", "packageSha256": DIGEST, **more})
        self.edge.apps.step(key)


@pytest.fixture
def node(edge: Edge) -> Node:
    """A node that has heard nothing yet."""
    return Node(edge)


def reason(node: Node, key: str = "a") -> str:
    told = node.edge.told(key=key)
    return f"{told['status']['state']} {told['status']['reason']}" if told else ""


def test_a_recalled_app_says_goodbye_is_stopped_and_stays_so(node: Node) -> None:
    node.run()
    assert node.hear(1, ENTRY)["state"] == "held"
    assert node.woken == 1
    node.edge.mep.over = False
    assert node.edge.apps.step("a") == LEAVING
    assert reason(node) == "progressing recalled"
    assert node.edge.mep.announced == ["instance-a"]
    assert node.edge.engine.held
    node.edge.mep.over = True
    assert node.edge.apps.step("a") == SETTLED
    assert (node.edge.engine.held, reason(node)) == ({}, "failed recalled")
    assert node.edge.apps.step("a") == SETTLED
    assert len(node.edge.engine.applied) == 1
    told = node.edge.told()
    assert told is not None
    assert told["status"]["message"] == "Stopped, because the package is recalled: It leaks. Update."


def test_it_is_not_started_from_the_disk_of_a_node_that_is_cut_off(node: Node) -> None:
    node.hear(1, ENTRY)
    node.begin()
    node.run()
    assert (node.edge.engine.applied, reason(node)) == ([], "failed recalled")


def test_what_comes_back_by_itself_is_stopped_again(node: Node) -> None:
    node.run()
    release = node.edge.engine.applied[0]
    node.hear(1, ENTRY)
    node.edge.apps.step("a")
    node.edge.engine.held[release.namespace, release.name] = release
    node.edge.apps.step("a")
    assert node.edge.engine.held == {}


def test_other_packages_and_warnings_stop_nothing(node: Node) -> None:
    node.run("other", package="p-2", packageSha256="b" * 64)
    node.run("same-bytes-of-somebody", package="p-3")
    node.hear(1, ENTRY, Entry("r-2", "b" * 64, action="warn"))
    for key in ("other", "same-bytes-of-somebody"):
        node.edge.apps.step(key)
        assert node.edge.state(key) == "ready"


def test_an_app_from_before_packages_were_named_is_known_by_its_chart(node: Node) -> None:
    node.edge.wish()
    node.edge.apps.step("a")
    node.hear(1, Entry("r-1", DIGEST, chart=node.edge.keep()["sha256"]))
    node.edge.apps.step("a")
    assert reason(node) == "failed recalled"


def test_another_release_runs_and_a_lift_starts_it_again(node: Node) -> None:
    node.run()
    node.hear(1, ENTRY)
    node.edge.apps.step("a")
    node.edge.wish(generation=2, package="p-9", packageSha256="c" * 64)
    node.edge.apps.step("a")
    assert node.edge.state() == "ready"
    node.edge.wish(generation=3, package="p-1", packageSha256=DIGEST)
    node.edge.apps.step("a")
    assert reason(node) == "failed recalled"
    node.hear(2, lifted=(Lift(*ENTRY.key),))
    node.edge.apps.step("a")
    assert node.edge.state() == "ready"


def test_an_app_that_cannot_be_stopped_yet_is_tried_again_and_told(node: Node) -> None:
    node.run()
    node.hear(1, ENTRY)
    node.edge.engine.trouble = Unavailable("the runtime is away")
    wait = node.edge.apps.step("a")
    assert wait is not None
    assert wait >= 0.5
    told = node.edge.told()
    assert told is not None
    assert "cannot be stopped yet: the runtime is away" in told["status"]["message"]
    node.edge.engine.trouble = None
    node.edge.apps.step("a")
    assert reason(node) == "failed recalled"


def test_a_kill_in_the_middle_of_the_goodbye_loses_nothing(node: Node) -> None:
    node.run()
    node.hear(1, ENTRY)
    node.edge.mep.over = False
    node.edge.apps.step("a")
    done = store.outcome("app", "a")
    assert done is not None
    assert done.state == Applied.State.REMOVING
    node.begin()
    node.edge.mep.over = True
    node.edge.apps.step("a")
    assert reason(node) == "failed recalled"


def test_a_recalled_app_can_be_removed(node: Node) -> None:
    node.run()
    node.hear(1, ENTRY)
    node.edge.apps.step("a")
    node.edge.unwish()
    node.edge.apps.step("a")
    assert store.wish("app", "a") is None
    assert node.edge.state() == "absent"


def test_a_list_of_another_key_an_older_one_and_one_that_lost_an_entry_are_refused(node: Node) -> None:
    node.hear(5, ENTRY)
    thief = ec.generate_private_key(ec.SECP256R1())
    for told, why in (
        (node.hear(9, key=thief), ""),
        (node.hear(4, ENTRY), "older"),
        (node.hear(6), "shrunk"),
    ):
        assert (told["state"], told["reason"], told["serial"]) == ("refused", why, 5)
    node.begin()
    assert node.recalls.stops({"package": "p-1", "packageSha256": DIGEST}) == ENTRY


def test_the_centre_may_change_its_key_by_a_list_that_the_old_one_signs(node: Node) -> None:
    fresh = ec.generate_private_key(ec.SECP256R1())
    node.hear(1, ENTRY)
    assert node.hear(2, ENTRY, then=fresh)["state"] == "held"
    assert node.hear(3, ENTRY)["state"] == "refused"
    assert node.hear(3, ENTRY, key=fresh)["state"] == "held"


def test_the_list_stays_in_force_when_its_wish_goes_and_gives_way_to_another_centre(node: Node) -> None:
    node.hear(3, ENTRY)
    node.edge.unwish(KEY, KIND)
    node.recalls.step(KEY)
    assert node.recalls.stops({"package": "p-1", "packageSha256": DIGEST}) == ENTRY
    node.centre = "centre-2"
    assert node.hear(1, key=ec.generate_private_key(ec.SECP256R1()))["state"] == "held"
    assert node.recalls.stops({"package": "p-1", "packageSha256": DIGEST}) is None


def test_the_console_of_the_node_has_a_sentence_about_it(node: Node) -> None:
    assert store.recalls_in_words() == ""
    node.run()
    node.hear(7, ENTRY, Entry("r-2", "b" * 64))
    assert store.recalls_in_words() == "Recall list 7 names 2 packages; none of them was stopped here."
    node.edge.apps.step("a")
    assert store.recalls_in_words().endswith("1 application of this node is stopped by it.")


def test_nonsense_instead_of_a_list_is_told_and_changes_nothing(node: Node) -> None:
    node.hear(1, ENTRY)
    for spec in ({}, {"list": 1}, {"list": "x", "keys": "y"}, {"list": recalls.pack({"payload": 1}), "keys": []}):
        node.edge.wish(KEY, 2, KIND, **spec)
        node.recalls.step(KEY)
        told = node.edge.told(KIND, KEY)
        assert told is not None
        assert told["status"]["state"] == "refused"
    assert node.recalls.held() is not None
