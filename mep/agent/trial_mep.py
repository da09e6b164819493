"""What a trial sees of the MEP on this node: what one instance has registered, what is applied, how it says goodbye."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from typing import Any

from django.conf import settings

from core.errors import BreakwaterError
from engines.trial_mep import instance_of
from mep.dns import wire
from mep.mp1 import services as mp1
from mep.mp1.models import App, DnsRule, Subscription, TrafficRule
from mep.mp1.states import AppState

#: Seconds for one DNS answer, and how many names are asked for at most.
DNS_SECONDS, MOST_NAMES = 1.0, 20


def look(app_instance_id: str) -> dict[str, Any]:
    """Return what the MEP holds of an instance; DNS rules carry what the node's resolver really answers."""
    told = instance_of(mp1.snapshot(), app_instance_id)
    resolver = settings.DNS_BACKEND == "embedded"
    for number, rule in enumerate(told["dns_rules"]):
        rule["asked"] = resolver and rule.get("state") == "ACTIVE" and number < MOST_NAMES
        if rule["asked"]:
            rule |= resolve(str(rule["domainName"]), str(rule["ipAddressType"]))
    return told


def leftovers(app_instance_id: str) -> list[str]:
    """Return what the MEP still holds of an instance that should be gone."""
    told = instance_of(mp1.snapshot(), app_instance_id)
    found = ["Mp1 knows the instance"] if told["app"] else []
    found += [f"service {each['serName']}" for each in told["services"]]
    found += [f"subscription {each['id']}" for each in told["subscriptions"]]
    # The tables are asked as well: a rule without its app would be in nobody's snapshot.
    found += [f"DNS rule {each.rule_id}" for each in DnsRule.objects.filter(app_id=app_instance_id)]
    found += [f"traffic rule {each.rule_id}" for each in TrafficRule.objects.filter(app_id=app_instance_id)]
    return found


class Goodbye:
    """Announces the termination and watches whether the application confirms it in time."""

    def __init__(self, app_instance_id: str, grace: float) -> None:
        self.id, self.grace = app_instance_id, grace
        app = App.objects.filter(pk=app_instance_id).first()
        listeners = self._listeners()
        self.listening = listeners.exists()
        self.delivered = sum(listeners.values_list("delivered", flat=True))
        self.known = app is not None
        self.was_ready = app is not None and app.state == AppState.READY
        mp1.begin_termination(app_instance_id, timeout=grace)
        # Not before: writing that down may have waited for the database.
        self.began = time.monotonic()
        self.deadline = App.objects.filter(pk=app_instance_id).values_list("deadline", flat=True).first()
        self.under_way = self.deadline is not None
        self.notified, self.error = False, ""

    def look(self) -> dict[str, Any] | None:
        """Return how it ended; None while the application still has time."""
        seconds = time.monotonic() - self.began
        delivered = 0
        for count, error in self._listeners().values_list("delivered", "last_error"):
            delivered += count
            self.error = error or self.error
        self.notified = self.notified or delivered > self.delivered
        if not self.under_way:
            return self._told(confirmed=False, seconds=seconds)
        if App.objects.filter(pk=self.id, state=AppState.TERMINATING).exists():
            return self._told(confirmed=False, seconds=seconds) if seconds > self.grace else None
        # A busy node may look here long after: what counts is when the MEP was told.
        at = App.objects.filter(pk=self.id).values_list("confirmed_at", flat=True).first()
        if at is None or self.deadline is None or at > self.deadline:
            return self._told(confirmed=False, seconds=seconds)
        self.notified = True
        return self._told(confirmed=True, seconds=min(seconds, max(0.0, at - (self.deadline - self.grace))))

    def _listeners(self) -> Any:
        return Subscription.objects.filter(app_id=self.id, kind=Subscription.TERMINATION)

    def _told(self, *, confirmed: bool, seconds: float) -> dict[str, Any]:
        return {
            "known": self.known,
            "was_ready": self.was_ready,
            "listening": self.listening,
            "notified": self.notified,
            "confirmed": confirmed,
            "seconds": round(seconds, 2),
            "grace": self.grace,
            "delivery_error": "" if self.notified else self.error,
        }


def resolve(name: str, family: str) -> dict[str, Any]:
    """Ask the node's own resolver, as a client on this node would: `answers` (addresses), or `dns_problem`."""
    kind = wire.AAAA if family == "IP_V6" else wire.A
    host, number = settings.DNS_BIND[0], secrets.randbits(16)
    try:
        query = (
            struct.pack("!6H", number, wire.RD, 1, 0, 0, 0) + wire.wire_name(name) + struct.pack("!2H", kind, wire.IN)
        )
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DNS_SECONDS)
            client.connect((_reachable(host), settings.DNS_PORT))
            client.send(query)
            return {"answers": addresses(client.recv(4096), number, kind)}
    except TimeoutError:
        return {"answers": [], "dns_problem": "the node's resolver does not answer"}
    except (OSError, UnicodeError, ValueError, BreakwaterError, wire.Malformed, struct.error) as problem:
        return {"answers": [], "dns_problem": f"the node's resolver cannot be asked: {problem}"}


def addresses(data: bytes, number: int, kind: int) -> list[str]:
    """Return the addresses in a DNS answer; ValueError when it is an answer to something else, or a refusal."""
    said, flags, questions, answers, _, _ = struct.unpack_from("!6H", data)
    if said != number or not flags & wire.QR:
        raise ValueError("that is no answer to our question")
    if flags & 15 not in (wire.NOERROR, wire.NXDOMAIN):
        raise ValueError(f"it says code {flags & 15}")
    at, found = 12, []
    for _ in range(questions):
        at = wire.skip_name(data, at) + 4
    for _ in range(answers):
        at = wire.skip_name(data, at)
        this, _, _, length = struct.unpack_from("!2HIH", data, at)
        at += 10
        if this == kind and length in (4, 16):
            found.append(socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, data[at : at + length]))
        at += length
    return sorted(found)


def _reachable(host: str) -> str:
    """Return where a socket bound to every address is reached on this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - names what others bind to
