"""The signed recall list: who may write it, what may follow what, and whom an entry is about."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from core import recalls
from core.errors import Conflict, Invalid, TooLarge
from core.recalls import Entry, Lift, RecallList

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = "a" * 64, "b" * 64

entries = st.builds(
    Entry,
    id=st.sampled_from("123"),
    sha256=st.sampled_from([A, B]),
    package=st.sampled_from(["", "p"]),
    action=st.sampled_from(recalls.ACTIONS),
    severity=st.sampled_from(recalls.SEVERITIES),
)


def listed(serial: int = 1, *found: Entry, lifted: tuple[Lift, ...] = ()) -> RecallList:
    expires = (NOW + timedelta(days=30)).isoformat()
    return RecallList("store", serial, NOW.isoformat(), expires, tuple(found), lifted)


def test_what_was_signed_is_what_is_read() -> None:
    wanted = listed(7, Entry("1", A, reason="Ä leak"), lifted=(Lift("2", B, reason="fine"),))
    assert recalls.open_list(recalls.unpack(recalls.pack(recalls.sign(wanted, KEY))), [KEY.public_key()]) == wanted
    assert not wanted.stale(NOW)
    assert wanted.stale(NOW + timedelta(days=31))


def test_another_key_or_one_changed_byte_is_refused() -> None:
    envelope = recalls.sign(listed(1, Entry("1", A)), KEY)
    with pytest.raises(Invalid, match="not trusted"):
        recalls.open_list(envelope, [OTHER.public_key()])
    changed = envelope["payload"].replace(envelope["payload"][30], "A" if envelope["payload"][30] != "A" else "B", 1)
    with pytest.raises(Invalid):
        recalls.open_list({**envelope, "payload": changed}, [KEY.public_key()])


@pytest.mark.parametrize(
    "said",
    [
        {"format": 2}, {"serial": 0}, {"serial": True}, {"serial": "1"}, {"entries": None}, {"entries": [{}]},
        {"entries": [{"id": "1", "sha256": "x"}]}, {"entries": [{"id": "1", "sha256": A, "action": "explode"}]},
        {"lifted": [{"id": "1", "sha256": ""}]}, {"keys": "pem"}, {"keys": ["k"] * 9},
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(said: dict[str, Any]) -> None:
    payload = json.loads(listed().payload()) | said
    with pytest.raises(Invalid):
        recalls.parse(json.dumps(payload).encode())


@pytest.mark.parametrize("text", [None, "", "no base64!", b64encode(b"no zip").decode(), recalls.pack([])])  # type: ignore[arg-type]
def test_what_cannot_be_unpacked_is_refused(text: Any) -> None:
    with pytest.raises(Invalid):
        recalls.unpack(text)


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(TooLarge):
        recalls.unpack(b64encode(zlib.compress(b"0" * (recalls.LONGEST * 3))).decode())


def test_an_older_list_and_a_second_one_of_a_serial_are_refused() -> None:
    held = listed(5, Entry("1", A))
    recalls.insist_on_newer(held, held)
    for offered in (listed(4, Entry("1", A)), replace(held, entries=(*held.entries, Entry("2", B)))):
        with pytest.raises(Conflict):
            recalls.insist_on_newer(held, offered)


@given(st.lists(entries), st.lists(entries), st.sets(st.integers(0, 9)))
def test_a_newer_list_is_taken_exactly_when_it_loses_nothing(
    before: list[Entry], after: list[Entry], lift: set[int]
) -> None:
    lifted = tuple(Lift(*each.key) for at, each in enumerate(before) if at in lift)
    held, offered = listed(1, *before), listed(2, *after, lifted=lifted)
    kept = {each.key for each in (*after, *lifted)}
    if {each.key for each in before} <= kept:
        recalls.insist_on_newer(held, offered)
    else:
        with pytest.raises(Conflict, match="without lifting"):
            recalls.insist_on_newer(held, offered)


def test_a_lift_is_never_forgotten() -> None:
    held = listed(1, lifted=(Lift("1", A),))
    with pytest.raises(Conflict):
        recalls.insist_on_newer(held, listed(2))


@given(st.lists(entries))
def test_what_stops_goes_before_what_warns(found: list[Entry]) -> None:
    seen = recalls.match(found, package="p", sha256=A, chart="")
    about = [each for each in found if each.sha256 == A]
    assert (seen is None) == (not about)
    if seen is not None:
        assert seen in about
        assert (seen.action == recalls.STOP) == any(each.action == recalls.STOP for each in about)


def test_an_entry_about_one_release_is_about_nobody_elses_with_the_same_bytes() -> None:
    one, everybody = Entry("1", A, package="p"), Entry("2", A)
    assert recalls.match([one], package="p", sha256=A, chart="") == one
    assert recalls.match([one], package="q", sha256=A, chart="") is None
    assert recalls.match([one, everybody], package="q", sha256=A, chart="") == everybody


def test_the_chart_counts_only_where_the_package_is_not_known() -> None:
    entry = Entry("1", A, chart=B)
    assert recalls.match([entry], package="", sha256="", chart=B) == entry
    assert recalls.match([entry], package="p", sha256="c" * 64, chart=B) is None
    assert recalls.match([Entry("1", A)], package="", sha256="", chart="") is None
