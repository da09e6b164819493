"""Looking at a domain that somebody claims: a page or a DNS entry of ours, asked for without being led anywhere else.

The name comes from a stranger, so it is resolved once, every address must be one of the open internet, and the
connection goes to the address that was looked at (no second look-up, no redirect, no proxy, no long answer).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx

from core.addresses import is_public
from core.errors import Invalid, Rejected, TimedOut, Unavailable
from core.words import say

PATH = "/.well-known/breakwater-publisher.txt"
RECORD = "_breakwater"
#: Publishers may be proved by their domain only where this is so and the operator's policy says so, too.
MAY_LOOK_OUTSIDE = True
_TIMEOUT = 5.0
_LONGEST = 4096
_DOMAIN = re.compile(r"^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$")

Resolve = Callable[[str], list[str]]


def clean_domain(domain: str) -> str:
    """Return the domain in its plain form; `Invalid` for addresses, single labels, ports and paths."""
    plain = domain.strip().lower().rstrip(".")
    try:
        plain = plain.encode("idna").decode()
    except UnicodeError:
        plain = ""
    if not _DOMAIN.match(plain):
        raise Invalid(say("A domain is a name such as apps.example.org, without scheme, port or path"), field="domain")
    return plain


def line_of(challenge: str) -> str:
    """Return the line that must stand on the page or in the DNS entry."""
    return f"breakwater-publisher={challenge}"


@dataclass(frozen=True, slots=True)
class Looker:
    """Asks the world outside. Tests hand in a resolver and a transport of their own."""

    resolve: Resolve
    texts: Callable[[str], list[str]]
    transport: httpx.BaseTransport | None = None

    def web(self, domain: str, challenge: str) -> None:
        """Pass when the page of the domain has the line; our errors say why not."""
        addresses = self.resolve(domain)
        address = public_address(domain, addresses)
        host = f"[{address}]" if ":" in address else address
        try:
            with (
                httpx.Client(
                    transport=self.transport, timeout=_TIMEOUT, follow_redirects=False, trust_env=False
                ) as client,
                client.stream(
                    "GET",
                    f"https://{host}{PATH}",
                    headers={"Host": domain, "Accept": "text/plain", "User-Agent": "breakwater-publisher-check"},
                    extensions={"sni_hostname": domain},
                ) as answer,
            ):
                if answer.status_code != 200:
                    raise Rejected(
                        say(
                            "https://{domain}{path} answers {status_code}, not 200",
                            domain=domain,
                            path=PATH,
                            status_code=answer.status_code,
                        )
                    )
                text = b""
                for chunk in answer.iter_bytes():
                    text += chunk
                    if len(text) > _LONGEST:
                        raise Rejected(
                            say(
                                "https://{domain}{path} is longer than {longest} bytes",
                                domain=domain,
                                path=PATH,
                                longest=_LONGEST,
                            )
                        )
        except httpx.TimeoutException:
            raise TimedOut(
                say("{domain} did not answer within {timeout} seconds", domain=domain, timeout=format(_TIMEOUT, "g"))
            ) from None
        except httpx.HTTPError:
            raise Unavailable(
                say("{domain} could not be reached by HTTPS, or its certificate is not right", domain=domain)
            ) from None
        _found(
            [line.strip() for line in text.decode("utf-8", "replace").splitlines()],
            challenge,
            f"https://{domain}{PATH}",
        )

    def dns(self, domain: str, challenge: str) -> None:
        """Pass when the TXT entry of the domain has the line; our errors say why not."""
        _found(self.texts(f"{RECORD}.{domain}"), challenge, f"the TXT entry {RECORD}.{domain}")


def public_address(domain: str, addresses: Iterable[str]) -> str:
    """Return an address to connect to; `Invalid` when one of them is not of the open internet (SSRF)."""
    found = list(addresses)
    if not found:
        raise Rejected(say("{domain} has no address", domain=domain))
    for each in found:
        if not is_public(ipaddress.ip_address(each)):
            raise Invalid(
                say("{domain} leads to an address that is not of the open internet", domain=domain), field="domain"
            )
    return found[0]


def _found(lines: list[str], challenge: str, where: str) -> None:
    if line_of(challenge) not in lines:
        raise Rejected(say("{where} does not have the line {line}", where=where, line=line_of(challenge)))


def _system_addresses(domain: str) -> list[str]:
    try:
        return list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(domain, 443, type=socket.SOCK_STREAM)))
    except OSError:
        raise Rejected(say("{domain} has no address", domain=domain)) from None


def _system_texts(name: str) -> list[str]:
    # A library that takes a while to load, for the rare proof by DNS.
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.Resolver().resolve(name, "TXT", lifetime=_TIMEOUT)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise Rejected(say("There is no TXT entry {name}", name=name)) from None
    except dns.exception.Timeout:
        raise TimedOut(say("No name server answered for {name}", name=name)) from None
    except dns.exception.DNSException:
        raise Unavailable(say("{name} cannot be asked for at the moment", name=name)) from None
    return [b"".join(row.strings).decode("utf-8", "replace") for row in answer]


def looker() -> Looker:
    """Return what asks the world by the means of this machine."""
    return Looker(_system_addresses, _system_texts)
