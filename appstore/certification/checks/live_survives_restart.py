"""Check `live-survives-restart`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Skip, Subject
from core.findings import Finding, Level
from core.words import say


class SurvivesRestart(live.LiveCheck):
    """Nodes lose power; whoever comes back must be as useful as before."""

    name = "live-survives-restart"
    title = say("It comes back after its containers were killed")
    reason = say(
        "Edge nodes restart without anybody near; an application has to come back by itself, with its services."
    )
    order = 160
    options = (
        live.READY_WITHIN,
        Option("back_within", 60, "seconds until it must be ready again"),
        Option("registered_within", 30, "seconds after that until its services must be there again"),
    )

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        state = live.running(subject, options, sandbox)
        before = _active(sandbox.services()) if about.get("mep") is not False else set()
        yield Progress(30, say("killing its containers"))
        after = sandbox.restart(float(options["back_within"]))
        if not after.get("killed"):
            raise Skip(say("No container was running that could be killed"))
        if not after.get("came_back"):
            yield Finding(
                Level.ERROR,
                "not-back-after-restart",
                "",
                say(
                    "Is not ready {back_within} s after its containers were killed: {after}",
                    back_within=options["back_within"],
                    after=live.why(after),
                ),
                say("Keep no state that a second start trips over, and wait for what is not there yet"),
            )
            return
        yield Progress(70, say("ready again"))
        yield from _services(before, sandbox, float(options["registered_within"]))
        yield from _ports(state, sandbox)


def _services(before: set[str], sandbox: Sandbox, within: float) -> Iterator[Finding]:
    if not before:
        return
    found = live.eventually(sandbox.services, lambda seen: _active(seen) >= before, within=within)
    for name in sorted(before - _active(found)):
        yield Finding(
            Level.ERROR,
            "service-lost-by-restart",
            f"appServiceProduced/{name}",
            say("The service {name} is not ACTIVE any more after the restart", name=name),
            say("Register again at each start, or update the service that is still there"),
        )
    for name in sorted({name for name in before if sum(each.get("serName") == name for each in found) > 1}):
        yield Finding(
            Level.WARNING,
            "service-doubled-by-restart",
            f"appServiceProduced/{name}",
            say("After the restart {name} is registered twice", name=name),
            say("Look for your own service before you register it, and update it"),
        )


def _ports(state: Mapping[str, Any], sandbox: Sandbox) -> Iterator[Finding]:
    for port in live.tcp_ports(state):
        told = live.eventually(
            lambda port=port: sandbox.request(port, "/", 5.0, "tcp"),  # type: ignore[misc]
            lambda seen: bool(seen.get("connected")),
            within=10.0,
        )
        if not told.get("connected"):
            yield Finding(
                Level.ERROR,
                "port-closed-after-restart",
                f"port {port}",
                say("Answers no more: {problem}", problem=told.get("problem")),
            )


def _active(found: Any) -> set[str]:
    return {str(each.get("serName")) for each in found if each.get("state") == "ACTIVE"}
