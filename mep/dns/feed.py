"""The DNS rules and scopes of the node's database, followed by their differences.

A rule carries the value that the counter `dns` had at its last change, so what is new is one short query. Count and
sum of those revisions prove that nothing else happened; where they do not agree, a row was deleted (or written by
other means), and the whole list of ids and revisions is compared.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mep.dns.records import Rule
from mep.dns.scopes import Scope
from mep.dns.scopes import networks as read_networks
from mep.mp1.database import Pulse

log = logging.getLogger(__name__)
_COLUMNS = "SELECT id, revision, domain_name, family, address, ttl, scope, state FROM mp1_dnsrule"
#: Seconds before a database that could not be read is tried again.
PAUSE = 1.0
#: SQLite takes at least this many parameters (SQLITE_MAX_VARIABLE_NUMBER before 3.32).
_MANY = 900


@dataclass(frozen=True, slots=True)
class Change:
    """What is different since the last look: the names whose rules changed, and whether scopes did."""

    names: frozenset[str]
    scopes: bool


class Feed:
    """Holds the ACTIVE rules by name, and the scopes. Belongs to the thread that first looks."""

    def __init__(self, database: Path | str) -> None:
        self.version = -1
        self.scopes: tuple[Scope, ...] = ()
        self.rules: dict[str, dict[int, Rule]] = {}
        self._scopes_version = -1
        self._known: dict[int, tuple[int, Rule | None]] = {}
        self._sum = 0
        self._pulse = Pulse(database)
        self._not_before = 0.0

    def of(self, name: str) -> Iterable[Rule]:
        """Return the ACTIVE rules of a name."""
        return self.rules.get(name, {}).values()

    def look(self) -> Change | None:
        """Take over what was committed since the last look; None when nothing concerns DNS.

        With the database out of reach the present rules stay.
        """
        if self._not_before and time.monotonic() < self._not_before:
            return None
        try:
            if not self._pulse.moved():
                return None
            database = self._pulse.open()
            database.execute("BEGIN")
            try:
                return self._look(database)
            finally:
                database.execute("COMMIT")
        except sqlite3.Error as problem:
            log.warning("the DNS rules cannot be read, the present ones stay: %s", problem)
            self.close()
            self._not_before = time.monotonic() + PAUSE
            return None

    def close(self) -> None:
        """Let go of the database; the next look opens it again."""
        self._pulse.close()

    def _look(self, database: sqlite3.Connection) -> Change | None:
        counters = dict(database.execute("SELECT name, value FROM mp1_counter WHERE name IN ('dns', 'dns_scopes')"))
        version, scopes_version = counters.get("dns", 0), counters.get("dns_scopes", 0)
        names: set[str] = set()
        if version != self.version:
            for row in self._changed(database, version):
                self._take(row, names)
            self.version = version
        scopes_changed = scopes_version != self._scopes_version
        if scopes_changed:
            rows = database.execute("SELECT name, kind, networks FROM dns_dnsscope").fetchall()
            self.scopes = tuple(
                Scope(name, kind, read_networks(msgspec.json.decode(nets))) for name, kind, nets in rows
            )
            self._scopes_version = scopes_version
        return Change(frozenset(names), scopes_changed) if names or scopes_changed else None

    def _changed(self, database: sqlite3.Connection, version: int) -> list[Any]:
        """Return the rows that are new or different, and a row without a state for each that is gone."""
        if not self._known:
            return database.execute(_COLUMNS).fetchall()
        rows = database.execute(f"{_COLUMNS} WHERE revision > ?", (self.version,)).fetchall()
        count, total = database.execute("SELECT count(*), coalesce(sum(revision), 0) FROM mp1_dnsrule").fetchone()
        new = sum(row[0] not in self._known for row in rows)
        more = sum(row[1] - self._known.get(row[0], (0, None))[0] for row in rows)
        if version > self.version and (count, total) == (len(self._known) + new, self._sum + more):
            return rows
        present = dict(database.execute("SELECT id, revision FROM mp1_dnsrule"))
        rows = [(pk, 0, "", "", "", None, "", None) for pk in self._known.keys() - present.keys()]
        other = [pk for pk, revision in present.items() if self._known.get(pk, (None, None))[0] != revision]
        for at in range(0, len(other), _MANY):
            some = other[at : at + _MANY]
            rows += database.execute(f"{_COLUMNS} WHERE id IN ({','.join('?' * len(some))})", some)
        return rows

    def _take(self, row: Any, names: set[str]) -> None:
        pk, revision, name, family, address, ttl, scope, state = row
        before, old = self._known.pop(pk, (0, None))
        self._sum -= before
        if old is not None:
            of = self.rules[old.name]
            del of[pk]
            if not of:
                del self.rules[old.name]
            names.add(old.name)
        if state is None:
            return
        new = Rule(pk, name, family, address, ttl, scope) if state == "ACTIVE" else None
        self._known[pk] = (revision, new)
        self._sum += revision
        if new is not None:
            self.rules.setdefault(name, {})[pk] = new
            names.add(name)
