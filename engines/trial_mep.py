"""One instance out of what a MEP tells of itself; the agent and the centre's worker read it in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def instance_of(snapshot: Mapping[str, Any], app_instance_id: str) -> dict[str, Any]:
    """Return `app` (None when the MEP knows no such instance), its services, subscriptions and rules, and the user plane."""

    def own(member: str) -> list[dict[str, Any]]:
        listed = snapshot.get(member)
        return [
            dict(each)
            for each in (listed if isinstance(listed, list) else [])
            if isinstance(each, Mapping) and each.get("appInstanceId") == app_instance_id
        ]

    found = own("apps")
    plane = snapshot.get("user_plane")
    return {
        "app": found[0] if found else None,
        "services": own("services"),
        "subscriptions": [{**each, "callbackReference": ""} for each in own("subscriptions")],
        "dns_rules": own("dns_rules"),
        "traffic_rules": own("traffic_rules"),
        "user_plane": dict(plane) if isinstance(plane, Mapping) else {},
    }
