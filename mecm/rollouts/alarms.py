"""A rollout that stopped because nodes failed is an alarm until a person has decided, or it has ended by itself."""

from __future__ import annotations

from mecm.fleet import services as fleet
from mecm.fleet.models import Severity
from mecm.rollouts.models import Rollout

#: Source kind and cause.
ROLLOUT, STOPPED = "rollout", "rollout-stopped"


def after_step(rollout: Rollout) -> None:
    """Raise or clear the alarm of a rollout whose state was just changed by a step, in the caller's transaction."""
    state, goal = rollout.state, rollout.goal
    if state not in (Rollout.State.FAILED, Rollout.State.STOPPING):
        clear(rollout)
        return
    back = goal == Rollout.Goal.ROLLBACK
    if state == Rollout.State.STOPPING:
        going_on = "What it has changed is being rolled back." if back else "What is under way ends; then it holds."
        advice = f"{going_on} Look at the first nodes that failed meanwhile."
    elif back:
        advice = "Look at the nodes that could not be brought back; then try them again."
    else:
        advice = "Look at the nodes that failed; then try them again, go on in spite of them, or roll back."
    did = "could not bring everything back" if back and state == Rollout.State.FAILED else "stopped"
    fleet.raise_alarm(
        rollout.organisation_id,
        ROLLOUT,
        rollout.pk,
        STOPPED,
        severity=Severity.CRITICAL if back and state == Rollout.State.FAILED else Severity.MAJOR,
        text=f"The rollout {rollout.title} {did} in wave {rollout.wave}: {rollout.why}",
        advice=advice,
        source_name=rollout.title,
    )


def clear(rollout: Rollout) -> None:
    """Say that nobody has to look any more: a person decided, or it is over."""
    fleet.clear_alarm(rollout.organisation_id, ROLLOUT, rollout.pk, STOPPED)
