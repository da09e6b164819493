"""DNS backends: the records of the ACTIVE rules reach a name server. A plain library without Django."""

from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import Invalid
from core.registry import Registry
from mep.dns.backends.contract import DnsBackend

#: The backends by the short name that MEP_DNS_BACKEND gives.
registry: Registry[type[DnsBackend]] = Registry(
    "dns_backends",
    {
        "embedded": "mep.dns.backends.embedded:EmbeddedDns",
        "memory": "mep.dns.backends.memory:MemoryDns",
        "rfc2136": "mep.dns.backends.rfc2136:Rfc2136Dns",
        "powerdns": "mep.dns.backends.powerdns:PowerDns",
    },
)


def create(name: str, options: Mapping[str, Any] | None = None, secret: str = "") -> DnsBackend:
    """Return the backend called `name`, set up with `options` and the secret that it signs in with.

    `Missing` lists the names there are, `Invalid` names the option that is wrong. Reaches nobody yet.
    """
    kind = registry.get(name)
    try:
        return kind(msgspec.convert(dict(options or {}), kind.Options), secret)
    except msgspec.ValidationError as problem:
        raise Invalid(f"The options of the DNS backend {name} are not usable: {problem}") from None
