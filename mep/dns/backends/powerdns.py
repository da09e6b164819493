"""A PowerDNS authoritative server by its REST API; its own dynamic updates replace records far too slowly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from core.errors import BreakwaterError, Conflict, Invalid, Rejected, TimedOut, Unavailable
from mep.dns.backends.bisect import settle
from mep.dns.backends.contract import Capabilities, DnsBackend, Key, Outcome, RecordSet, Refused

BATCH = 500
#: What the server may send us at most.
LARGEST = 64 << 20


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What MEP_DNS_CONFIG holds. The API key is MEP_DNS_SECRET, or alone in `key_file`."""

    url: str
    zone: str
    server_id: str = "localhost"
    key_file: str = ""
    #: All A and AAAA records of the zone (but those of its own name) are ours, whoever put them.
    exclusive: bool = False
    timeout: float = 10.0


class _Record(msgspec.Struct):
    content: str
    disabled: bool = False


class _Set(msgspec.Struct):
    name: str
    type: str
    ttl: int
    records: list[_Record]


class _Zone(msgspec.Struct):
    rrsets: list[_Set]


class PowerDns(DnsBackend):
    """Speaks to one server about one zone."""

    name = "powerdns"
    Options = Options

    def __init__(self, options: Any = None, secret: str = "", transport: httpx.BaseTransport | None = None) -> None:
        if options is None:
            raise Invalid("The DNS backend powerdns needs options: url and zone at least")
        super().__init__(options, secret)
        self.exclusive = options.exclusive
        self._zone = options.zone.rstrip(".").lower()
        if not re.fullmatch(r"https?://[^/?#@\s]+", options.url.rstrip("/")):
            raise Invalid("url must be like http://127.0.0.1:8081, without a path or a password")
        if not re.fullmatch(r"[a-z0-9._-]{1,253}", self._zone) or not re.fullmatch(
            r"[A-Za-z0-9._-]+", options.server_id
        ):
            raise Invalid("zone must be a domain name and server_id a word")
        if options.key_file:
            try:
                secret = Path(options.key_file).read_text().strip()
            except (OSError, ValueError):
                raise Invalid(f"key_file: {options.key_file} cannot be read") from None
        if not secret or not secret.isascii() or not secret.isprintable():
            raise Invalid("The API key of PowerDNS is needed: MEP_DNS_SECRET, MEP_DNS_SECRET_FILE or key_file")
        self._path = f"/api/v1/servers/{options.server_id}/zones/{self._zone}."
        self._client = httpx.Client(
            base_url=options.url.rstrip("/"),
            headers={"X-API-Key": secret},
            timeout=options.timeout,
            trust_env=False,
            transport=transport,
        )
        #: Names and kinds in the zone when it was last read: what we do not own there must not be replaced.
        self._there: dict[Key, RecordSet] = {}
        self._aliases: set[str] = set()

    @property
    def server(self) -> str:
        """Return what tells this server and zone from others."""
        return f"powerdns {self.options.url.rstrip('/')} {self.options.server_id} {self._zone}"

    def capabilities(self) -> Capabilities:
        """Return what this server can hold."""
        return Capabilities(
            zone=self._zone,
            notes=("Everybody gets the same answer.", "Only names inside the zone can have a rule."),
        )

    def check(self, records: RecordSet) -> None:
        """Raise `Refused` for scoped records and for names outside the zone."""
        super().check(records)
        if records.name != self._zone and not records.name.endswith(f".{self._zone}"):
            raise Refused(
                f"{records.name} is not inside the zone {self._zone}",
                nearest="a name inside the zone, or the backend rfc2136 with mode rpz, which can answer any name",
            )

    def present(self) -> dict[Key, RecordSet]:
        """Return the addresses in the zone."""
        answer = self._ask("GET", self._path)
        if answer.status_code != 200:
            raise _failure(self.server, answer)
        try:
            zone = msgspec.json.decode(answer.content, type=_Zone)
        except (msgspec.DecodeError, ValueError):
            raise Unavailable(f"{self.server} answers with something that is no zone") from None
        found: dict[Key, RecordSet] = {}
        self._aliases = {each.name.rstrip(".").lower() for each in zone.rrsets if each.type == "CNAME"}
        for each in zone.rrsets:
            name = each.name.rstrip(".").lower()
            if each.type in ("A", "AAAA") and not (self.exclusive and name == self._zone):
                addresses = tuple(sorted(record.content for record in each.records if not record.disabled))
                found["", name, each.type] = RecordSet(name, each.type, each.ttl, addresses)
        self._there = dict(found)
        return found

    def apply(self, put: Sequence[RecordSet], delete: Sequence[RecordSet], *, owned: Iterable[Key] = ()) -> Outcome:
        """Send the changes, up to 500 in a request, each request in force as a whole or not at all."""
        ours = set(owned)
        outcome: dict[Key, BreakwaterError | None] = {}
        changes: dict[Key, dict[str, Any]] = {}
        if any(each.key not in ours for each in put):
            self.present()  # the API knows no conditions, so we look right before
        for each in delete:
            changes[each.key] = {"name": f"{each.name}.", "type": each.kind, "changetype": "DELETE"}
        for each in put:
            if each.name in self._aliases or (each.key not in ours and each.key in self._there):
                outcome[each.key] = Conflict("The name has records on the server already that are not ours")
                continue
            changes[each.key] = {
                "name": f"{each.name}.",
                "type": each.kind,
                "ttl": each.ttl,
                "changetype": "REPLACE",
                "records": [{"content": address, "disabled": False} for address in each.addresses],
            }
        keys = list(changes)
        for at in range(0, len(keys), BATCH):
            outcome |= settle({key: changes[key] for key in keys[at : at + BATCH]}, self._send)
        return outcome

    def probe(self) -> None:
        """Ask for the server's own description."""
        answer = self._ask("GET", f"/api/v1/servers/{self.options.server_id}")
        if answer.status_code != 200:
            raise _failure(self.server, answer)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _send(self, changes: Mapping[Key, dict[str, Any]]) -> BreakwaterError | None:
        answer = self._ask("PATCH", self._path, {"rrsets": list(changes.values())})
        if answer.status_code in (200, 204):
            return None
        if answer.status_code in (400, 409, 422):
            return Rejected(f"{self.server} refuses the record: {_said(answer)}")
        raise _failure(self.server, answer)

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        with (
            _talking(self.server),
            self._client.stream(method, path, content=None if body is None else msgspec.json.encode(body)) as answer,
        ):
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > LARGEST:
                    raise Unavailable(f"{self.server} answers with more than {LARGEST >> 20} MiB")
            return httpx.Response(answer.status_code, content=bytes(content))


def _failure(server: str, answer: httpx.Response) -> BreakwaterError:
    if answer.status_code in (401, 403):
        return Unavailable(f"{server} does not accept our API key")
    return Unavailable(f"{server} answers {answer.status_code}: {_said(answer)}")


def _said(answer: httpx.Response) -> str:
    try:
        text = msgspec.json.decode(answer.content)["error"]
    except (ValueError, TypeError, KeyError, msgspec.DecodeError):
        text = answer.text
    return "".join(letter if letter.isprintable() else " " for letter in str(text)[:200])


@contextmanager
def _talking(server: str) -> Iterator[None]:
    """Translate what goes wrong on the way into our errors."""
    try:
        yield
    except httpx.TimeoutException:
        raise TimedOut(f"{server} does not answer") from None
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise Unavailable(f"{server} cannot be reached: {type(problem).__name__}") from None
