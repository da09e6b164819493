"""Check `live-survives-cut-link`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Skip, Subject
from core.findings import Finding, Level
from core.words import say


class SurvivesCutLink(live.LiveCheck):
    """The promise of the edge: it works while nobody can be asked."""

    name = "live-survives-cut-link"
    title = say("It works on while its node is cut off from the centre")
    reason = say("An application at the edge must not need what lies behind the node's link.")
    order = 170
    options = (live.READY_WITHIN, Option("cut_for", 6, "seconds for which the link is cut"))

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        if about.get("link") == "direct":
            raise Skip(say("The centre drives this cluster itself: there is no link that could be cut"))
        live.running(subject, options, sandbox)
        yield Progress(30, say("cutting the link for {cut_for} s", cut_for=options["cut_for"]))
        told = sandbox.cut_link(float(options["cut_for"]))
        if not told.get("was_cut"):
            raise Skip(say("The link of the node could not be cut, so nothing was seen"))
        yield Progress(80, say("the link is back"))
        yield from _judge(told)


def _judge(told: Mapping[str, Any]) -> Iterator[Finding]:
    worse = [state for state in told.get("states") or [] if state != "ready"]
    if worse:
        yield Finding(
            Level.ERROR,
            "not-ready-while-cut-off",
            "",
            say(
                "Was {worse} while the node was cut off for {seconds} s",
                worse=" and ".join(worse),
                seconds=told.get("seconds"),
            ),
            say("Let the readiness of the application depend on nothing beyond its node"),
        )
    if int(told.get("unanswered") or 0):
        yield Finding(
            Level.ERROR,
            "silent-while-cut-off",
            "",
            say("Took no connection {unanswered} times while the node was cut off", unanswered=told["unanswered"]),
        )
    after, before = told.get("after") or {}, told.get("before") or {}
    if int(after.get("restarts") or 0) > int(before.get("restarts") or 0):
        yield Finding(Level.ERROR, "restarted-by-cut", "", say("Its containers were started again because of the cut"))
    if told.get("state") != "ready" and not worse:
        yield Finding(
            Level.ERROR, "not-ready-after-cut", "", say("Is not ready after the cut: {after}", after=live.why(after))
        )
