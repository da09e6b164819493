"""Check `live-answers-termination`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Skip, Subject
from core.findings import Finding, Level
from core.words import say


class AnswersTermination(live.LiveCheck):
    """Who is told in time can hand over its users; who does not answer holds up the node."""

    name = "live-answers-termination"
    title = say("It confirms its termination within its grace period")
    reason = say("A node waits for the confirmation before it stops an application (MEC 011, 5.2.2 and 7.2.11).")
    order = 910
    options = (live.READY_WITHIN, Option("grace", 30, "seconds that are waited at most, if the descriptor allows more"))

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        live.has_platform(about)
        live.running(subject, options, sandbox)
        yield Progress(40, say("announcing the termination"))
        told = sandbox.terminate(float(options["grace"]))
        if not live.uses_platform(subject) and not told.get("was_ready") and not told.get("listening"):
            raise Skip(say("The application does not use the MEC platform, so nobody can tell it anything"))
        yield from _judge(told)


def _judge(told: Mapping[str, Any]) -> Iterator[Finding]:
    if not told.get("was_ready"):
        yield Finding(
            Level.ERROR,
            "never-confirmed-ready",
            "",
            say("Never told the platform that it is ready, so its termination was announced to nobody"),
            say("Send POST /mec_app_support/v1/applications/{{appInstanceId}}/confirm_ready when it is up"),
        )
    elif not told.get("listening"):
        yield Finding(
            Level.ERROR,
            "termination-not-subscribed",
            "",
            say("Has no AppTerminationNotificationSubscription, so nobody can announce its end"),
            say("Subscribe with POST /mec_app_support/v1/applications/{{appInstanceId}}/subscriptions"),
        )
    elif not told.get("notified"):
        why = told.get("delivery_error") or "its callback did not take it"
        yield Finding(
            Level.ERROR, "termination-not-delivered", "", say("The announcement could not be delivered: {why}", why=why)
        )
    elif not told.get("confirmed"):
        yield Finding(
            Level.ERROR,
            "termination-ignored",
            "",
            say("Was told of its end and did not confirm it within {grace} s", grace=told.get("grace")),
            say(
                "Finish what is under way, then send POST .../confirm_termination; or allow more "
                "time in gracefulTerminationTimeout"
            ),
        )
