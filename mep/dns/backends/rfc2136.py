"""A name server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945): BIND, Knot and others.

Mode `zone` writes names inside a delegated zone. Mode `rpz` writes any name into a response policy zone, from which
a resolver takes its answers before it asks elsewhere; BIND needs `min-update-interval 0` there to see changes at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.tsig
import dns.update
import dns.xfr
import msgspec

from core.errors import BreakwaterError, Conflict, Invalid, Rejected, TimedOut, Unavailable
from mep.dns.backends.axfr import transfer
from mep.dns.backends.bisect import settle
from mep.dns.backends.contract import Capabilities, DnsBackend, Key, Outcome, RecordSet, Refused
from mep.dns.wire import Malformed

#: Sets in one message, and the bytes that they may take with their conditions: a TCP message holds 64 KB.
BATCH, ROOM = 500, 56_000
TRIGGERS = {"rpz-ip", "rpz-nsdname", "rpz-nsip", "rpz-client-ip", "rpz-drop", "rpz-passthru", "rpz-tcp-only"}
_KINDS = (dns.rdatatype.A, dns.rdatatype.AAAA)
#: What the server says about one of the updates of a message, not about us.
_ABOUT_ONE = {
    dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN, dns.rcode.REFUSED,
    dns.rcode.FORMERR, dns.rcode.NOTZONE,
}  # fmt: skip


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What MEP_DNS_CONFIG holds. The secret is MEP_DNS_SECRET, or in `key_file` as BIND's tsig-keygen writes it."""

    server: str
    zone: str
    port: int = 53
    mode: Literal["zone", "rpz"] = "zone"
    key_name: str = ""
    algorithm: str = "hmac-sha256"
    key_file: str = ""
    #: All A and AAAA records of the zone (but those of its own name) are ours, whoever put them.
    exclusive: bool = False
    #: The server lets us read the zone (AXFR); without that we trust what we wrote down.
    transfer: bool = True
    timeout: float = 5.0


class Rfc2136Dns(DnsBackend):
    """Speaks to one server about one zone."""

    name = "rfc2136"
    Options = Options

    def __init__(self, options: Any = None, secret: str = "") -> None:
        if options is None:
            raise Invalid("The DNS backend rfc2136 needs options: server and zone at least")
        super().__init__(options, secret)
        self.exclusive = options.exclusive
        try:
            ipaddress.ip_address(options.server)
        except ValueError:
            raise Invalid(f"server must be an IP address, not {options.server[:80]!r}") from None
        if not 0 < options.port < 65536:
            raise Invalid(f"port must be 1 to 65535, not {options.port}")
        try:
            self._zone = dns.name.from_text(options.zone.lower())
        except (dns.exception.DNSException, UnicodeError):
            raise Invalid(f"zone must be a domain name, not {options.zone[:80]!r}") from None
        self._keyring = _keyring(options, secret)

    @property
    def server(self) -> str:
        """Return what tells this server and zone from others."""
        return f"rfc2136 {self.options.server} port {self.options.port} {self.options.mode} {self._zone}"

    def capabilities(self) -> Capabilities:
        """Return what this server can hold."""
        rpz = self.options.mode == "rpz"
        return Capabilities(
            any_name=rpz,
            zone="" if rpz else self._zone.to_text(omit_final_dot=True),
            notes=(
                "Everybody gets the same answer: telling clients apart would take views, which are set up on the server.",
                "Names without a rule are the server's own affair."
                if rpz
                else "Only names inside the zone can have a rule.",
            ),
        )

    def check(self, records: RecordSet) -> None:
        """Raise `Refused` for scoped records, for names outside the zone, and for names that do not fit."""
        super().check(records)
        name = dns.name.from_text(records.name)
        if self.options.mode == "zone":
            if not name.is_subdomain(self._zone):
                raise Refused(
                    f"{records.name} is not inside the zone {self._zone.to_text(omit_final_dot=True)}",
                    nearest='mode "rpz", which can answer any name, or a name inside the zone',
                )
            return
        if records.name.rpartition(".")[2] in TRIGGERS:
            raise Refused(f"{records.name} ends with a word that means something else in a response policy zone")
        try:
            self._owner(records.name)
        except dns.name.NameTooLong:
            raise Refused(
                f"{records.name[:40]}... is too long to be followed by the name of the policy zone",
                nearest="the embedded responder (MEP_DNS_BACKEND=embedded)",
            ) from None

    def present(self) -> dict[Key, RecordSet] | None:
        """Return the addresses in the zone, read by a zone transfer."""
        if not self.options.transfer:
            return None
        found: dict[Key, tuple[int, set[str]]] = {}
        with _talking(self):
            for rrset in transfer(self._zone, self.options, self._keyring):
                name = self._rule_name(rrset.name)
                if rrset.rdtype in _KINDS and name and not (self.exclusive and rrset.name == self._zone):
                    _, addresses = found.setdefault(("", name, rrset.rdtype.name), (rrset.ttl, set()))
                    addresses.update(each.address for each in rrset)
        return {key: RecordSet(key[1], key[2], ttl, tuple(sorted(of))) for key, (ttl, of) in found.items()}

    def apply(self, put: Sequence[RecordSet], delete: Sequence[RecordSet], *, owned: Iterable[Key] = ()) -> Outcome:
        """Send the changes, up to 500 in a message, each message in force as a whole or not at all."""
        ours = set(owned)
        outcome: dict[Key, BreakwaterError | None] = {}
        changes = [(each, False) for each in delete] + [(each, True) for each in put]
        for batch in _batches(changes, self._zone.to_text(omit_final_dot=True)):
            outcome |= settle(
                {each.key: (each, new) for each, new in batch}, lambda some: self._send(some.values(), ours)
            )
        return outcome

    def probe(self) -> None:
        """Ask for the zone's SOA."""
        with _talking(self):
            reply = dns.query.udp(
                dns.message.make_query(self._zone, dns.rdatatype.SOA),
                self.options.server,
                port=self.options.port,
                timeout=self.options.timeout,
            )
        if self.options.mode == "zone" and reply.rcode() != dns.rcode.NOERROR:
            raise Unavailable(f"{self.server} says {dns.rcode.to_text(reply.rcode())} about its zone")

    def _send(self, changes: Iterable[tuple[RecordSet, bool]], ours: set[Key]) -> BreakwaterError | None:
        message = dns.update.UpdateMessage(
            self._zone,
            keyring=self._keyring,
            keyalgorithm=self.options.algorithm if self._keyring else dns.tsig.HMAC_SHA256,
        )
        for each, new in changes:
            owner = self._owner(each.name)
            kind = dns.rdatatype.from_text(each.kind)
            if not new:
                # Only what we put: addresses that somebody added since stay.
                message.delete(owner, self._rdataset(each, kind))
                continue
            # RFC 2136 3.4.2.2: next to an alias the addition would be ignored without a word.
            message.absent(owner, dns.rdatatype.CNAME)
            if each.key not in ours:
                message.absent(owner, kind)
            message.replace(owner, self._rdataset(each, kind))
        with _talking(self):
            reply = dns.query.tcp(message, self.options.server, port=self.options.port, timeout=self.options.timeout)
        return self._judge(reply.rcode())

    def _judge(self, code: int) -> BreakwaterError | None:
        """Return the error of one of the updates; raise for what is about all of them."""
        if code == dns.rcode.NOERROR:
            return None
        said = dns.rcode.to_text(dns.rcode.Rcode(code))
        if code in (dns.rcode.YXRRSET, dns.rcode.YXDOMAIN):
            return Conflict("The name has records on the server already that are not ours")
        if code in _ABOUT_ONE:
            return Rejected(f"{self.server} refuses the record: {said}")
        if code == dns.rcode.SERVFAIL:
            raise Unavailable(f"{self.server} could not take an update: {said}")
        raise Unavailable(
            f"{self.server} takes no updates from us: {said}; check the key and the server's configuration"
        )

    def _owner(self, name: str) -> dns.name.Name:
        return dns.name.from_text(name, self._zone if self.options.mode == "rpz" else dns.name.root)

    def _rule_name(self, owner: dns.name.Name) -> str:
        """Return the name that an owner in the zone answers; empty for the zone itself in mode `rpz`."""
        if self.options.mode == "rpz":
            owner = owner.relativize(self._zone)
            return "" if owner == dns.name.empty else owner.to_text().lower()
        return owner.to_text(omit_final_dot=True).lower()

    def _rdataset(self, records: RecordSet, kind: dns.rdatatype.RdataType) -> dns.rdataset.Rdataset:
        return dns.rdataset.from_text_list(dns.rdataclass.IN, kind, records.ttl, records.addresses)


def _batches(changes: list[tuple[RecordSet, bool]], zone: str) -> Iterator[list[tuple[RecordSet, bool]]]:
    """Cut into messages of what surely fits: beyond 16 KB a name is written out but for the zone's own."""
    batch: list[tuple[RecordSet, bool]] = []
    room = ROOM
    for change in changes:
        addresses = len(change[0].addresses)
        need = (3 + addresses) * (14 + len(change[0].name.removesuffix(zone))) + 16 * addresses
        if batch and (len(batch) == BATCH or need > room):
            yield batch
            batch, room = [], ROOM
        batch.append(change)
        room -= need
    if batch:
        yield batch


def _keyring(options: Options, secret: str) -> dict[dns.name.Name, dns.tsig.Key] | None:
    name, algorithm = options.key_name, options.algorithm
    if options.key_file:
        try:
            text = Path(options.key_file).read_text()
        except (OSError, ValueError):
            raise Invalid(f"key_file: {options.key_file} cannot be read") from None
        found = re.search(r'key\s+"?([^"\s{]+)"?\s*\{(.*?)\}', text, re.DOTALL)
        shown = found and re.search(r'secret\s+"?([A-Za-z0-9+/=]+)"?\s*;', found[2])
        if not found or not shown:
            raise Invalid(f"key_file: {options.key_file} holds no key as BIND's tsig-keygen writes it")
        name, secret = found[1], shown[1]
        told = re.search(r'algorithm\s+"?([A-Za-z0-9.-]+)"?\s*;', found[2])
        algorithm = told[1] if told else algorithm
    if not secret:
        return None
    if not name:
        raise Invalid("key_name is needed beside the secret")
    options.algorithm = algorithm
    try:
        key = dns.tsig.Key(dns.name.from_text(name), secret, algorithm)
        dns.tsig.get_context(key)
    except (ValueError, NotImplementedError, dns.exception.DNSException):
        raise Invalid(f"The TSIG secret is not base64, or the algorithm {algorithm[:40]!r} is unknown") from None
    return {key.name: key}


@contextmanager
def _talking(backend: Rfc2136Dns) -> Iterator[None]:
    """Translate what goes wrong on the way into our errors."""
    server = backend.server
    try:
        yield
    except BreakwaterError:
        raise
    except dns.exception.Timeout:
        raise TimedOut(f"{server} does not answer") from None
    except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.message.UnknownTSIGKey) as problem:
        raise Unavailable(f"{server} and we do not agree on the TSIG key: {type(problem).__name__}") from None
    except dns.xfr.TransferError as problem:
        raise Unavailable(
            f"{server} does not show us its zone ({dns.rcode.to_text(problem.rcode)}): "
            'allow transfers for our key, or set "transfer" to false'
        ) from None
    except (OSError, EOFError) as problem:
        raise Unavailable(f"{server} cannot be reached: {getattr(problem, 'strerror', None) or problem}") from None
    except (dns.exception.DNSException, Malformed) as problem:
        raise Unavailable(f"{server} answers with something that is no DNS: {type(problem).__name__}") from None
