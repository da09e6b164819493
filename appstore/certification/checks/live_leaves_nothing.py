"""Check `live-leaves-nothing`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Subject
from core.findings import Finding, Level
from core.words import say


class LeavesNothing(live.LiveCheck):
    """A node is used for years; what each application leaves there adds up."""

    name = "live-leaves-nothing"
    title = say("Nothing of it is left after its removal")
    reason = say("Containers, volumes, rules and services without an owner cost a node its room and its clarity.")
    order = 920
    options = (
        live.READY_WITHIN,
        Option("grace", 30, "seconds that are waited at most for its goodbye"),
        Option("gone_within", 20, "seconds after its removal until nothing must be left"),
    )

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        present = sandbox.state()
        if present["state"] == "absent" and not present.get("instances"):
            # Also what never became ready has to go without a trace.
            sandbox.deploy(dict(subject.values), float(options["ready_within"]))
            present = sandbox.state()
        if present["state"] != "absent":
            yield Progress(40, say("removing it"))
            sandbox.terminate(float(options["grace"]))
        left = live.eventually(sandbox.leftovers, lambda seen: not seen, within=float(options["gone_within"]))
        for each in left[:20]:
            yield Finding(
                Level.ERROR,
                "left-behind",
                each,
                say("Is still there {gone_within} s after: {each}", gone_within=options["gone_within"], each=each),
            )
