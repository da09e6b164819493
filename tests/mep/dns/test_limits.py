"""A source that asks too much is told to come over TCP, or hears nothing; others do not notice."""

from __future__ import annotations

import ipaddress

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mep.dns import limits
from mep.dns.backends.contract import RecordSet
from mep.dns.limits import Limits
from mep.dns.responder import Responder
from mep.dns.table import Table

EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
QUERY = dns.message.make_query("x.example", "A").to_wire()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def responder(clock: Clock, rate: float = 10, burst: float = 20, networks: object = EVERYWHERE) -> Responder:
    table = Table([RecordSet("x.example", "A", 30, ("10.0.0.1",))])
    return Responder(networks, forwards=False, table=table, limits=Limits(rate, burst, clock))  # type: ignore[arg-type]


def ask(made: Responder, source: str = "10.0.0.1", *, udp: bool = True) -> str:
    data = made.reply(QUERY, source, udp=udp)
    if data is None:
        return "silence"
    assert isinstance(data, bytes)
    answer = dns.message.from_wire(data)
    assert len(data) <= len(QUERY) or answer.answer, "nothing to amplify"
    return "truncated" if answer.flags & dns.flags.TC else "answer" if answer.answer else "nothing"


def test_beyond_the_burst_every_second_query_is_sent_to_tcp() -> None:
    made = responder(Clock())
    assert [ask(made) for _ in range(20)] == ["answer"] * 20
    assert [ask(made) for _ in range(4)] == ["silence", "truncated"] * 2
    assert ask(made, udp=False) == "answer", "TCP proves the address and is not limited"
    assert ask(made, "10.0.0.2") == "answer", "others do not notice"


def test_time_brings_answers_back_even_for_a_source_that_never_pauses() -> None:
    clock = Clock()
    made = responder(clock)
    for _ in range(20):
        ask(made)
    got = 0
    for _ in range(1000):
        clock.now += 0.01
        got += ask(made) == "answer"
    assert 98 <= got <= 102, "ten seconds at ten a second"


@given(st.lists(st.floats(0, 3), max_size=60))
def test_never_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    clock = Clock()
    made = responder(clock, rate=5, burst=8)
    got = 0
    for pause in pauses:
        clock.now += pause
        got += sum(ask(made) == "answer" for _ in range(4))
    # A bucket that was left alone may be full twice: once when it was last looked at, and once now.
    assert got <= 2 * 8 + 5 * sum(pauses) + 1


def test_an_ipv6_subscriber_has_one_bucket_for_all_its_addresses() -> None:
    made = responder(Clock())
    assert [ask(made, f"2001:db8::{number:x}") for number in range(1, 21)] == ["answer"] * 20
    assert ask(made, "2001:db8::ffff") == "silence"
    assert ask(made, "2001:db8:0:1::1") == "answer"


def test_strangers_are_refused_and_soon_not_even_that() -> None:
    made = responder(Clock(), networks=(ipaddress.ip_network("10.0.0.0/8"),))
    assert [ask(made, "192.0.2.1") for _ in range(22)] == ["nothing"] * 20 + ["silence"] * 2


def test_no_rate_is_no_limit() -> None:
    made = responder(Clock(), rate=0)
    assert {ask(made) for _ in range(5000)} == {"answer"}


def test_what_is_remembered_about_sources_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST", 64)
    monkeypatch.setattr("mep.dns.responder.MOST", 64)
    made = responder(Clock())
    for number in range(1000):
        assert ask(made, f"10.0.{number // 250}.{number % 250}") == "answer"
        assert ask(made, f"2001:db8:0:{number:x}::1") == "answer"
        assert len(made._clients) <= 64
        assert len(made._limits._networks) <= 64
