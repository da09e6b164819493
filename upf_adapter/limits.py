"""What every adapter refuses in the same words: rules that are wrong, and rules beyond what its user plane can express."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import Invalid
from upf_adapter.contract import ACTIONS, Capabilities, Refused, TrafficRule
from upf_adapter.flows import Match, matches_of

#: What comes nearest to an action that a user plane does not have, best first.
_NEAREST = {
    "FORWARD_ENCAPSULATED": ("FORWARD_DECAPSULATED",),
    "FORWARD_DECAPSULATED": ("FORWARD_ENCAPSULATED",),
    "DUPLICATE_DECAPSULATED": ("DUPLICATE_ENCAPSULATED", "FORWARD_DECAPSULATED"),
    "DUPLICATE_ENCAPSULATED": ("DUPLICATE_DECAPSULATED", "FORWARD_ENCAPSULATED", "FORWARD_DECAPSULATED"),
    "DROP": (),
    "PASSTHROUGH": (),
}


def check(rule: TrafficRule, can: Capabilities, upf: str) -> tuple[Match, ...]:
    """Return the filters of a rule in typed form; `Invalid` when the rule is wrong, `Refused` when it is beyond `can`."""
    bounds = ACTIONS.get(rule.action)
    if bounds is None:
        raise Invalid(f"{rule.action!r} is not an action of MEC 011; use one of {', '.join(ACTIONS)}")
    if not bounds[0] <= len(rule.destinations) <= bounds[1]:
        raise Invalid(f"{rule.action} takes {bounds[0]} to {bounds[1]} destinations, not {len(rule.destinations)}")
    if not 0 <= rule.priority <= 255:
        raise Invalid(f"priority must be 0 to 255, not {rule.priority}")
    if not rule.filters:
        raise Invalid("a rule needs at least one traffic filter")
    matches = matches_of(rule)
    if rule.action not in can.actions:
        near = next((each for each in _NEAREST[rule.action] if each in can.actions), "")
        raise Refused(f"the user plane {upf} has no {rule.action}", nearest=near)
    if rule.filter_type not in can.filter_types:
        raise Refused(
            f"the user plane {upf} has no filterType {rule.filter_type}", nearest=" or ".join(sorted(can.filter_types))
        )
    for at, match in enumerate(matches):
        _check_filter(match, rule.filters[at], f"trafficFilter[{at}]", can, upf)
    for at, target in enumerate(rule.destinations):
        kind = interface(target)
        if kind not in can.interfaces:
            raise Refused(
                f"dstInterface[{at}]: the user plane {upf} has no interface {kind}", nearest=_listed(can.interfaces)
            )
    return matches


def interface(target: Any) -> str:
    """Return the kind of a DestinationInterface as capabilities name it: IP, MAC, TUNNEL/GTP_U, TUNNEL/GRE."""
    kind = str(target.get("interfaceType", ""))
    info = target.get("tunnelInfo")
    return f"TUNNEL/{info.get('tunnelType', '') if isinstance(info, Mapping) else ''}" if kind == "TUNNEL" else kind


def _check_filter(match: Match, raw: Any, place: str, can: Capabilities, upf: str) -> None:
    beyond = () if raw.keys() <= can.filters else raw.keys() - can.filters
    if beyond and (beyond := sorted(name for name in beyond if raw[name] not in (None, "", [], ()))):
        raise Refused(
            f"{place}: the user plane {upf} cannot match {', '.join(beyond)}",
            nearest=f"the same without it, by {_listed(can.filters)}",
            members=beyond,
        )
    families = match.families
    if not families:
        raise Invalid(f"{place}: no packet can match, its members are of different address families")
    if (match.src_ports or match.dst_ports) and not match.implied_protocols:
        raise Invalid(f"{place}: no packet can match, the protocols that it names have no ports")
    if not families & can.families:
        raise Refused(
            f"{place}: the user plane {upf} has no IPv{min(families)}",
            nearest=f"the same by IPv{min(can.families)} addresses",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
