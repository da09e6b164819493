"""What live checks share: an instance that runs, looks that are repeated for a while, and honesty about simulation.

All live checks of a run share one sandbox and, as far as they can, one instance: the first one deploys it, those that
end it come last (`Check.order`). Each of them also works alone.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from appstore.certification.contract import (
    Check,
    Kind,
    Need,
    Option,
    Part,
    Progress,
    Sandbox,
    Skip,
    Subject,
    Tools,
)
from core.findings import Finding
from core.words import say

READY_WITHIN = Option("ready_within", 120, "seconds that the application may take to become ready")
#: Seconds between two looks at something that may still come.
EVERY = 0.5

Seen = TypeVar("Seen")


class LiveCheck(Check):
    """A check that needs the application running for real. `watch` is called with a sandbox that is not simulated."""

    kind = Kind.LIVE
    group = "lifecycle"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SANDBOX})
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART, Part.IMAGES, Part.DESCRIPTOR})
    options: ClassVar[tuple[Option, ...]] = (READY_WITHIN,)
    seconds = 240.0

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        if subject.chart is None:
            raise Skip(say("The package has no chart, and only charts run on a sandbox"))
        sandbox = tools.sandbox
        about = sandbox.about()
        if about.get("simulated"):
            raise Skip(
                say(
                    "{node} simulates its runtime ({engine}): nothing real could be seen",
                    node=about.get("node"),
                    engine=about.get("engine"),
                )
            )
        wanted = {option.name: option.default for option in self.options} | dict(options)
        yield from self.watch(subject, wanted, sandbox, about)

    @abstractmethod
    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        """Yield what is wrong with the application as it runs."""


def running(subject: Subject, options: Mapping[str, Any], sandbox: Sandbox) -> Mapping[str, Any]:
    """Return the state of a ready instance, deployed when there is none; `Skip` when it does not become ready."""
    state = sandbox.deploy(dict(subject.values), float(options["ready_within"]))
    if state["state"] != "ready":
        raise Skip(say("The application does not become ready: {state}", state=why(state)))
    return state


def why(state: Mapping[str, Any]) -> str:
    """Return in words why a state is no better than it is."""
    words = [str(state.get(part) or "") for part in ("state", "reason", "message")]
    return ": ".join(word for word in words if word)


def eventually(look: Callable[[], Seen], good: Callable[[Seen], bool], within: float) -> Seen:
    """Return the first answer that is good, or the last one when the time is over."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if good(seen) or time.monotonic() >= deadline:
            return seen
        time.sleep(EVERY)


def declared(subject: Subject, member: str) -> list[Mapping[str, Any]]:
    """Return the objects that the descriptor lists under `member`."""
    listed = subject.descriptor.get(member)
    return [each for each in (listed if isinstance(listed, list | tuple) else []) if isinstance(each, Mapping)]


def uses_platform(subject: Subject) -> bool:
    """Return whether the descriptor names services or rules: then the application has to talk to the MEC platform."""
    members = ("appServiceRequired", "appServiceOptional", "appServiceProduced", "appTrafficRule", "appDNSRule")
    return any(declared(subject, member) for member in members)


def has_platform(about: Mapping[str, Any]) -> None:
    """Pass where the node has a MEC platform; `Skip` elsewhere."""
    if about.get("mep") is False:
        raise Skip(say("{node} has no MEC platform, so nothing can be registered there", node=about.get("node")))


def tcp_ports(state: Mapping[str, Any]) -> list[int]:
    """Return the TCP ports of the application's Services, each once."""
    return list(dict.fromkeys(int(each["cluster_port"]) for each in state["endpoints"] if each["protocol"] == "TCP"))
