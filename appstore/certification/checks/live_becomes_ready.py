"""Check `live-becomes-ready`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Subject
from core.findings import Finding, Level
from core.words import say


class BecomesReady(live.LiveCheck):
    """The first question of all: does it run as it was packaged?"""

    name = "live-becomes-ready"
    title = say("The application becomes ready on a node")
    reason = say("What never becomes ready helps nobody, whatever its package says.")
    order = 110
    options = (live.READY_WITHIN, Option("restarts", 0, "restarts before it is ready that are let pass"))

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        yield Progress(10, say("deploying to {node}", node=about["node"]))
        state = sandbox.deploy(dict(subject.values), float(options["ready_within"]))
        if state["state"] != "ready":
            yield from _culprits(state)
            yield Progress(100, live.why(state))
            return
        if int(state.get("restarts") or 0) > int(options["restarts"]):
            yield Finding(
                Level.WARNING,
                "restarted-before-ready",
                "",
                say(
                    "Its containers were started again {restarts} times before it was ready", restarts=state["restarts"]
                ),
                say("Wait in the application for what it needs, and give it a startup probe"),
            )


def _culprits(state: Mapping[str, Any]) -> Iterator[Finding]:
    remedy = say("The events and logs of the node tell more; try the chart on a node of your own")
    named = [each for each in state.get("workloads") or [] if each.get("state") != "ready"]
    for each in named[:10]:
        place = f"{each.get('kind')}/{each.get('name')}"
        yield Finding(
            Level.ERROR, "not-ready", place, say("Does not become ready: {each}", each=live.why(each)), remedy
        )
    if not named:
        yield Finding(
            Level.ERROR, "not-ready", "", say("Does not become ready: {state}", state=live.why(state)), remedy
        )
