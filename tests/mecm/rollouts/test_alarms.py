"""A rollout that stopped raises an alarm, which stands until a person decided or the rollout ended by itself."""

from __future__ import annotations

from typing import Any

import pytest

from mecm.fleet.models import Alarm
from mecm.rollouts import services

pytestmark = pytest.mark.django_db


def standing() -> list[tuple[str, str]]:
    return list(Alarm.objects.standing().filter(source_kind="rollout").values_list("severity", "text"))


def test_a_held_rollout_is_an_alarm_until_somebody_decides(fleet: Any, roll: Any) -> None:
    world = fleet(3)
    rollout = world.steps(roll(world, waves=["1", "rest"]), 2)
    assert standing() == []
    world.report(rollout, "failed", reason="ImagePullBackOff")
    assert world.steps(rollout, 2).state == "failed"
    ((severity, text),) = standing()
    assert (severity, text) == ("major", f"The rollout {rollout.title} stopped in wave 1: {rollout.why}")
    services.retry(rollout, actor=world.actor)
    assert standing() == []
    world.steps(rollout)
    world.report(rollout, "failed")
    world.steps(rollout, 2)
    assert len(standing()) == 1
    services.resume(rollout, actor=world.actor)
    assert standing() == []
    world.steps(rollout, 2)
    world.report(rollout, "failed")
    world.steps(rollout, 2)
    services.abort(rollout, actor=world.actor)
    assert standing() == []
    assert world.steps(rollout, 2).state == "aborted"
    assert (standing(), Alarm.objects.filter(source_kind="rollout").count()) == ([], 1)


def test_a_rollout_that_rolls_back_by_its_rule_is_an_alarm_until_it_is_back(fleet: Any, roll: Any) -> None:
    world = fleet(2)
    rollout = world.steps(roll(world, waves=["rest"], on_stop="rollback"), 2)
    world.report(rollout, "failed", "n0")
    world.report(rollout, "ready", "n1")
    rollout = world.steps(rollout, 2)
    assert (rollout.state, rollout.goal, len(standing())) == ("stopping", "rollback", 1)
    world.report(rollout)
    assert world.steps(rollout, 3).state == "rolled-back"
    assert standing() == []


def test_what_could_not_be_brought_back_is_critical(fleet: Any, roll: Any) -> None:
    world = fleet(2)
    rollout = world.steps(roll(world, waves=["rest"], on_stop="rollback"), 2)
    world.report(rollout, "failed", "n0")
    world.report(rollout, "ready", "n1")
    world.steps(rollout, 2)
    world.report(rollout, "failed")
    assert world.steps(rollout, 3).state == "failed"
    ((severity, text),) = standing()
    assert severity == "critical"
    assert "could not bring everything back" in text
    services.retry(rollout, actor=world.actor)
    assert standing() == []
