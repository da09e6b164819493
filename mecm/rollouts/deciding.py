"""What a rollout does next. Decisions only: no database, no network, and the time is handed in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.errors import Invalid
from core.words import say

#: More waves than this are no waves.
MOST_WAVES = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked of a rollout, and where it stands."""

    state: str
    wave: int
    waves: int
    max_parallel: int
    goal: str = ""
    on_stop: str = "hold"
    pause: int | None = 0
    approved: int = 1
    stop_over: int | None = 0
    stop_percent: int | None = None
    wave_ready_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many places of one wave are how far. `failed` are those that nobody has excused."""

    waiting: int = 0
    going: int = 0
    ready: int = 0
    failed: int = 0
    excused: int = 0
    skipped: int = 0
    returning: int = 0
    returned: int = 0
    stuck: int = 0
    #: Those that this rollout has changed and that are to go back when it rolls back.
    changed: int = 0

    @property
    def size(self) -> int:
        """How many places the wave has."""
        return (
            self.waiting + self.going + self.ready + self.failed + self.excused
            + self.skipped + self.returning + self.returned + self.stuck
        )  # fmt: skip

    @property
    def ended(self) -> int:
        """How many places have come to an end, good or bad."""
        return self.size - self.waiting - self.going - self.returning


@dataclass(frozen=True, slots=True)
class Next:
    """What to do now. `look_again` says whether there is anything to wait for, `at` when at the earliest."""

    state: str
    wave: int
    goal: str = ""
    start: int = 0
    give_back: int = 0
    why: str = ""
    wave_ready_at: datetime | None = None
    look_again: bool = False
    at: datetime | None = None


def decide(plan: Plan, counts: Mapping[int, Counts], now: datetime) -> Next:
    """Return what a rollout does next, from how far the places of each wave are.

    Never more than `max_parallel` under way, never a next wave before all that were begun have ended within the stop
    rule, nothing new while it is paused or stopping.
    """
    begun = [each for wave, each in counts.items() if 0 < wave <= plan.wave]
    going = sum(each.going for each in counts.values())
    returning = sum(each.returning for each in counts.values())
    if plan.state == "paused":
        return _same(plan, look_again=bool(going or returning))
    if plan.state == "stopping":
        return _stop(plan, counts, going, returning)
    if plan.state != "running":
        return _same(plan)
    if told := _hit(plan, counts):
        return Next("stopping", plan.wave, goal=plan.on_stop, why=told, look_again=True)
    waiting = sum(each.waiting for each in begun)
    if waiting or going:
        start = min(waiting, max(0, plan.max_parallel - going - returning))
        return Next("running", plan.wave, start=start, look_again=True)
    return _after_wave(plan, counts, now)


def _after_wave(plan: Plan, counts: Mapping[int, Counts], now: datetime) -> Next:
    """All that was begun has ended: finish, wait, or begin the next wave."""
    if plan.wave >= plan.waves:
        failed = sum(each.failed + each.excused for each in counts.values())
        of = sum(each.size for wave, each in counts.items() if wave)
        return Next(
            "done",
            plan.wave,
            why=say("{failed} of {of} failed; that was allowed.", failed=failed, of=of) if failed else "",
        )
    following = plan.wave + 1
    if plan.wave == 0:
        return Next("running", following, look_again=True)
    since = plan.wave_ready_at or now
    if plan.pause is None:
        if plan.approved >= following:
            return Next("running", following, look_again=True)
        return Next(
            "paused",
            plan.wave,
            why=say(
                "Wave {wave} is through. Wave {following} waits for a person.", wave=plan.wave, following=following
            ),
            wave_ready_at=since,
        )
    over = since + timedelta(seconds=plan.pause)
    if now >= over:
        return Next("running", following, look_again=True)
    return Next("running", plan.wave, wave_ready_at=since, look_again=True, at=over)


def _stop(plan: Plan, counts: Mapping[int, Counts], going: int, returning: int) -> Next:
    """Start nothing new; end once nothing is under way, or bring back what was changed."""
    if plan.goal != "rollback":
        if going:
            return _same(plan, look_again=True)
        ended = "aborted" if plan.goal == "abort" else "failed"
        return Next(ended, plan.wave)
    left = sum(each.changed for each in counts.values())
    if left or returning:
        # Those under way turn round in place, so they take no room of their own.
        return Next(
            "stopping", plan.wave, goal=plan.goal, give_back=min(left, max(0, plan.max_parallel - returning)),
            look_again=True,
        )  # fmt: skip
    stuck = sum(each.stuck for each in counts.values())
    if stuck:
        return Next("failed", plan.wave, goal=plan.goal, why=say("{stuck} could not be brought back.", stuck=stuck))
    return Next("rolled-back", plan.wave)


def _hit(plan: Plan, counts: Mapping[int, Counts]) -> str:
    """Return in words which stop rule was hit; nothing when none was."""
    for wave in sorted(counts):
        if not 0 < wave <= plan.wave:
            continue
        each = counts[wave]
        if plan.stop_over is not None and each.failed > plan.stop_over:
            allowed = say("at most {stop_over} may", stop_over=plan.stop_over) if plan.stop_over else say("none may")
            return say(
                "{failed} of {size} failed in wave {wave}; {allowed}.",
                failed=each.failed,
                size=each.size,
                wave=wave,
                allowed=allowed,
            )
        if plan.stop_percent is not None and 100 * each.failed > plan.stop_percent * each.size:
            return say(
                "{failed} of {size} failed in wave {wave}; at most {stop_percent} % may.",
                failed=each.failed,
                size=each.size,
                wave=wave,
                stop_percent=plan.stop_percent,
            )
    return ""


def _same(plan: Plan, *, look_again: bool = False) -> Next:
    return Next(plan.state, plan.wave, goal=plan.goal, wave_ready_at=plan.wave_ready_at, look_again=look_again)


# --- waves ------------------------------------------------------------------------------------------------------------
def read_waves(asked: Iterable[object]) -> list[str]:
    """Return the sizes as they are kept: `"3"`, `"10%"` or `"rest"`; the last is always the rest. `Invalid` otherwise."""
    told: list[str] = []
    for position, each in enumerate(asked):
        text = str(each).strip().lower().replace(" ", "")
        number = re.fullmatch(r"([0-9]{1,6})(%?)", text)
        if text != "rest" and (number is None or int(number[1]) < 1 or (number[2] and int(number[1]) > 100)):
            raise Invalid(
                say(
                    "Wave {position} must be a number of nodes, a share such as 10 %, or “rest”.", position=position + 1
                ),
                field="waves",
            )
        if told and told[-1] == "rest":
            raise Invalid(say("After “rest” nothing is left for another wave."), field="waves")
        told.append(text if number is None else f"{int(number[1])}{number[2]}")
    if not told or told[-1] != "rest":
        told.append("rest")
    if len(told) > MOST_WAVES:
        raise Invalid(say("More than {most_waves} waves are no waves.", most_waves=MOST_WAVES), field="waves")
    return told


def sizes(waves: Sequence[str], places: int) -> list[int]:
    """Return how many places each wave has. A share is of all places, rounded up; waves with nothing left fall away.

    What is asked for beyond the number of places is not there; together they are all places.
    """
    found: list[int] = []
    left = places
    for each in waves:
        wanted = left if each == "rest" else -(-places * int(each[:-1]) // 100) if each.endswith("%") else int(each)
        taken = min(left, wanted)
        if taken:
            found.append(taken)
            left -= taken
    if left:
        found.append(left)
    return found


# --- one place --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Seen:
    """What the centre knows of the deployment of a place; `gone` when its row is removed or was never made."""

    generation: int = 0
    observed_generation: int = 0
    state: str = ""
    wish: str = "present"
    reason: str = ""
    message: str = ""
    node_state: str = "online"
    workloads: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a place under way."""

    state: str
    reason: str = ""
    message: str = ""


def result(
    *, state: str, generation: int | None, began_at: datetime | None, timeout: int, seen: Seen, now: datetime,
    leaves: bool = False,
) -> Result | None:  # fmt: skip
    """Return how a place under way ended; None while it has not. `leaves` when the way back is to be gone.

    Ready is only what is ready for the very generation that this rollout wished.
    """
    forth = state == "going"
    good, bad = ("ready", "failed") if forth else ("returned", "stuck")
    if leaves and seen.state == "removed":
        return Result(good)
    if leaves and seen.state == "abandoned":
        return Result(bad, "abandoned", say("It was given up, because its node is away; it may go on running there."))
    if not leaves:
        if seen.wish == "absent":
            return Result(bad, "removed", say("It was removed meanwhile."))
        if generation is None or seen.generation > generation:
            return Result(
                bad,
                "overtaken",
                say(
                    "Somebody made generation {generation} of it meanwhile; this rollout leaves it.",
                    generation=seen.generation,
                ),
            )
        current = seen.observed_generation == generation
        if current and seen.state == "ready":
            return Result(good)
        if current and seen.state == "failed":
            return Result(bad, seen.reason or "failed", seen.message)
    if began_at is not None and now >= began_at + timedelta(seconds=timeout):
        what = "gone" if leaves else "ready"
        told = say("It was not {what} within {timeout} s.", what=what, timeout=timeout)
        if seen.node_state != "online":
            told += f" The node is {seen.node_state}; it takes the wish when it is back."
        elif seen.message:
            told += f" {seen.message}"
        return Result(bad, "timed-out", told)
    return None
