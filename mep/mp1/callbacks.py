"""Where notifications may go. An app names the address, so the address is hostile until the policy allows it.

A name is resolved once, every address it may mean is judged, and the connection goes to the judged address;
redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from django.conf import settings

from core.errors import Invalid

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_text(url: str) -> None:
    """Raise `Invalid` for a callback whose address is written down and not allowed; a name is judged when it is used."""
    host = urlsplit(url).hostname or ""
    address = as_address(host)
    if address is not None:
        judge(address)


def as_address(host: str) -> IpAddress | None:
    """Return the address that `host` is, when it is one in any of the spellings that a resolver would take."""
    try:
        return plain(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:  # 127.1, 0x7f000001 and their like, which connect() understands
        return ipaddress.ip_address(socket.inet_aton(host))
    except OSError:
        return None


def plain(address: IpAddress) -> IpAddress:
    """Return the IPv4 address inside a mapped IPv6 one, anything else as it is."""
    return getattr(address, "ipv4_mapped", None) or address


def judge(address: IpAddress) -> IpAddress:
    """Return the address when notifications may go there, else raise `Invalid`."""
    address = plain(address)
    allowed = [net for net in settings.CALLBACK_NETWORKS if address.version == net.version and address in net]
    if not allowed:
        raise Invalid(f"callbackReference: notifications may not be sent to {address}; see MEP_CALLBACK_NETWORKS")
    on_the_node = any(net.is_loopback for net in settings.CALLBACK_NETWORKS)
    if is_ours(address) and not on_the_node:
        raise Invalid(f"callbackReference: {address} is an address of the node itself; see MEP_CALLBACK_NETWORKS")
    return address


def resolve(host: str, port: int) -> IpAddress:
    """Return the address that a name is called at, judged; `OSError` when there is no such name."""
    return pick(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def pick(addresses: Iterable[str]) -> IpAddress:
    """Return the first of the addresses of a name; `Invalid` when any of them is not allowed.

    One bad address spoils the name: a rebinding server must not get a second try.
    """
    judged = [judge(ipaddress.ip_address(text.partition("%")[0])) for text in addresses]
    if not judged:
        raise Invalid("callbackReference: the name has no address")
    return judged[0]


def is_ours(address: IpAddress) -> bool:
    """Return whether `address` is one of this host's own: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
