"""Check `live-serves-ports`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Skip, Subject
from core.findings import Finding, Level
from core.words import say


class ServesPorts(live.LiveCheck):
    """A Service without anybody behind it looks well in a chart."""

    name = "live-serves-ports"
    title = say("Each port of its Services answers")
    reason = say("A port that is declared and not served is found by its users first.")
    group = "network"
    order = 140
    options = (
        live.READY_WITHIN,
        Option("path", "/", "path that is asked for on ports that speak HTTP"),
        Option("answers_within", 10, "seconds after it is ready until a port must answer"),
    )

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        state = live.running(subject, options, sandbox)
        endpoints = [each for each in state["endpoints"] if each.get("cluster_port")]
        if not endpoints:
            raise Skip(say("The chart has no Service"))
        for number, each in enumerate(endpoints):
            place = f"Service/{each['service']}:{each['cluster_port']}"
            yield Progress(30 + 60 * number // len(endpoints), place)
            if each["protocol"] != "TCP":
                yield Finding(
                    Level.INFO,
                    "port-not-asked",
                    place,
                    say("{protocol} ports cannot be asked from outside", protocol=each["protocol"]),
                )
                continue
            yield from _ask(sandbox, int(each["cluster_port"]), place, options)


def _ask(sandbox: Sandbox, port: int, place: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    told = live.eventually(
        lambda: sandbox.request(port, str(options["path"])),
        lambda seen: bool(seen.get("connected")),
        within=float(options["answers_within"]),
    )
    if not told.get("connected"):
        yield Finding(
            Level.ERROR,
            "port-closed",
            place,
            say("Nobody takes a connection at port {port}: {problem}", port=port, problem=told.get("problem")),
            say("Let the targetPort of the Service be one that the container listens on, on all addresses"),
        )
    elif int(told.get("status") or 0) >= 500:
        yield Finding(
            Level.WARNING,
            "port-in-trouble",
            place,
            say("GET {path} is answered {status}", path=options["path"], status=told["status"]),
        )
    elif told.get("problem"):
        yield Finding(
            Level.INFO,
            "port-without-http",
            place,
            say("The port takes connections; {problem}", problem=told["problem"]),
        )
