"""What adapters keep between two starts, and how patient they are."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid, Unavailable
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.ledger import Ledger
from upf_adapter.routing import Route, route_for
from upf_adapter.setbacks import Setbacks


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    ledger = Ledger(str(path))
    ledger.put("a", {"n": 1})
    ledger.put("b", None)
    ledger.put("a", {"n": 2})
    ledger.put("c", 3)
    ledger.drop("c")
    ledger.drop("never")
    assert Ledger(str(path)).facts == {"a": {"n": 2}, "b": None}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_a_crash_tore_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    ledger = Ledger(str(path))
    ledger.put("a", 1)
    ledger.put("b", 2)
    path.write_bytes(path.read_bytes()[:-3] + b"")
    torn = Ledger(str(path))
    assert torn.facts == {"a": 1}
    torn.put("c", 3)
    assert Ledger(str(path)).facts == {"a": 1, "c": 3}
    path.write_bytes(b'\xff\xff\n[1, 2]\n{}\n["k", 1, 2]\n["good", 1]\n[\n')
    again = Ledger(str(path))
    again.put("more", 2)
    assert Ledger(str(path)).facts == {"good": 1, "more": 2}


def test_opening_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    Ledger(str(path))
    assert not path.exists()
    text = '["a", 1]\n["a", 2]\nnonsense\n["b", "text"]\n["b"'
    path.write_text(text)
    assert Ledger(str(path)).keep(int) == {"a": 2}
    assert path.read_text() == text


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    ledger = Ledger(str(path), slack=10)
    for number in range(60):
        ledger.put("a", number)
    assert len(path.read_text().splitlines()) < 20
    assert Ledger(str(path)).facts == {"a": 59}


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        Ledger(str(tmp_path))
    with pytest.raises(Unavailable, match="cannot be written"):
        Ledger(str(tmp_path / "nowhere" / "facts")).put("a", 1)
    ledger = Ledger(str(tmp_path / "later" / "facts"))
    with pytest.raises(Unavailable):
        ledger.put("a", 1)
    (tmp_path / "later").mkdir()
    ledger.put("a", 1)
    assert Ledger(str(tmp_path / "later" / "facts")).facts == {"a": 1}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_up_to_the_longest_and_start_anew_after_a_good_time() -> None:
    clock = Clock()
    setbacks = Setbacks(1.0, 8.0, clock)
    pauses = []
    for _ in range(6):
        setbacks.note("r", "The PCF ended the session")
        began = clock.now
        with pytest.raises(Unavailable, match="The PCF ended the session; tried again in"):
            setbacks.check("r")
        while True:
            try:
                setbacks.check("r")
                break
            except Unavailable:
                clock.now += 0.5
        pauses.append(clock.now - began)
    assert pauses == [1, 2, 4, 8, 8, 8]
    clock.now += 20
    setbacks.note("r", "again")
    clock.now += 1
    setbacks.check("r")
    setbacks.check("another")


def test_a_rule_that_is_not_wanted_any_more_is_forgotten() -> None:
    setbacks = Setbacks(1.0, 8.0, Clock())
    setbacks.note("r", "x")
    setbacks.forget("r")
    setbacks.check("r")


ROUTES = [
    Route(destination="10.0.0.0/8", dnai="wide", profile="p"),
    Route(destination="10.60.0.0/24", dnai="narrow", address="203.0.113.1", port=2152),
    Route(destination="2001:db8::/32", dnai="six", address="2001:db8::1", port=1),
]


def to(address: str) -> TrafficRule:
    return TrafficRule(
        "r", "FLOW", 1, ({},), "FORWARD_DECAPSULATED", ({"interfaceType": "IP", "dstIpAddress": address},)
    )


def test_the_narrowest_route_that_fits_is_taken() -> None:
    assert route_for(to("10.60.0.9"), ROUTES, "nef").location() == {
        "dnai": "narrow", "routeInfo": {"ipv4Addr": "203.0.113.1", "portNumber": 2152},
    }  # fmt: skip
    assert route_for(to("10.61.0.9"), ROUTES, "nef").location() == {"dnai": "wide", "routeProfId": "p"}
    assert route_for(to("2001:db8::9"), ROUTES, "nef").location()["routeInfo"]["ipv6Addr"] == "2001:db8::1"


def test_a_destination_without_a_route_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(
        Refused, match=r"no DNAI set for the destination 192\.0\.2\.1.*a destination in 10\.0\.0\.0/8, 10\.60"
    ):
        route_for(to("192.0.2.1"), ROUTES, "nef")
    with pytest.raises(Invalid, match="is no address"):
        route_for(to(""), ROUTES, "nef")


@settings(max_examples=10)  # each line is waited for until it is on the disk
@given(
    st.dictionaries(
        st.text(max_size=3),
        st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=3), st.lists),
        max_size=4,
    )
)
def test_any_json_is_kept(tmp_path_factory: pytest.TempPathFactory, facts: dict[str, object]) -> None:
    path = str(tmp_path_factory.mktemp("ledger") / "facts")
    ledger = Ledger(path)
    for key, fact in facts.items():
        ledger.put(key, fact)
    assert Ledger(path).facts == facts
