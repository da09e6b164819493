"""How far an app may change its own rules: to less than was approved for it, never to more.

MEC 011 lets an app update its rules (7.2.8.3.2, 7.2.10.3.2) and leaves to the platform what of that it allows. What was
approved is what the descriptor says, which the operator saw before the app came here. The functions here are pure: they
say which members of a wish go further than that, and are quiet when none does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any

from core.errors import Invalid
from upf_adapter.flows import read
from upf_adapter.overlaps import covers

STRICT, FREE = "strict", "free"
Excess = list[dict[str, str]]


def traffic_excess(approved: Mapping[str, Any], wanted: Mapping[str, Any]) -> Excess:
    """Return the members of a wanted traffic rule that go beyond the approved one, with what is allowed; empty: none.

    Whatever packet one of the wanted filters matches, one of the approved filters matches; what is done with it, and
    where it goes, stays the same; and the rule comes no earlier than the approved one would (a smaller number is earlier).
    """
    found: Excess = []
    for name in ("filterType", "action"):
        if wanted[name] != approved[name]:
            found.append(_excess(name, f"must stay {approved[name]}"))
    if list(wanted.get("dstInterface") or ()) != list(approved.get("dstInterface") or ()):
        found.append(_excess("dstInterface", "must stay as approved"))
    if wanted["priority"] < approved["priority"]:
        found.append(_excess("priority", f"must be {approved['priority']} or more: a smaller number decides earlier"))
    known = list(approved["trafficFilter"])
    for at, each in enumerate(wanted["trafficFilter"]):
        if each not in known and not any(filter_within(one, each) for one in known):
            found.append(_excess(f"trafficFilter[{at}]", "matches packets that no approved filter matches"))
    return found


def filter_within(approved: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether an approved filter matches every packet that a wanted one matches.

    A filter that cannot be read covers nothing, and is covered by nothing.
    """
    try:
        wide, narrow = read(approved), read(wanted)
    except Invalid:
        return False
    return covers(wide, narrow)


def dns_excess(
    approved: Mapping[str, Any], wanted: Mapping[str, Any], *, own: Collection[str], default_ttl: int
) -> Excess:
    """Return the members of a wanted DNS rule that go beyond the approved one; empty when none does.

    The name may lead to the approved address or to one of the app's `own`; caches may not keep that longer than what
    was approved, or than the platform's default where that is more. Both are columns of a DNS rule.
    """
    found: Excess = []
    if wanted["domain_name"] != approved["domain_name"]:
        found.append(_excess("domainName", f"must stay {approved['domain_name']}"))
    allowed = {approved["address"], *own}
    if wanted["address"] not in allowed:
        found.append(_excess("ipAddress", f"must be an address of the app itself: {', '.join(sorted(allowed))}"))
    most = max(default_ttl, approved["ttl"] if approved["ttl"] is not None else default_ttl)
    if wanted["ttl"] is not None and wanted["ttl"] > most:
        found.append(_excess("ttl", f"must be {most} or less"))
    return found


def own_addresses(source: str, described: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the addresses that an app may call its own.

    The one that it speaks from, as the connection shows it, and those that its approved traffic rules lead to. An address
    that means another machine to everybody who hears of it is none.
    """
    found = {source} if source else set()
    for columns in described.values():
        for target in columns.get("body", {}).get("dstInterface") or ():
            found.add(str(target.get("dstIpAddress") or ""))
    return {address for text in found if (address := _usable(text))}


def _usable(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return ""
    return str(address)


def _excess(field: str, detail: str) -> dict[str, str]:
    return {"field": field, "detail": detail}
