"""What a rollout does next, for any plan and whatever nodes do: nothing here knows a database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from mecm.rollouts.deciding import Counts, Next, Plan, Seen, decide, read_waves, result, sizes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = ("done", "failed", "aborted", "rolled-back")


@dataclass
class World:
    """A rollout whose nodes do as they are told by a list of fates; it carries every decision out."""

    plan: Plan
    waves: list[list[str]]
    now: datetime = NOW
    changed: set[tuple[int, int]] = field(default_factory=set)
    most: int = 0

    def counts(self) -> dict[int, Counts]:
        found = {}
        for wave, places in enumerate(self.waves, start=1):
            number = {state: places.count(state) for state in set(places)}
            open_ones = [(wave, at) for at, state in enumerate(places) if state in ("going", "ready", "failed")]
            found[wave] = Counts(**number, changed=len(self.changed & set(open_ones)))
        return found

    def step(self) -> Next:
        chosen = decide(self.plan, self.counts(), self.now)
        if chosen.state == "stopping" and self.plan.state != "stopping" and chosen.goal == "rollback":
            self._each("waiting", "skipped", 10**6)
        self.plan = replace(
            self.plan, state=chosen.state, wave=chosen.wave, goal=chosen.goal, wave_ready_at=chosen.wave_ready_at
        )
        begun = self._each("waiting", "going", chosen.start, to=chosen.wave)
        self.changed |= begun
        self._give_back(chosen.give_back)
        under_way = sum(each.going + each.returning for each in self.counts().values())
        self.most = max(self.most, under_way)
        return chosen

    def _each(self, old: str, new: str, number: int, to: int = 10**6) -> set[tuple[int, int]]:
        done = set()
        for wave, places in enumerate(self.waves, start=1):
            for at, state in enumerate(places):
                if state == old and len(done) < number and wave <= to:
                    places[at] = new
                    done.add((wave, at))
        return done

    def _give_back(self, number: int) -> None:
        left = [(wave, at) for wave, at in self.changed if self.waves[wave - 1][at] in ("going", "ready", "failed")]
        for wave, at in sorted(left, key=lambda each: self.waves[each[0] - 1][each[1]] != "going")[:number]:
            self.waves[wave - 1][at] = "returning"

    def nodes(self, fates: st.DataObject) -> None:
        """Let some of the nodes under way end."""
        for places in self.waves:
            for at, state in enumerate(places):
                if state == "going":
                    places[at] = fates.draw(st.sampled_from(["going", "ready", "ready", "failed"]))
                elif state == "returning":
                    places[at] = fates.draw(st.sampled_from(["returning", "returned", "stuck"]))


plans = st.builds(
    Plan,
    state=st.just("running"),
    wave=st.just(0),
    waves=st.just(0),
    max_parallel=st.integers(1, 4),
    on_stop=st.sampled_from(["hold", "rollback"]),
    pause=st.sampled_from([None, 0, 5]),
    stop_over=st.sampled_from([None, 0, 1, 2]),
    stop_percent=st.sampled_from([None, 0, 30, 100]),
)
worlds = st.builds(
    lambda plan, shape: World(replace(plan, waves=len(shape)), [["waiting"] * size for size in shape]),
    plans,
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
)


@given(world=worlds, fates=st.data())
def test_whatever_nodes_do_the_rules_hold_and_it_ends(world: World, fates: st.DataObject) -> None:
    for _ in range(400):
        before, waves = world.plan, [list(places) for places in world.waves]
        said = fates.draw(st.sampled_from(["", "", "", "", "pause", "resume", "abort", "abort and roll back"]))
        if said == "pause" and before.state == "running":
            world.plan = replace(before, state="paused")
        elif before.state == "paused" and (said == "resume" or before.pause is None):
            world.plan = replace(before, state="running", approved=before.wave + 1)
        elif said.startswith("abort") and before.state in ("running", "paused"):
            goal = "rollback" if "roll" in said else "abort"
            world.plan = replace(before, state="stopping", goal=goal)
            world._each("waiting", "skipped", 10**6)
        told = world.plan
        chosen = world.step()

        assert world.most <= told.max_parallel, "never more under way than was allowed"
        if told.state != "running":
            assert not chosen.start, "nothing new while it is paused or stopping"
        if told.state in ("paused", *ENDED):
            assert chosen.state == told.state, "only a person goes on from here"
        if chosen.wave > told.wave:
            settled = {state for places in waves[: told.wave] for state in places}
            assert not settled & {"waiting", "going"}, "no next wave before this one has ended"
            assert chosen.wave == told.wave + 1
        if chosen.start or chosen.wave > told.wave:
            for places in waves[: told.wave]:
                failed = places.count("failed")
                assert told.stop_over is None or failed <= told.stop_over, "a stop rule that is hit stops"
                assert told.stop_percent is None or 100 * failed <= told.stop_percent * len(places)
        if told.goal == "abort":
            assert not chosen.give_back
        if chosen.state in ENDED:
            states = {state for places in world.waves for state in places}
            assert not states & {"going", "returning"}, "what is under way is watched to its end"
            assert chosen.state != "done" or "waiting" not in states
            assert chosen.state != "rolled-back" or not states & {"ready", "stuck", "failed"}
            return
        world.nodes(fates)
        world.now += timedelta(seconds=2)
    # Drawn pauses and slow nodes may use the steps up; told to go on, it ends.
    world.plan = replace(world.plan, state="stopping", goal=world.plan.goal or "abort")
    world._each("waiting", "skipped", 10**6)
    for _ in range(100):
        for places in world.waves:
            places[:] = [{"going": "ready", "returning": "returned"}.get(state, state) for state in places]
        if world.step().state in ENDED:
            return
    raise AssertionError("it does not end")


@given(waves=st.lists(st.sampled_from(["1", "3", "10%", "50%", "100%", "250"]), max_size=6), places=st.integers(0, 400))
def test_waves_are_all_places_each_once(waves: list[str], places: int) -> None:
    found = sizes(read_waves(waves), places)
    assert sum(found) == places
    assert all(size > 0 for size in found)


def test_the_usual_waves() -> None:
    assert sizes(read_waves(["1", "10 %", "rest"]), 200) == [1, 20, 179]
    assert sizes(["1", "10%", "rest"], 3) == [1, 1, 1]
    assert sizes(["rest"], 0) == []


@pytest.mark.parametrize("wrong", [["0"], ["x"], ["101%"], ["rest", "1"], ["-1"], ["1"] * 60, ["١"]])
def test_odd_waves_are_refused(wrong: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        read_waves(wrong)
    assert refused.value.context["field"] == "waves"


def test_a_pause_between_waves_is_kept_to_the_second() -> None:
    plan = Plan(state="running", wave=1, waves=2, max_parallel=5, pause=60)
    counts = {1: Counts(ready=1), 2: Counts(waiting=4)}
    first = decide(plan, counts, NOW)
    assert (first.wave, first.at) == (1, NOW + timedelta(seconds=60))
    later = replace(plan, wave_ready_at=first.wave_ready_at)
    assert decide(later, counts, NOW + timedelta(seconds=59)).wave == 1
    assert decide(later, counts, NOW + timedelta(seconds=60)).wave == 2


def ended(**seen: object) -> tuple[str, str] | None:
    found = result(
        state="going", generation=2, began_at=NOW, timeout=60, now=NOW + timedelta(seconds=30),
        seen=Seen(**{"generation": 2, "observed_generation": 2, **seen}),  # type: ignore[arg-type]
    )  # fmt: skip
    return (found.state, found.reason) if found else None


def test_ready_is_only_what_is_ready_for_the_generation_that_was_wished() -> None:
    assert ended(state="ready") == ("ready", "")
    assert ended(state="ready", observed_generation=1) is None
    assert ended(state="failed", observed_generation=1) is None
    assert ended(state="failed", reason="ImagePullBackOff") == ("failed", "ImagePullBackOff")
    assert ended(state="ready", generation=3, observed_generation=3) == ("failed", "overtaken")
    assert ended(state="removing", wish="absent") == ("failed", "removed")


def test_a_way_back_that_was_given_up_is_stuck_and_never_called_back() -> None:
    def back(state: str) -> str:
        found = result(
            state="returning", generation=None, began_at=NOW, timeout=60, now=NOW, leaves=True,
            seen=Seen(state=state, wish="absent", node_state="offline"),
        )  # fmt: skip
        return found.state if found else ""

    assert [back(state) for state in ("removing", "removed", "abandoned")] == ["", "returned", "stuck"]


def test_a_node_that_says_nothing_fails_in_time_and_it_is_said_why() -> None:
    found = result(
        state="going", generation=2, began_at=NOW, timeout=60, now=NOW + timedelta(seconds=60),
        seen=Seen(generation=2, state="pending", node_state="offline"),
    )  # fmt: skip
    assert found is not None
    assert found.reason == "timed-out"
    assert "The node is offline; it takes the wish when it is back." in found.message
