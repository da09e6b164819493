"""`GET .../services` without Django: answers from memory, as new as the database.

Every request asks SQLite for `PRAGMA data_version` (4 microseconds), which moves with every commit of any
process; only then the counters are read, and only what they say has changed is built anew. What this path
cannot answer with 200 or 304 it leaves to the ordinary view, which so says every refusal; all but 429, because
who asks too much must not get the dearer answer.
Runs in the event loop's thread alone, so no two askers ever build the same answer.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from django.conf import settings

from core.errors import BreakwaterError
from mep.mp1 import http, links, locality, mtls, throttle, tokens
from mep.mp1.database import Pulse
from mep.mp1.discovery import Offer, Query, list_etag, render
from mep.mp1.models import Service
from mep.mp1.states import AppState, may_use_tokens
from mep.mp1.subscriptions import SERVICE_API

log = logging.getLogger(__name__)
Quick = tuple[int, list[tuple[bytes, bytes]], bytes]
#: All that an answer depends on beside the catalogue: Host, prefix, query, and where the asker is.
Key = tuple[bytes, str, bytes, locality.Near]
_COLUMNS = (
    "id", "app_id", "name", "version", "state", "category", "transport", "serializer", "scope", "consumed_local_only",
    "interval", "revision", "created_at",
)  # fmt: skip
#: Answers and tokens that are remembered, and the bytes that the answers may be together: an app chooses what it asks.
_LIMIT = 2048
_LIMIT_BYTES = 32 << 20


class Ready:
    """A list that was asked for before: its bytes, and which names it is about (None: any change may matter)."""

    __slots__ = ("body", "headers", "names", "not_modified", "tag")

    def __init__(self, body: bytes, names: frozenset[str] | None) -> None:
        self.body, self.names = body, names
        self.tag = list_etag(body)
        tag = (b"etag", self.tag.encode())
        self.headers = [
            (b"content-type", http.JSON.encode()), (b"content-length", str(len(body)).encode()), tag
        ]  # fmt: skip
        self.not_modified = [tag]


class Holder:
    """Who shows a token over connections with one certificate or none, and until when that is good."""

    __slots__ = ("app", "certificate", "expires")

    def __init__(self, app: str, expires: float, certificate: str) -> None:
        self.app, self.expires, self.certificate = app, expires, certificate


class FastPath:
    """The snapshot of the catalogue in this process, its answers, and the tokens it has seen."""

    def __init__(self, database: Path | str, limits: throttle.Buckets = throttle.apps) -> None:
        prefixes = dict.fromkeys(["", "/mep", f"/{settings.PREFIX}" if settings.PREFIX else ""])
        self.paths = {f"{prefix}{SERVICE_API}/services": prefix for prefix in prefixes}
        self.verifier = tokens.Verifier(self._public_keys)
        self._pulse = Pulse(database)
        self._counters: dict[str, int] = {}
        self._offers: dict[str, Offer] = {}
        self._by_name: dict[str, dict[str, Offer]] = {}
        self._ready: dict[Key, Ready] = {}
        self._ready_bytes = 0
        self._holders: dict[bytes, Holder] = {}
        self._limits = limits

    def answer(self, scope: Mapping[str, Any]) -> Quick | None:
        """Return status, headers and body; None when the ordinary view has to answer."""
        prefix = self.paths.get(scope["path"])
        if prefix is None:
            return None
        try:
            return self._answer(scope, prefix)
        except (sqlite3.Error, BreakwaterError, ValueError) as problem:
            # The view meets the same trouble and finds the words for it.
            log.debug("left to the view: %s", problem)
            if isinstance(problem, sqlite3.Error):
                self.close()
            return None

    def warm(self) -> None:
        """Read the catalogue now, so that the first request need not wait for it; in the thread that will serve."""
        self._catch_up()

    def close(self) -> None:
        """Let go of the database; the next request opens it again."""
        self._pulse.close()

    def _answer(self, scope: Mapping[str, Any], prefix: str) -> Quick | None:
        host = authorization = if_none_match = None
        for name, value in scope["headers"]:
            # What comes twice is joined by the ordinary way, an empty one too.
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"host":
                if host is not None:
                    return None
                host = value
            elif name == b"if-none-match":
                if if_none_match is not None:
                    return None
                if_none_match = value
        host, authorization = host or b"", authorization or b""
        query: bytes = scope["query_string"]
        if len(query) + len(scope["path"]) > http.LONGEST_TARGET:
            return None
        self._catch_up()
        certificate = mtls.shown(scope)
        holder = self._holders.get(authorization)
        if holder is None or holder.expires <= time.time() or holder.certificate != certificate:
            holder = self._admit(authorization, certificate)
            if holder is None:
                return None
        client = scope.get("client")
        near = locality.near(client[0] if client else "")
        key = (host, prefix, query, near)
        ready = self._ready.get(key)
        # What cannot be read is the view's to refuse, and to count.
        wanted = Query.read(query.decode("latin-1")) if ready is None else None
        wait = self._limits.take(holder.app)
        if wait:
            return _refused(throttle.too_many(wait))
        if wanted is not None:
            ready = self._build(host.decode("latin-1"), prefix, wanted, near)
            self._keep(key, ready)
        assert ready is not None
        if if_none_match and http.fresh(if_none_match.decode("latin-1"), ready.tag):
            return 304, ready.not_modified, b""
        return 200, ready.headers, ready.body

    def _build(self, host: str, prefix: str, wanted: Query, asker: locality.Near) -> Ready:
        root = links.root(host, prefix)
        if wanted.names:
            near = [offer for name in wanted.names for offer in self._by_name.get(name, {}).values()]
        else:
            near = list(self._offers.values())
        return Ready(render((offer for offer in near if wanted.wants(offer, asker)), root, asker), wanted.names or None)

    def _keep(self, key: Key, ready: Ready) -> None:
        size = len(ready.body)
        if size > _LIMIT_BYTES // 2:
            return
        if len(self._ready) >= _LIMIT or self._ready_bytes + size > _LIMIT_BYTES:
            self._ready.clear()
            self._ready_bytes = 0
        self._ready[key] = ready
        self._ready_bytes += size

    # --- who asks ----------------------------------------------------------------------------------------------------

    def _admit(self, authorization: bytes, certificate: str) -> Holder | None:
        claims = self.verifier.claims(tokens.bearer(authorization.decode("latin-1")))
        sql = "SELECT state, client_id, certificate FROM mp1_app WHERE id = ?"
        row = self._pulse.open().execute(sql, [claims.app]).fetchone()
        if row is None or row[1] != claims.client or not may_use_tokens(AppState(row[0])):
            return None
        if mtls.objection(claims.certificate, row[2], certificate, mtls.mode() is mtls.Mode.REQUIRED):
            return None
        if len(self._holders) >= _LIMIT:
            self._holders.clear()
        holder = self._holders[authorization] = Holder(claims.app, claims.expires, certificate)
        return holder

    def _public_keys(self) -> dict[str, Any]:
        rows = self._pulse.open().execute("SELECT public FROM mp1_signingkey").fetchall()
        return {jwk["kid"]: jwt.PyJWK(jwk).key for jwk in (json.loads(text) for (text,) in rows)}

    # --- what there is -------------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if not self._pulse.moved():
            return
        database = self._pulse.open()
        # One read transaction, so that counters and rows belong together.
        database.execute("BEGIN")
        try:
            counters = dict(database.execute("SELECT name, value FROM mp1_counter"))
            if counters.get("apps") != self._counters.get("apps") or counters.get("keys") != self._counters.get("keys"):
                self._holders.clear()
                self.verifier.forget()
            if counters.get("services") != self._counters.get("services"):
                self._update(database, counters)
        finally:
            database.execute("COMMIT")
        self._counters = counters

    def _update(self, database: sqlite3.Connection, counters: Mapping[str, int]) -> None:
        known = self._counters.get("services", 0)
        sql = f"SELECT {', '.join(_COLUMNS)} FROM mp1_service WHERE revision > ?"  # noqa: S608 - our own column names
        touched: set[str] = set()
        for row in database.execute(sql, [known]):
            values = dict(zip(_COLUMNS, row, strict=True))
            values["category"] = json.loads(values["category"]) if values["category"] else None
            values["transport"] = json.loads(values["transport"])
            values["consumed_local_only"] = bool(values["consumed_local_only"])
            offer = Offer.of(Service(**values))
            touched |= self._drop(offer.id) | {offer.name}
            self._offers[offer.id] = offer
            self._by_name.setdefault(offer.name, {})[offer.id] = offer
        if counters.get("removals") != self._counters.get("removals"):
            present = {row[0] for row in database.execute("SELECT id FROM mp1_service")}
            for gone in self._offers.keys() - present:
                touched |= self._drop(gone)
        stale = [key for key, ready in self._ready.items() if ready.names is None or ready.names & touched]
        for key in stale:
            self._ready_bytes -= len(self._ready.pop(key).body)

    def _drop(self, service_id: str) -> set[str]:
        offer = self._offers.pop(service_id, None)
        if offer is None:
            return set()
        namesakes = self._by_name[offer.name]
        del namesakes[service_id]
        if not namesakes:
            del self._by_name[offer.name]
        return {offer.name}


def _refused(error: BreakwaterError) -> Quick:
    """Return an error as the view would, word for word."""
    answer = http.refused(error)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.items()]
    return answer.status_code, headers, answer.content
