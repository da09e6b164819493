"""Check `live-rules-applied`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification import live
from appstore.certification.contract import Option, Progress, Sandbox, Skip, Subject
from core.findings import Finding, Level
from core.words import say


class RulesApplied(live.LiveCheck):
    """A rule in a descriptor is worth what the resolver answers and the user plane does."""

    name = "live-rules-applied"
    title = say("Its DNS and traffic rules are really applied")
    reason = say(
        "Devices reach the application at the edge only when these rules are in force (MEC 011, 7.2.7 to 7.2.10)."
    )
    group = "network"
    order = 130
    options = (
        live.READY_WITHIN,
        Option("applied_within", 20, "seconds after it is ready until its rules must be in force"),
        Option("simulated_user_plane", "tell", "what a stand-in for the user plane is worth", ("tell", "error")),
    )

    def watch(
        self, subject: Subject, options: Mapping[str, Any], sandbox: Sandbox, about: Mapping[str, Any]
    ) -> Iterator[Finding | Progress]:
        live.has_platform(about)
        dns, traffic = live.declared(subject, "appDNSRule"), live.declared(subject, "appTrafficRule")
        if not dns and not traffic:
            raise Skip(say("The descriptor has no rules"))
        live.running(subject, options, sandbox)
        yield Progress(
            40,
            say(
                "looking at {dns_count} DNS and {traffic_count} traffic rules",
                dns_count=len(dns),
                traffic_count=len(traffic),
            ),
        )
        within = float(options["applied_within"])
        problems = live.eventually(
            lambda: [*_dns(dns, sandbox.rules()["dns"]), *_traffic(traffic, sandbox.rules()["traffic"])],
            lambda found: not found,
            within=within,
        )
        yield from problems
        plane = about.get("user_plane") or {}
        if traffic and not problems and plane.get("simulated"):
            level = Level.ERROR if options["simulated_user_plane"] == "error" else Level.INFO
            yield Finding(
                level,
                "user-plane-simulated",
                "appTrafficRule",
                say(
                    "The user plane of {node} is simulated ({adapter}): its rules steer no packet",
                    node=about["node"],
                    adapter=plane.get("adapter"),
                ),
                say("Run this check on a node with a real user plane"),
            )


def _dns(wanted: Any, found: Any) -> Iterator[Finding]:
    present = {each.get("dnsRuleId"): each for each in found}
    for rule in wanted:
        place, known = f"appDNSRule/{rule.get('dnsRuleId')}", present.get(rule.get("dnsRuleId"))
        problem = _not_in_force(known)
        if not problem and known is not None and known.get("asked") and not known.get("scope"):
            answers = known.get("answers") or []
            if rule.get("ipAddress") not in answers:
                said = known.get("dns_problem") or f"it says {', '.join(answers) or 'nothing'}"
                problem = say(
                    "the node's resolver does not answer {ip_address}: {said}",
                    ip_address=rule.get("ipAddress"),
                    said=said,
                )
        if problem:
            yield Finding(Level.ERROR, "dns-rule-not-applied", place, f"{rule.get('domainName')}: {problem}")


def _traffic(wanted: Any, found: Any) -> Iterator[Finding]:
    present = {each.get("trafficRuleId"): each for each in found}
    for rule in wanted:
        name = rule.get("trafficRuleId")
        problem = _not_in_force(present.get(name))
        if problem:
            yield Finding(Level.ERROR, "traffic-rule-not-applied", f"appTrafficRule/{name}", f"{name}: {problem}")


def _not_in_force(known: Mapping[str, Any] | None) -> str:
    """Return why a rule has no effect; empty when it has."""
    if known is None:
        return say("the platform does not know the rule")
    if known.get("state") != "ACTIVE":
        return say(
            "the rule is {state}; it becomes ACTIVE when the application confirms that it is ready",
            state=known.get("state"),
        )
    if known.get("enforcement") != "in-force":
        return say(
            "the rule is {enforcement}: {reason}",
            enforcement=known.get("enforcement"),
            reason=known.get("reason") or "no reason is known",
        )
    return ""
