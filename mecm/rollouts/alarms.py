"""A rollout that stopped because nodes failed is an alarm until a person has decided, or it has ended by itself."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from mecm.fleet import services as fleet
from mecm.fleet.models import Severity
from mecm.fleet.words import say
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
    text = _("The rollout %(title)s stopped in wave %(wave)s: %(why)s")
    if state == Rollout.State.STOPPING:
        advice = (
            _("What it has changed is being rolled back. Look at the first nodes that failed meanwhile.")
            if back
            else _("What is under way ends; then it holds. Look at the first nodes that failed meanwhile.")
        )
    elif back:
        text = _("The rollout %(title)s could not bring everything back in wave %(wave)s: %(why)s")
        advice = _("Look at the nodes that could not be brought back; then try them again.")
    else:
        advice = _("Look at the nodes that failed; then try them again, go on in spite of them, or roll back.")
    fleet.raise_alarm(
        rollout.organisation_id,
        ROLLOUT,
        rollout.pk,
        STOPPED,
        severity=Severity.CRITICAL if back and state == Rollout.State.FAILED else Severity.MAJOR,
        text=say(text, title=rollout.title, wave=rollout.wave, why=rollout.why),
        advice=say(advice),
        source_name=rollout.title,
    )


def clear(rollout: Rollout) -> None:
    """Say that nobody has to look any more: a person decided, or it is over."""
    fleet.clear_alarm(rollout.organisation_id, ROLLOUT, rollout.pk, STOPPED)
