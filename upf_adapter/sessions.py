"""The bodies of Npcf_PolicyAuthorization (TS 29.514, Rel-17) that stand for one rule: pure, so that each can be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from upf_adapter.flow_descriptions import Flow
from upf_adapter.flows import IpAddress, Match

#: Bit of InfluenceOnTrafficRouting in suppFeat (TS 29.514 5.8, feature 1).
ROUTING = 0x1
#: What the PCF is asked to tell: whether the network has what we asked for.
EVENTS = ("SUCCESSFUL_RESOURCES_ALLOCATION", "FAILED_RESOURCES_ALLOCATION")


def media(matches: Sequence[Match], flows: Sequence[Sequence[Flow]], *, open_gate: bool, **more: Any) -> dict[str, Any]:
    """Return the media components: one, with a sub-component per flow in both directions."""
    parts: dict[str, Any] = {}
    for match, found in zip(matches, flows, strict=True):
        for flow in found:
            number = len(parts) + 1
            parts[str(number)] = {
                "fNum": number,
                "fDescs": [flow.downlink, flow.uplink],
                "flowUsage": "NO_INFO",
                **tos(match),
            }
    status = "ENABLED" if open_gate else "DISABLED"
    return {"1": {"medCompN": 1, "fStatus": status, **more, "medSubComps": parts}}


def tos(match: Match) -> dict[str, str]:
    """Return the ToS octet and its mask: a DSCP is its upper six bits, a traffic class all eight."""
    if match.dscp is not None:
        return {"tosTrCl": f"{match.dscp << 2:02X}FC"}
    if match.traffic_class is not None:
        return {"tosTrCl": f"{match.traffic_class:02X}FF"}
    return {}


def ue_member(ue: IpAddress) -> dict[str, str]:
    """Return the member that names the UE."""
    return {f"ueIpv{ue.version}": str(ue)}


def events(uri: str) -> dict[str, Any]:
    """Return the subscription to what becomes of the session."""
    return {"events": [{"event": event, "notifMethod": "EVENT_DETECTION"} for event in EVENTS], "notifUri": uri}


def patch(before: Sequence[Mapping[str, Any]], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) that makes any of `before` be `after`: all values, and null for what goes."""
    made: dict[str, Any] = {name: None for each in before for name in each if name not in after}
    for name, value in after.items():
        inner = [each[name] for each in before if isinstance(each.get(name), Mapping)]
        made[name] = patch(inner, value) if isinstance(value, Mapping) else value
    return made


def routes(body: Any) -> bool | None:
    """Return whether the PCF's answer says that it leads traffic; None when it says nothing about what it can."""
    said = body.get("ascRespData") if isinstance(body, Mapping) else None
    text = said.get("suppFeat") if isinstance(said, Mapping) else None
    try:
        return bool(int(text, 16) & ROUTING) if isinstance(text, str) and text else None
    except ValueError:
        return None
