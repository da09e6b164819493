"""How a trial reaches its node: by commands over the edge link, or directly where the centre drives the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import engines.trials as trials
from core.errors import BreakwaterError, Conflict, Invalid, TimedOut
from core.words import say
from engines.trial_mep import instance_of
from mecm.deployments import direct
from mecm.deployments.mm5 import Mm5
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.trials import services
from mecm.trials.models import Trial

#: Seconds between two looks for an answer: one cheap query each.
EVERY = 0.05

Clock = Callable[[], float]
Sleep = Callable[[float], None]


class Hand(Protocol):
    """Does one deed on the node and returns what came of it; errors are ours."""

    def do(self, deployment: Deployment, verb: str, *, within: float, **arguments: Any) -> dict[str, Any]:
        """Wait at most `within` seconds; `TimedOut` when the node does not answer, `Conflict` when it will not."""


class Agent:
    """A node behind its agent. The answer comes when the node has its link: a command survives a cut."""

    def __init__(self, trial: Trial, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
        self.trial, self.clock, self.sleep = trial, clock, sleep

    def do(self, deployment: Deployment, verb: str, *, within: float, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        number = services.command(self.trial, verb, deployment, within=within, **arguments)
        deadline = self.clock() + within
        while (told := services.answer(self.trial, number)) is None:
            if self.clock() > deadline:
                raise TimedOut(
                    say(
                        "{name} did not answer to {verb} within {within} s",
                        name=self.trial.node.name,
                        verb=repr(verb),
                        within=format(within, "g"),
                    )
                )
            self.sleep(EVERY)
        if "problem" in told and "code" in told:
            raise Conflict(f"{self.trial.node.name}: {told['problem']}")
        return told


class Direct:
    """A cluster that the centre drives itself. There is no link that could be cut, and no resolver to be asked."""

    def __init__(self, trial: Trial, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
        self.trial, self.clock, self.sleep = trial, clock, sleep

    def do(self, deployment: Deployment, verb: str, *, within: float, **arguments: Any) -> dict[str, Any]:
        """Do it now, in this process."""
        with direct.applier_for(self.trial.node) as applier:
            engine, mep = applier.engine, applier.mep
            name, namespace = deployment.name, deployment.namespace
            match verb:
                case "state":
                    return trials.status_of(engine, name, namespace)
                case "usage":
                    return {"containers": [each.as_dict() for each in trials.of(engine).usage(name, namespace)]}
                case "request":
                    return trials.of(engine).ask(name, namespace, trials.Request.read(arguments))
                case "kill":
                    before = trials.status_of(engine, name, namespace)
                    return {"before": before, "killed": trials.of(engine).kill(name, namespace)}
                case "logs":
                    found = engine.logs(name, namespace, tail=int(arguments.get("lines", 200)))
                    return {"lines": [f"{each.container}: {each.text}" for each in found]}
                case "mep":
                    return self._mep(mep, deployment)
                case "leftovers":
                    left = trials.of(engine).leftovers(name, namespace)
                    return {"left": [*left, *self._held_by(mep, deployment)]}
                case "goodbye":
                    return self._goodbye(mep, deployment, float(arguments.get("grace", 10.0)))
                case "cut":
                    raise Conflict(say("The centre drives this cluster itself: there is no link that could be cut."))
        raise Invalid(say("There is no command {verb}", verb=repr(verb)))

    def _mep(self, mep: Any, deployment: Deployment) -> dict[str, Any]:
        if not isinstance(mep, Mm5):
            raise Conflict(
                say(
                    "No MEP was set for {name}, so nothing can be told of services and rules.",
                    name=self.trial.node.name,
                )
            )
        return instance_of(mep.state(), str(deployment.app_instance_id))

    def _held_by(self, mep: Any, deployment: Deployment) -> list[str]:
        if not isinstance(mep, Mm5):
            return []
        told = instance_of(mep.state(), str(deployment.app_instance_id))
        return [
            *(["Mp1 knows the instance"] if told["app"] else []),
            *(f"service {each.get('serName')}" for each in told["services"]),
            *(f"DNS rule {each.get('dnsRuleId')}" for each in told["dns_rules"]),
            *(f"traffic rule {each.get('trafficRuleId')}" for each in told["traffic_rules"]),
        ]

    def _goodbye(self, mep: Any, deployment: Deployment, grace: float) -> dict[str, Any]:
        """Announce the termination over Mm5 and watch the instance, as often as is polite."""
        before = self._mep(mep, deployment)
        instance, began = str(deployment.app_instance_id), self.clock()
        listening = any("Termination" in str(each.get("subscriptionType")) for each in before["subscriptions"])
        delivered = _delivered(before)
        told: dict[str, Any] = {
            "known": before["app"] is not None,
            "was_ready": _state(before) == "READY",
            "listening": listening,
            "notified": False,
            "confirmed": False,
            "grace": grace,
            "delivery_error": "",
        }
        mep.terminate(instance, grace)
        deadline = None
        while True:
            now = self._mep(mep, deployment)
            seconds = self.clock() - began
            deadline = (now["app"] or {}).get("terminationDeadline") or deadline
            told["notified"] = told["notified"] or _delivered(now) > delivered
            if _state(now) != "TERMINATING" or seconds > grace:
                told["confirmed"] = (
                    listening and _state(now) == "TERMINATED" and in_time(now, deadline, seconds < grace)
                )
                told["notified"] = told["notified"] or told["confirmed"]
                return {**told, "seconds": round(seconds, 2)}
            self.sleep(0.2)


def hand_of(trial: Trial) -> Hand:
    """Return how the trial's node is reached."""
    return Direct(trial) if trial.node.link == Node.Link.DIRECT else Agent(trial)


def trouble(problem: BreakwaterError) -> dict[str, Any]:
    """Return an error as an answer."""
    return {"problem": problem.detail}


def _state(told: Mapping[str, Any]) -> str:
    return str((told["app"] or {}).get("state", ""))


def in_time(told: Mapping[str, Any], deadline: Any, seen_in_time: bool) -> bool:
    """Return whether the application confirmed in time by the MEP's own clock, however late anybody looked.

    `deadline` is None when it had confirmed before the first look. Of a MEP that does not tell we know what we saw.
    """
    app = told["app"] or {}
    at = app.get("terminationConfirmedAt")
    if isinstance(at, int | float):
        return not isinstance(deadline, int | float) or at <= deadline
    return "terminationConfirmedAt" not in app and seen_in_time


def _delivered(told: Mapping[str, Any]) -> int:
    return sum(int(each.get("delivered") or 0) for each in told["subscriptions"])
