"""The loop that makes things so."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mep.agent.backoff import pause
from mep.agent.reconciler import Reconciler
from tests.waiting import until


class Steps:
    """Steps that a test can hold up and count."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.at_once, self.most_at_once = 0, 0
        self.gate = threading.Event()
        self.gate.set()
        self.delay: float | None = None
        self._lock = threading.Lock()

    def step(self, key: str) -> float | None:
        with self._lock:
            self.calls.append(key)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if key == "slow":
            self.gate.wait(10)
        if key == "broken":
            raise RuntimeError("a bug")
        with self._lock:
            self.at_once -= 1
        return self.delay


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def loop(steps: Steps) -> Iterator[Reconciler]:
    made = Reconciler({"app": steps.step}, lambda kind, key: steps.step(f"{kind}!{key}"))
    made.start([])
    yield made
    steps.gate.set()
    made.stop()


def test_what_was_there_at_the_start_is_looked_at(steps: Steps) -> None:
    made = Reconciler({"app": steps.step}, lambda kind, key: steps.step(f"{kind}!{key}"))
    made.start([("app", "a"), ("other", "b")])
    until(lambda: sorted(steps.calls) == ["a", "other!b"])
    made.stop()


def test_a_slow_key_holds_up_no_other(steps: Steps, loop: Reconciler) -> None:
    steps.gate.clear()
    loop.wake(("app", "slow"))
    until(lambda: steps.calls == ["slow"])
    loop.wake(("app", "quick"))
    until(lambda: steps.calls == ["slow", "quick"])


def test_one_key_has_one_worker_and_no_change_is_missed(steps: Steps, loop: Reconciler) -> None:
    steps.gate.clear()
    loop.wake(("app", "slow"))
    until(lambda: steps.calls == ["slow"])
    for _ in range(5):
        loop.wake(("app", "slow"))
    steps.gate.set()
    until(lambda: steps.calls == ["slow", "slow"])
    assert steps.most_at_once == 1


def test_a_step_that_asks_to_come_back_does(steps: Steps, loop: Reconciler) -> None:
    steps.delay = 0.01
    loop.wake(("app", "a"))
    until(lambda: len(steps.calls) >= 3)


def test_a_wake_comes_before_a_later_appointment(steps: Steps, loop: Reconciler) -> None:
    loop.wake(("app", "a"), 60)
    loop.wake(("app", "a"))
    until(lambda: steps.calls == ["a"])


def test_a_broken_step_hurts_only_itself(steps: Steps, loop: Reconciler) -> None:
    loop.wake(("app", "broken"))
    loop.wake(("app", "fine"))
    until(lambda: "fine" in steps.calls and "broken" in steps.calls)


def test_stopping_waits_for_what_runs(steps: Steps) -> None:
    made = Reconciler({"app": steps.step}, lambda kind, key: None)
    made.start([])
    steps.gate.clear()
    made.wake(("app", "slow"))
    until(lambda: steps.at_once == 1)
    threading.Timer(0.1, steps.gate.set).start()
    began = time.monotonic()
    made.stop()
    assert steps.at_once == 0
    assert time.monotonic() - began < 5


@given(tries=some.integers(0, 1000), draw=some.floats(0, 1))
def test_a_pause_is_never_longer_than_its_bound(tries: int, draw: float) -> None:
    assert 0 <= pause(tries, draw=draw) <= min(30.0, 0.2 * 2 ** min(tries, 30))
    assert pause(tries, draw=1.0) >= pause(max(tries - 1, 0), draw=1.0)
