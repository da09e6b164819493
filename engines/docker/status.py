"""From a pod's containers, their fates and their probes to the state of the pod. A pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engines.contract import Reason
from engines.docker.decide import starts_again
from engines.docker.seen import Exit, Fate, Health, Pod
from engines.pods.status import HARD, RANK, PodState
from engines.pods.wanted import PodTemplate


def pod_state(
    template: PodTemplate,
    pod: Pod,
    exits: Mapping[str, Exit],
    fates: Callable[[str], Fate],
    health: Callable[[str], Health | None],
) -> PodState:
    """Judge one pod."""
    ready, known, ended, failed = True, True, 0, False
    reasons: list[tuple[Reason, str]] = []
    restarts = 0
    for container in (*template.init, *template.containers):
        fate = fates(container.name)
        restarts += fate.restarts
        seen = pod.members.get(container.name)
        if fate.reason is not Reason.NONE and (fate.waiting or seen is None or seen.state != "running"):
            reasons.append((_named(fate), f"{container.name}: {fate.message}"))
    for container in template.containers:
        seen = pod.members.get(container.name)
        exit_ = exits.get(seen.id) if seen else None
        if (
            seen is not None
            and seen.state in {"exited", "dead"}
            and exit_
            and not starts_again(template.restart, exit_)
        ):
            ended += exit_.code == 0
            failed = failed or exit_.code != 0
            ready = False
            continue
        if seen is None or seen.state != "running":
            ready = False
            # Just exited and not yet learnt about, or not yet made: an old pod in that state serves nobody.
            known = known and seen is not None and seen.state == "exited"
            continue
        told = health(seen.id)
        if told is None:
            ready = known = False
            continue
        ready, known = ready and told.ready, known and told.known
        fate = fates(container.name)
        if not told.ready and told.known:
            named = Reason.OOM_KILLED if fate.reason is Reason.OOM_KILLED else Reason.PROBE_FAILING
            reasons.append((named, f"{container.name}: {told.message or fate.message}"))
        elif not told.ready and fate.reason in HARD:
            reasons.append((_named(fate), f"{container.name}: {fate.message}"))
        elif not told.ready and told.message:
            reasons.append((Reason.STARTING, f"{container.name}: {told.message}"))
    if not (pod.holder and pod.holder.state == "running"):
        ready = False
    reason, message = min(reasons, key=lambda pair: RANK.index(pair[0]), default=(Reason.STARTING, ""))
    completed = ended == len(template.containers)
    if ready or completed:
        reason, message = Reason.NONE, ""
    return PodState(ready, known or reason in HARD, reason, message, restarts, completed, failed)


def _named(fate: Fate) -> Reason:
    # One crash is no loop yet.
    if fate.reason is Reason.CRASH_LOOP and not fate.waiting and fate.restarts < 2:
        return Reason.STARTING
    return fate.reason
