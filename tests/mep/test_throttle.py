"""Limits: how much one app may ask, how often anybody may guess a secret, and what is said to who has to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mep.mp1 import throttle, tokens
from mep.mp1.models import App
from mep.mp1.throttle import Buckets, Guesses
from tests.mep.conftest import Mp1, service
from tests.mep.test_service_mgmt import problem
from tests.mep.test_tokens import GRANT, ask
from tests.mep.whole import Whole

SERVICES = "/mec_service_mgmt/v1/services"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Hand a clock to the limits of this process."""
    made = Clock()
    for buckets in (throttle.apps, throttle.guesses.per_client, throttle.guesses.per_source):
        monkeypatch.setattr(buckets, "_clock", made)
    throttle.forget()
    yield made
    monkeypatch.undo()
    throttle.forget()


@pytest.fixture
def whole(transactional_db: None) -> Iterator[Whole]:
    with Whole() as made:
        yield made


# --- the buckets ---------------------------------------------------------------------------------------------------------


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5)), max_size=120),
    begin=st.floats(0, 1e6),
)
def test_in_no_stretch_of_time_more_passes_than_the_burst_and_the_rate_allow(
    rate: float, burst: int, pauses: list[float], begin: float
) -> None:
    clock = Clock(begin)
    buckets = Buckets(rate, burst, clock)
    passed = []
    for pause in pauses:
        clock.now += pause
        if not buckets.take("app"):
            passed.append(clock.now)
    for first, at in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - at) * rate + 1e-3
    # And nobody waits who has not used up the burst.
    assert len(passed) >= min(burst, len(pauses))


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 20), asked=st.integers(0, 60))
def test_who_waits_as_long_as_told_gets_through_and_who_comes_earlier_does_not(
    rate: float, burst: int, asked: int
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    for _ in range(asked):
        buckets.take("app")
    wait = buckets.take("app")
    assert (wait == 0) == (asked < burst)
    if wait:
        clock.now += wait * 0.9
        assert buckets.take("app")
        clock.now += wait * 0.1 + 1e-6
        assert not buckets.take("app")


def test_askers_do_not_share_a_bucket_and_refusals_cost_nothing() -> None:
    clock = Clock()
    buckets = Buckets(1, 2, clock)
    assert [bool(buckets.take("a")) for _ in range(50)] == [False, False] + [True] * 48
    assert buckets.take("b") == 0
    clock.now += 1
    assert buckets.take("a") == 0, "48 refusals have not made it longer"


def test_a_rate_of_zero_is_no_limit() -> None:
    buckets = Buckets(0, 1, Clock())
    assert not any(buckets.take("a") for _ in range(1000))
    assert len(buckets) == 0


def test_made_up_askers_fill_no_memory_and_do_not_free_who_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "LIMIT", 100)
    clock = Clock()
    buckets = Buckets(1, 5, clock)
    while not buckets.take("guesser"):
        pass
    for number in range(10_000):
        buckets.take(f"made up {number}")
        assert len(buckets) <= 100
    assert buckets.take("guesser") > 0


@pytest.mark.parametrize(
    ("one", "other", "same_source"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "nonsense", True),
    ],
)
def test_a_source_is_an_address_or_the_network_of_which_one_host_has_all(
    one: str, other: str, same_source: bool
) -> None:
    assert (throttle.source(one) == throttle.source(other)) == same_source


def test_guesses_are_counted_for_the_client_and_for_the_source() -> None:
    clock = Clock()
    guesses = Guesses(10, clock)
    for _ in range(10):
        guesses.check("10.0.0.1", "a")
        guesses.failed("10.0.0.1", "a")
    with pytest.raises(throttle.Throttled, match="come back in 6 s"):
        guesses.check("10.0.0.1", "a")
    guesses.check("10.0.0.1", "b")
    guesses.check("10.0.0.2", "a")
    for number in range(90):
        guesses.failed("10.0.0.1", f"client {number}")
    with pytest.raises(throttle.Throttled):
        guesses.check("10.0.0.1", "b")
    guesses.check("10.0.0.2", "b")


# --- what an app is told ---------------------------------------------------------------------------------------------------


def test_an_app_that_asks_too_much_is_told_when_to_come_back(app: Mp1, neighbour: Mp1, clock: Clock) -> None:
    throttle.apps.configure(rate=0.5, burst=3)
    assert [app.get(SERVICES).status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = app.post("/mec_service_mgmt/v1/applications/{app}/services", service())
    body = problem(answer, 429)
    assert answer["Retry-After"] == "2"
    assert body["retry_after"] == 2
    assert "come back in 2 s" in body["detail"]
    assert body["retryable"] is True
    assert neighbour.get(SERVICES).status_code == 200, "others do not suffer"
    clock.now += 2
    assert app.get(SERVICES).status_code == 200
    assert app.get(SERVICES).status_code == 429


def test_nobody_is_counted_for_what_others_send_in_their_name(app: Mp1, clock: Clock) -> None:
    throttle.apps.configure(rate=0.5, burst=2)
    forged = Mp1("app-1", app.token[:-6] + "AAAAAA")
    stolen = Mp1("app-1", tokens.issue(App.objects.get(), certificate="A" * 43))
    for stranger in (forged, stolen):
        assert {stranger.get(SERVICES).status_code for _ in range(5)} == {401}
    assert app.get(SERVICES).status_code == 200


def test_the_fast_path_counts_as_the_view_does_and_refuses_in_the_same_words(
    whole: Whole, app: Mp1, neighbour: Mp1, clock: Clock
) -> None:
    throttle.apps.configure(rate=0.5, burst=4)
    tag = whole.get(SERVICES, app.token).header("etag")
    assert whole.get(SERVICES, app.token, if_none_match=tag).status == 304
    assert whole.get(f"{SERVICES}?color=red", app.token).status == 400, "counted once, although two looked"
    assert app.get(SERVICES).status_code == 200
    for path in (SERVICES, f"{SERVICES}?ser_name=new", f"{SERVICES}?ser_name=a"):
        assert whole.quick(path, app.token)
        quick, view = whole.get(path, app.token), whole.view(path, app.token)
        assert quick == view
        assert (quick.status, quick.header("retry-after")) == (429, "2")
    assert whole.get(SERVICES, neighbour.token).status == 200
    clock.now += 2
    assert whole.get(SERVICES, app.token).status == 200
    assert whole.view(SERVICES, app.token).status == 429


# --- guessing --------------------------------------------------------------------------------------------------------------


def test_who_guesses_secrets_has_to_wait_and_right_ones_do_not_count(
    provision: Callable[..., Any], settings: Any, clock: Clock
) -> None:
    known = provision()
    for _ in range(20):
        assert ask(GRANT, known.client_id, known.client_secret).status_code == 200
    for client_id in (known.client_id, "nobody"):
        told = [ask(GRANT, client_id, f"guess {number}") for number in range(settings.TOKEN_FAILURES + 1)]
        assert [answer.status_code for answer in told] == [401] * settings.TOKEN_FAILURES + [429]
        assert "failed token requests" in problem(told[-1], 429)["detail"]
        assert told[-1]["Retry-After"] == "6"
    assert ask(GRANT, known.client_id, known.client_secret).status_code == 429, "or the guess would not be slowed down"
    clock.now += 6
    assert ask(GRANT, known.client_id, known.client_secret).status_code == 200


def test_tokens_are_issued_within_the_limits_of_the_app(provision: Callable[..., Any], clock: Clock) -> None:
    known = provision()
    throttle.apps.configure(rate=0.1, burst=2)
    answers = [ask(GRANT, known.client_id, known.client_secret) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1]["Retry-After"] == "10"
