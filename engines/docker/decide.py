"""What a pod's next step is: a pure function of what is there and what is known; nothing here touches anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engines.docker.seen import Exit, Fate, Pod
from engines.pods.wanted import Container, PodTemplate


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do for a pod: hold, rebuild, create, start, learn (how a container ended), restart."""

    verb: str
    container: str = ""


def next_steps(
    template: PodTemplate,
    pod: Pod,
    exits: Mapping[str, Exit],
    fates: Callable[[str], Fate],
    now: float,
    most_restarts: int | None = None,
) -> list[Step]:
    """Return what can be done for a pod at once; nothing when all is well, it must wait, or it had its chances."""
    if pod.holder is None:
        return [Step("rebuild" if pod.members else "hold")]
    if pod.holder.state == "created":
        return [Step("hold")]
    if pod.holder.state != "running":
        return [Step("rebuild")]
    for container in template.init:
        seen = pod.members.get(container.name)
        ended = exits.get(seen.id) if seen else None
        if seen is not None and ended is not None and ended.code == 0:
            continue
        if seen is not None and _gone_by(template, pod) and seen.state == "exited":
            continue
        step = _step(container, pod, exits, fates(container.name), now, _init_policy(template.restart), most_restarts)
        return [step] if step else []
    steps = [
        _step(each, pod, exits, fates(each.name), now, template.restart, most_restarts) for each in template.containers
    ]
    return [step for step in steps if step]


def _gone_by(template: PodTemplate, pod: Pod) -> bool:
    """Return whether the main containers were started already: then the init containers have done their work."""
    return any(each.name in pod.members and pod.members[each.name].state != "created" for each in template.containers)


def _init_policy(restart: str) -> str:
    return "Never" if restart == "Never" else "OnFailure"


def _step(
    container: Container, pod: Pod, exits: Mapping[str, Exit], fate: Fate, now: float, policy: str, most: int | None
) -> Step | None:
    seen = pod.members.get(container.name)
    if seen is None:
        return Step("create", container.name) if now >= fate.due else None
    if seen.state == "created":
        return Step("start", container.name) if now >= fate.due else None
    if seen.state not in {"exited", "dead"}:
        return None
    ended = exits.get(seen.id)
    if ended is None:
        return Step("learn", container.name)
    if not starts_again(policy, ended) or now < fate.due:
        return None
    if most is not None and fate.restarts >= most:
        return None
    return Step("restart", container.name)


def starts_again(policy: str, ended: Exit) -> bool:
    """Return whether a container that ended so is started again under this restart policy."""
    return policy == "Always" or (policy == "OnFailure" and ended.code != 0)


def pause_before_restart(level: int, first: float, longest: float = 300.0) -> float:
    """Return the seconds to wait before restart number `level` (from 0): none, then doubling, as Kubernetes does."""
    return 0.0 if level <= 0 else min(longest, first * 2.0 ** min(level - 1, 30))
