"""Which addresses a server of ours may connect to when a stranger named them (SSRF): one judgement for every topic.

A name is resolved once, each of its addresses is judged here, one that is forbidden forbids all, and the connection goes to an
address that was judged: a name that changes its mind (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: The well-known prefix of NAT64 (RFC 6052, 2.1): an IPv4 address by another name.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def networks(texts: Iterable[str], *, strict: bool = False) -> tuple[Network, ...]:
    """Read networks as they stand in a setting (`10.0.0.0/8`); `ValueError` for one that is none."""
    return tuple(ipaddress.ip_network(text.strip(), strict=strict) for text in texts if text.strip())


def real(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to (mapped, 6to4, Teredo, NAT64), any other as it is."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def is_public(address: Address) -> bool:
    """Return whether the address is one of the open internet, whichever way it is written."""
    inner = real(address)
    return inner.is_global and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified)


def is_listed(address: Address, allowed: Iterable[Network]) -> bool:
    """Return whether the address is in one of the networks that the operator allows by name."""
    written = {address, real(address)}
    return any(each.version == network.version and each in network for network in allowed for each in written)


def permitted(address: Address, scheme: str, allowed: Iterable[Network] = ()) -> bool:
    """Return whether we connect there: public addresses by https, networks that were allowed by http, too."""
    return is_listed(address, allowed) or (scheme == "https" and is_public(address))
