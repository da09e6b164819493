"""Where traffic is led: the DNAI and the N6 route that stand for a rule's destination address.

MEC 011 names the application's address, the 5G core a data network access identifier (TS 29.571 5.4.4.16, RouteToLocation);
which belongs to which is known only to the operator, so it is set.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import msgspec

from core.errors import Invalid
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.flows import Network


class Route(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How the 5G core reaches destinations in `destination` (an address or a prefix)."""

    destination: str
    dnai: str
    #: The name of a route profile that the SMF knows, or the end of the N6 tunnel; one of the two.
    profile: str = ""
    address: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        ipaddress.ip_network(self.destination, strict=False)
        if not self.dnai:
            raise ValueError("a route needs a dnai")
        if bool(self.profile) == bool(self.address):
            raise ValueError("a route needs either a profile, or address and port")
        if self.address:
            ipaddress.ip_address(self.address)
            if not 0 < self.port < 65536:
                raise ValueError("a route with an address needs a port from 1 to 65535")

    @property
    def network(self) -> Network:
        """The destinations that it is for."""
        return ipaddress.ip_network(self.destination, strict=False)

    def location(self) -> dict[str, Any]:
        """Return the RouteToLocation."""
        if self.profile:
            return {"dnai": self.dnai, "routeProfId": self.profile}
        family = ipaddress.ip_address(self.address).version
        return {"dnai": self.dnai, "routeInfo": {f"ipv{family}Addr": self.address, "portNumber": self.port}}


def route_for(rule: TrafficRule, routes: Sequence[Route], upf: str) -> Route:
    """Return the route to a forwarding rule's destination, the narrowest that is set for its address."""
    text = str(rule.destinations[0].get("dstIpAddress") or "")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Invalid(f"dstInterface[0].dstIpAddress: {text!r} is no address") from None
    fitting = [route for route in routes if route.network.version == address.version and address in route.network]
    if not fitting:
        known = ", ".join(route.destination for route in routes[:10])
        raise Refused(
            f"dstInterface[0]: the user plane {upf} has no DNAI set for the destination {text}",
            nearest=f"a destination in {known}" if known else "",
        )
    return max(fitting, key=lambda route: route.network.prefixlen)
