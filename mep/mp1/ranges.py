"""Addresses and ports as traffic filters write them: one, a prefix, or a range."""

from __future__ import annotations

import ipaddress
import re


def is_address_range(text: str) -> bool:
    """Return whether `text` is an address, a prefix (or address and mask), or a range `first-last` of one family."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = (
                ipaddress.ip_network(first.strip(), strict=False),
                ipaddress.ip_network(last.strip(), strict=False),
            )
            return low.version == high.version and int(low.network_address) <= int(high.network_address)
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def is_port_range(text: str) -> bool:
    """Return whether `text` is a port or a range `first-last`."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", text)
    if not found:
        return False
    low, high = int(found[1]), int(found[2] or found[1])
    return low <= high <= 65535
