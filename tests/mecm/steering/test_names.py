"""Rules about one name are judged scope by scope, as the node's responder asks them."""

from __future__ import annotations

from typing import Any

import pytest

from mecm.steering import names
from mecm.steering.names import Answer, Scope

SCOPES = {
    "vip": Scope("vip", "ue", ("10.45.0.7/32",), 1),
    "gold": Scope("gold", "ue"),
    "video": Scope("video", "application"),
    "quay": Scope("quay", "zone"),
}


def answer(scope: str, family: str = "IP_V4", address: str = "192.0.2.2") -> Answer:
    return Answer("other", "hello", family, address, scope)


MINE = Answer("mine", "hello", "IP_V4", "192.0.2.1", "video")


@pytest.mark.parametrize(
    ("scope", "how"),
    [("vip", "yields"), ("video", "shares"), ("quay", "wins"), ("", "wins")],
)
def test_ue_comes_before_application_before_zone_before_everybody(scope: str, how: str) -> None:
    assert [each.how for each in names.encounters(MINE, [answer(scope)], SCOPES)] == [how]


def test_two_scopes_of_one_kind_are_parted_by_their_prefixes_and_unknown_ones_are_not_guessed_about() -> None:
    mine = Answer("mine", "hello", "IP_V4", "192.0.2.1", "vip")
    assert [each.how for each in names.encounters(mine, [answer("gold")], SCOPES)] == ["apart"]
    assert [each.how for each in names.encounters(mine, [answer(""), answer("vip")], None)] == ["apart", "shares"]


def test_the_other_family_meets_only_in_another_scope_which_decides_about_the_whole_name() -> None:
    sixth = [answer("video", "IP_V6", "2001:db8::1"), answer("", "IP_V6", "2001:db8::1")]
    assert [each.how for each in names.encounters(MINE, sixth, SCOPES)] == ["wins"]
    assert names.encounters(MINE, [answer("video", address=MINE.address)], SCOPES) == []


def test_a_scope_that_the_node_has_not_meets_nobody() -> None:
    assert names.encounters(MINE, [answer("gone")], SCOPES) == []
    assert names.encounters(answer("gone"), [MINE], SCOPES) == []
    assert names.missing("gone", SCOPES)
    assert not names.missing("gone", None)
    assert not names.missing("", SCOPES)


@pytest.mark.parametrize("told", [{}, {"dns_scopes": None}, {"dns_scopes": {"vip": "ue"}}])
def test_a_node_that_tells_no_scopes_is_not_taken_for_one_without(told: Any) -> None:
    assert names.scopes_of(told) is None


def test_scopes_are_read_and_what_is_none_is_left_out() -> None:
    told = [
        {"name": "vip", "kind": "ue", "networks": ["10.45.0.7/32"], "prefixes": 9}, 7, {"name": 8, "kind": "ue"},
        {"name": "x", "kind": "moon"}, {"name": "bare", "kind": "zone", "networks": 5, "prefixes": True},
    ]  # fmt: skip
    assert names.scopes_of({"dns_scopes": told}) == {
        "vip": Scope("vip", "ue", ("10.45.0.7/32",), 9),
        "bare": Scope("bare", "zone", (), 0),
    }
