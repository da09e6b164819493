"""What is wrong with a state file is told, all of it at once and with its place, and then nothing has changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from core.errors import Invalid
from mep.state import file, moves
from tests.mep.conftest import Mp1

S, A, N, U = "mp1.services", "mp1.apps", "mp1.notices", "mp1.subscriptions"
T, D, K = "mp1.traffic_rules", "mp1.dns_rules", "mp1.signing_keys"
#: Member of the first row, and values that it may not have.
WRONG: dict[str, dict[str, list[Any]]] = {
    S: {
        "id": ["a/b", "..", "x" * 33, "a\n", "", 5],
        "app": ["nobody"],
        "state": ["ASLEEP"],
        "revision": [2**60, -1, True],
        "createdAt": [1e300, -1.0, "now"],
        "interval": [0, 90000],
        "surprise": [1],
        "transport": [{}, []],
        "category": [{"id": "x"}],
        "name": ["", "x" * 256],
    },
    A: {
        "id": ["a/b", "x" * 65, ".", "app-2"],
        "state": ["TERMINATING"],
        "deadline": [5.0],
        "clientId": ["a b", "x" * 129],
        "certificate": ["x"],
        "declared": [{"required": 5}],
        "registration": [{}],
    },
    N: {"subscription": ["nobody"], "id": ["a b"], "body": ["x", None]},
    U: {
        "callback": ["", "ftp://10.0.0.1/", "http://10.0.0.1/\r\nX: y"],
        "websocket": [True],
        "root": ["javascript:alert(1)", "https://mep:8443/\n", "https://mep:8443/<b>"],
        "kind": ["Other"],
        "criteria": [{"serNames": ["a"], "serInstanceIds": ["b"]}, {"states": "ACTIVE"}],
    },
    T: {"rule": [{}], "id": ["a/b", ".."], "origin": ["somebody"]},
    D: {"domainName": ["-x"], "ipAddress": ["10.0.0.256"], "ttl": [2**31], "scope": ["x" * 65, "unknown"]},
    K: {"kid": ["unknown"], "signing": [True]},
    "dns.scopes": {"name": ["-", "x" * 65], "kind": ["planet"], "networks": [["10.0.0.1/8"], "x"]},
    "mp1.alarms": {"severity": ["bad"], "count": [-1]},
}


@pytest.mark.parametrize("replace", [True, False])
def test_a_mistake_is_told_with_its_place_and_changes_nothing(full: Mp1, replace: bool) -> None:
    before = moves.collect(with_secrets=True)
    cases = [
        (section, member, value) for section in WRONG for member in WRONG[section] for value in WRONG[section][member]
    ]
    for section, member, value in cases:
        state = copy.deepcopy(before)
        state.sections[section][0][member] = value
        with pytest.raises(Invalid) as told:
            moves.bring(state, replace=replace)
        assert any(section in each["field"] for each in told.value.context["errors"]), (section, member, value)
    assert moves.collect(with_secrets=True) == before


@pytest.mark.parametrize("rows", [{}, None, "x", [5], [None], [[]]])
def test_a_section_is_a_list_of_objects(full: Mp1, rows: Any) -> None:
    state = moves.collect(with_secrets=True)
    state.sections[S] = rows
    with pytest.raises(Invalid) as told:
        moves.bring(state, replace=True)
    assert told.value.context["errors"][0]["field"].startswith(S)


def test_sections_that_are_missing_or_unknown_are_told(full: Mp1) -> None:
    state = moves.collect(with_secrets=True)
    del state.sections[T]
    state.sections["future.things"] = []
    state.revisions["sheep"] = 5
    with pytest.raises(Invalid) as told:
        moves.bring(state, replace=True)
    assert {each["field"] for each in told.value.context["errors"]} == {T, "future.things", "revisions.sheep"}


def test_every_mistake_is_told_at_once(full: Mp1) -> None:
    state = moves.collect(with_secrets=True)
    state.sections[S][0]["app"] = "nobody"
    state.sections[D][0]["ipAddress"] = "x"
    state.sections[S].append(copy.deepcopy(state.sections[S][1]))
    assert state.secrets is not None
    del state.secrets["mp1.apps:app-2"]
    with pytest.raises(Invalid) as told:
        moves.bring(state, replace=True)
    assert [each["field"] for each in told.value.context["errors"]] == [
        "mp1.apps[1]",
        "mp1.dns_rules[0]",
        "mp1.services[2]",
        "mp1.services[0].app",
    ]


def test_identifiers_of_others_are_not_taken_over_by_a_merge(full: Mp1) -> None:
    state = moves.collect(with_secrets=True)
    for section, key in ((S, "app"), (U, "app"), (A, "clientId")):
        stolen = copy.deepcopy(state)
        if section == A:
            stolen.sections[A] = [{**stolen.sections[A][0], "id": "thief"}]
            stolen.secrets = {"mp1.apps:thief": "x" * 40}
            for name in stolen.sections.keys() - {A}:
                stolen.sections[name] = []
        else:
            stolen.sections[section][0][key] = "app-2" if section == S else "app-1"
        with pytest.raises(Invalid) as told:
            moves.bring(stolen, replace=False)
        assert "on this MEP" in str(told.value.context["errors"])


def head(version: bytes, rest: bytes = b"") -> bytes:
    return b'{"format": "breakwater-mep-state", "version": %b%b}' % (version, rest)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b"[" * 100_000, "nested"),
        (b"{}", "no state of a MEP"),
        (b"[]", "no state of a MEP"),
        (head(b"2"), "newer MEP"),
        (head(b'"1"'), "no version"),
        (head(b"true"), "no version"),
        (head(b"null"), "no version"),
        (head(b"1", b', "sections": []'), "damaged"),
        (head(b"1", b', "x": ' + b"[" * 90 + b"]" * 90), "nested deeper"),
    ],
    ids=lambda each: str(each)[-40:],
)
def test_what_is_no_state_file_is_refused_with_words(content: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        file.decode(content)
