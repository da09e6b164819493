"""The query tester: what the rules say about a name, and what the running responder answers."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.rcode
from django.conf import settings

from core.words import say
from mep.dns.services import resolve
from mep.mp1.models import DnsRule

#: Seconds that the running responder gets.
PATIENCE = 1.5


@dataclass(frozen=True, slots=True)
class Found:
    """What the rules say: the sentence, the answers, the rules behind them, and those about the name that were not used."""

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


def by_rules(name: str, kind: str, source: str) -> Found:
    """Say what a client at `source` is answered by the rules of this node; `Invalid` when that cannot be asked."""
    told = resolve(name, kind, source)
    rows = list(DnsRule.objects.filter(domain_name=name).select_related("app"))
    used = tuple(row for row in rows if str(row) in told.rules)
    return Found(
        f"{told.text[:1].upper()}{told.text[1:]}.", told.addresses, used, tuple(row for row in rows if row not in used)
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
    server = say("{host} port {port}", host=host, port=port)
    try:
        query = dns.message.make_query(name, kind)
        answer = dns.message.from_wire(ask(query.to_wire(), PATIENCE))
        if not query.is_response(answer):
            return Wire(server, problem=say("The responder at {server} answered another question.", server=server))
    except (OSError, dns.exception.DNSException) as problem:
        late = isinstance(problem, TimeoutError)
        why = say("no answer in time") if late else (str(problem) or type(problem).__name__)[:200]
        told = say(
            "The responder at {server} does not answer ({why}). Does `manage.py dns` run?", server=server, why=why
        )
        return Wire(server, problem=told)
    records = tuple(
        say("{record} (for {seconds} s)", record=str(item)[:200], seconds=group.ttl)
        for group in answer.answer
        for item in group
    )
    return Wire(server, dns.rcode.to_text(answer.rcode()), records[:50])
