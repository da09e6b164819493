"""Check `live-registers-services`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Skip, Subject
from core.findings import Finding, Level
from core.words import say


class RegistersServices(live.LiveCheck):
    """The descriptor is a promise to other applications: exactly those services, soon, and usable."""

    name = "live-registers-services"
    title = say("It registers on Mp1 what its descriptor declares, and nothing else")
    reason = say(
        "Placement and other applications rely on the services that a descriptor declares (MEC 010-2, 6.2.1.5)."
    )
    group = "network"
    order = 120
    options = (
        live.READY_WITHIN,
        Option("registered_within", 30, "seconds after it is ready until its services must be there"),
        Option("undeclared", "error", "how a service that the descriptor does not name counts", ("error", "warning")),
    )

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        live.has_platform(about)
        wanted = {str(each.get("serName")): each for each in live.declared(subject, "appServiceProduced")}
        live.running(subject, options, sandbox)
        yield Progress(40, say("waiting for {wanted} on Mp1", wanted=", ".join(wanted) or "nothing"))
        # Who declares nothing gets a moment to register something nevertheless.
        within = float(options["registered_within"]) if wanted else 3.0
        found = live.eventually(
            sandbox.services, lambda seen: bool(wanted) and _active(seen) >= set(wanted), within=within
        )
        if not wanted and not found:
            raise Skip(say("The descriptor declares no service, and none was registered"))
        yield from _judge(wanted, found, within, Level(options["undeclared"]))


def _active(found: Any) -> set[str]:
    return {str(each.get("serName")) for each in found if each.get("state") == "ACTIVE"}


def _judge(wanted: Mapping[str, Any], found: Any, within: float, undeclared: Level) -> Iterator[Finding]:
    present = {str(each.get("serName")): each for each in found}
    for name, promise in wanted.items():
        place = f"appServiceProduced/{name}"
        if name not in present:
            yield Finding(
                Level.ERROR,
                "service-not-registered",
                place,
                say(
                    "The service {name} is declared but was not registered within {within} s",
                    name=name,
                    within=format(within, "g"),
                ),
                say(
                    "Register it with POST /mec_service_mgmt/v1/applications/{{appInstanceId}}/services, "
                    "or do not declare it"
                ),
            )
        elif name not in _active(found):
            state = present[name].get("state")
            yield Finding(
                Level.ERROR,
                "service-not-active",
                place,
                say("The service {name} is registered but {state}, not ACTIVE", name=name, state=state),
            )
        elif not _same_version(str(promise.get("version") or ""), str(present[name].get("version") or "")):
            yield Finding(
                Level.WARNING,
                "service-version-differs",
                place,
                say(
                    "Version {promise_version} is declared and {present_version} is registered",
                    promise_version=promise.get("version"),
                    present_version=present[name].get("version"),
                ),
            )
    for name in sorted(present.keys() - wanted.keys()):
        yield Finding(
            undeclared,
            "service-undeclared",
            name,
            say("The service {name} is registered, but the descriptor does not declare it", name=name),
            say("Name it under appServiceProduced"),
        )


def _same_version(declared: str, registered: str) -> bool:
    """Return whether the shorter version is the beginning of the longer one: 1.0 is kept by 1.0.3."""
    one, other = declared.split("."), registered.split(".")
    length = min(len(one), len(other))
    return not declared or not registered or one[:length] == other[:length]
