"""The query tester: what the rules say about a name, and what the running responder answers."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.rcode
from django.conf import settings

from mep.mp1.models import DnsRule
from mep.mp1.states import RuleState

#: Seconds that the running responder gets.
PATIENCE = 1.5


@dataclass(frozen=True, slots=True)
class Found:
    """What the rules say: the sentence, the answers, the rules behind them."""

    text: str
    answers: tuple[str, ...] = ()
    rules: tuple[DnsRule, ...] = ()
    sleeping: tuple[DnsRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """What came over the wire; `problem` when nothing did."""

    server: str
    code: str = ""
    records: tuple[str, ...] = field(default=())
    problem: str = ""


def by_rules(name: str, kind: str, scope: str = "") -> Found:
    """Say what the rules of this node answer to a query; one query to the database."""
    rows = list(DnsRule.objects.filter(domain_name=name).select_related("app"))
    active = [row for row in rows if row.state == RuleState.ACTIVE and row.scope in ("", scope)]
    # Answers for the asker's scope stand before those for everybody.
    active = [row for row in active if row.scope == scope] or active
    sleeping = tuple(row for row in rows if row not in active)
    if not active:
        if settings.DNS_UPSTREAMS:
            servers = ", ".join(address for address, _ in settings.DNS_UPSTREAMS)
            return Found(f"No active rule is about this name: the query is forwarded to {servers}.", sleeping=sleeping)
        return Found(
            "No active rule is about this name, and no upstream resolver is set: the query is refused.",
            sleeping=sleeping,
        )
    family = {"A": "IP_V4", "AAAA": "IP_V6"}.get(kind)
    ttl = min(settings.DNS_TTL if row.ttl is None else row.ttl for row in active)
    fitting = [row for row in active if row.family == family]
    if not fitting:
        return Found(
            f"A rule is about this name, but none has {'an' if kind == 'A' or kind == 'AAAA' else 'a'} {kind} answer:"
            " the responder says that there is no such record, so that the client does not ask elsewhere.",
            rules=tuple(active),
            sleeping=sleeping,
        )
    addresses = sorted({row.address for row in fitting}, key=lambda text: int(ipaddress.ip_address(text)))
    return Found(
        f"The rules answer, and the answer may be kept for {ttl} seconds.",
        tuple(addresses),
        tuple(fitting),
        sleeping,
    )


def responder() -> tuple[str, int]:
    """Return where the responder of this node is asked."""
    host = next((each for each in settings.DNS_BIND if ":" not in each), settings.DNS_BIND[0])
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), settings.DNS_PORT  # noqa: S104 - a comparison


def ask(query: bytes, patience: float) -> bytes:
    """Send a datagram to the responder and return its answer; `OSError` when none comes."""
    host, port = responder()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(patience)
        # Connected, so that a port where nobody listens is known at once.
        line.connect((host, port))
        line.send(query)
        return line.recv(65535)


def by_wire(name: str, kind: str) -> Wire:
    """Ask the responder that runs on this node, from this node's own address."""
    host, port = responder()
    server = f"{host} port {port}"
    try:
        query = dns.message.make_query(name, kind)
        answer = dns.message.from_wire(ask(query.to_wire(), PATIENCE))
        if not query.is_response(answer):
            return Wire(server, problem=f"The responder at {server} answered another question.")
    except (OSError, dns.exception.DNSException) as problem:
        why = "no answer in time" if isinstance(problem, TimeoutError) else str(problem) or type(problem).__name__
        return Wire(
            server, problem=f"The responder at {server} does not answer ({why[:200]}). Does `manage.py dns` run?"
        )
    records = tuple(f"{str(item)[:200]} (for {group.ttl} s)" for group in answer.answer for item in group)
    return Wire(server, dns.rcode.to_text(answer.rcode()), records[:50])
