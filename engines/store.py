"""The engine's memory on disk: releases, their revisions, events, loopback ports. One SQLite file, mode 0600.

What a release wants (values and rendered objects may hold secrets) is sealed with a key that lies beside it.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import Missing
from core.vault import Vault, load_or_make_key
from core.words import say
from engines.contract import Event, Manifest, Revision

HISTORY, EVENTS = 10, 200
#: Seconds that an image which was loaded is kept for the release that it was loaded for.
UNCLAIMED = 3600.0

_SCHEMA = """
create table if not exists release (
    namespace text not null, name text not null, current integer not null, leaving integer not null default 0,
    primary key (namespace, name));
create table if not exists revision (
    namespace text not null, name text not null, number integer not null, generation integer not null,
    chart text not null, chart_version text not null, digest text not null, wish blob not null, status text not null,
    created_at text not null, description text not null, was_ready integer not null default 0,
    primary key (namespace, name, number));
create table if not exists event (
    id integer primary key, namespace text not null, name text not null, at text not null, type text not null,
    reason text not null, object text not null, message text not null, count integer not null);
create index if not exists event_of on event (namespace, name, id);
create table if not exists port (
    namespace text not null, name text not null, service text not null, port integer not null,
    host_port integer not null unique, primary key (namespace, name, service, port));
create table if not exists fate (
    namespace text not null, name text not null, pod text not null, container text not null,
    restarts integer not null, reason text not null, message text not null,
    primary key (namespace, name, pod, container));
create table if not exists finished (
    namespace text not null, name text not null, pod text not null, digest text not null,
    primary key (namespace, name, pod, digest));
create table if not exists image_load (id text not null, at real not null);
create table if not exists image_pin (
    namespace text not null, name text not null, image text not null, id text not null,
    primary key (namespace, name, image));
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A revision with what it wants to run; `digest` is that of chart and values."""

    namespace: str
    name: str
    revision: Revision
    digest: str
    manifests: tuple[Manifest, ...] = field(repr=False)
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    was_ready: bool = False
    leaving: bool = False
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


class Store:
    """Release history and the like; every method is one transaction and may be called from any thread.

    Without a folder it lives in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        path = ":memory:"
        key = secrets.token_bytes(32)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = str(folder / "engine.sqlite3")
            Path(path).touch(mode=0o600)
            key = load_or_make_key(folder / "key")
        self._vault = Vault(key)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=20)
        self._db.executescript("pragma journal_mode=wal; pragma synchronous=normal;" + _SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    # Releases and revisions

    def releases(self) -> list[Kept]:
        """Return the present revision of every release, those that are leaving too."""
        return self._revisions("where r.number = c.current")

    def current(self, namespace: str, name: str) -> Kept | None:
        """Return the present revision of one release."""
        found = self._revisions(
            "where r.number = c.current and r.namespace = ? and r.name = ?",
            namespace,
            name,
        )
        return found[0] if found else None

    def revisions(self, namespace: str, name: str) -> list[Kept]:
        """Return every kept revision, oldest first; `Missing` when there is no such release."""
        found = self._revisions("where r.namespace = ? and r.name = ?", namespace, name)
        if not found:
            raise Missing(say("There is no release {name} in {namespace}", name=name, namespace=namespace))
        return found

    def _revisions(self, clause: str, *values: Any) -> list[Kept]:
        sql = (
            "select r.namespace, r.name, r.number, r.generation, r.chart, r.chart_version, r.digest, r.wish, r.status,"
            " r.created_at, r.description, r.was_ready, c.leaving"
            " from revision r join release c using (namespace, name)"
        )
        return [self._kept(row) for row in self._read(f"{sql} {clause} order by 1, 2, 3", *values)]

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        wish = json.loads(self._vault.open(row[7], f"release:{row[0]}/{row[1]}"))
        return Kept(
            namespace=row[0],
            name=row[1],
            revision=Revision(
                number=row[2],
                generation=row[3],
                chart=row[4],
                chart_version=row[5],
                status="uninstalling" if row[12] else row[8],
                created_at=datetime.fromisoformat(row[9]),
                description=row[10],
            ),
            digest=row[6],
            manifests=tuple(
                Manifest(body["kind"], body["metadata"]["name"], str(body.get("apiVersion", "")), body)
                for body in wish["manifests"]
            ),
            values=wish["values"],
            was_ready=bool(row[11]),
            leaving=bool(row[12]),
            images=wish.get("images") or {},
        )

    def add(
        self,
        namespace: str,
        name: str,
        *,
        generation: int,
        chart: str,
        chart_version: str,
        digest: str,
        values: Mapping[str, Any],
        manifests: Sequence[Manifest],
        status: str,
        description: str,
        images: Mapping[str, str] | None = None,
    ) -> Kept:
        """Make a new revision the present one, forget the oldest, and return it."""
        wish = {
            "values": dict(values),
            "manifests": [dict(each.body) for each in manifests],
            "images": dict(images or {}),
        }
        sealed = self._vault.seal(json.dumps(wish).encode(), f"release:{namespace}/{name}")
        with self._write() as db:
            (last,) = db.execute(
                "select coalesce(max(number), 0) from revision where namespace = ? and name = ?", (namespace, name)
            ).fetchone()
            db.execute(
                "update revision set status = 'superseded'"
                " where namespace = ? and name = ? and status in"
                " ('deployed', 'pending-install', 'pending-upgrade', 'pending-rollback')",
                (namespace, name),
            )
            db.execute(
                "insert into revision values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    namespace,
                    name,
                    last + 1,
                    generation,
                    chart,
                    chart_version,
                    digest,
                    sealed,
                    status,
                    _now(),
                    description,
                ),
            )
            db.execute(
                "insert into release values (?, ?, ?, 0) on conflict do update set current = excluded.current, leaving = 0",
                (namespace, name, last + 1),
            )
            # The last good one is kept however old it is: a rollback must find it.
            db.execute(
                "delete from revision where namespace = ?1 and name = ?2 and number <= ?3 and number <> coalesce("
                "(select max(number) from revision where namespace = ?1 and name = ?2 and was_ready), 0)",
                (namespace, name, last + 1 - HISTORY),
            )
            for table in ("fate", "image_pin"):
                db.execute(f"delete from {table} where namespace = ? and name = ?", (namespace, name))  # noqa: S608
        kept = self.current(namespace, name)
        assert kept is not None
        return kept

    def set_status(self, kept: Kept, status: str, *, ready: bool = False) -> None:
        """Set Helm's word for a revision; `ready` also marks it as one to roll back to."""
        with self._write() as db:
            db.execute(
                "update revision set status = ?, was_ready = max(was_ready, ?)"
                " where namespace = ? and name = ? and number = ?",
                (status, int(ready), *kept.key, kept.revision.number),
            )

    def leave(self, namespace: str, name: str) -> bool:
        """Mark the release as one that goes; False when there is none."""
        with self._write() as db:
            done = db.execute("update release set leaving = 1 where namespace = ? and name = ?", (namespace, name))
            return done.rowcount > 0

    def forget(self, namespace: str, name: str) -> None:
        """Drop everything about the release."""
        with self._write() as db:
            for table in ("release", "revision", "event", "port", "fate", "finished", "image_pin"):
                db.execute(f"delete from {table} where namespace = ? and name = ?", (namespace, name))  # noqa: S608

    # Events

    def event(self, namespace: str, name: str, kind: str, reason: str, what: str, message: str) -> None:
        """Write down what happened; the same again right after only counts up."""
        with self._write() as db:
            last = db.execute(
                "select id, reason, object, message from event where namespace = ? and name = ? and object = ?"
                " order by id desc limit 1",
                (namespace, name, what),
            ).fetchone()
            if last and last[1:] == (reason, what, message):
                db.execute("update event set count = count + 1, at = ? where id = ?", (_now(), last[0]))
                return
            db.execute(
                "insert into event (namespace, name, at, type, reason, object, message, count)"
                " values (?, ?, ?, ?, ?, ?, ?, 1)",
                (namespace, name, _now(), kind, reason, what, message[:1000]),
            )
            db.execute(
                "delete from event where namespace = ?1 and name = ?2 and id <="
                " (select id from event where namespace = ?1 and name = ?2 order by id desc limit 1 offset ?3)",
                (namespace, name, EVENTS),
            )

    def events(self, namespace: str, name: str, limit: int) -> list[Event]:
        """Return what happened, newest first."""
        rows = self._read(
            "select at, type, reason, object, message, count from event where namespace = ? and name = ?"
            " order by at desc, id desc limit ?",
            namespace,
            name,
            limit,
        )
        return [Event(datetime.fromisoformat(row[0]), *row[1:]) for row in rows]

    # Loopback ports

    def ports(self) -> dict[tuple[str, str, str, int], int]:
        """Return the loopback port of every exposed port, by namespace, release, Service and port."""
        return {(row[0], row[1], row[2], row[3]): row[4] for row in self._read("select * from port")}

    def set_port(self, key: tuple[str, str, str, int], host_port: int) -> None:
        with self._write() as db:
            db.execute("insert or replace into port values (?, ?, ?, ?, ?)", (*key, host_port))

    def drop_port(self, key: tuple[str, str, str, int]) -> None:
        with self._write() as db:
            db.execute("delete from port where namespace = ? and name = ? and service = ? and port = ?", key)

    # What became of containers

    def fates(self) -> dict[tuple[str, str, str, str], tuple[int, str, str]]:
        """Return restarts, last reason and message of containers, by namespace, release, pod and container."""
        return {(row[0], row[1], row[2], row[3]): (row[4], row[5], row[6]) for row in self._read("select * from fate")}

    def set_fate(self, key: tuple[str, str, str, str], restarts: int, reason: str, message: str) -> None:
        with self._write() as db:
            db.execute("insert or replace into fate values (?, ?, ?, ?, ?, ?, ?)", (*key, restarts, reason, message))

    def finished(self) -> set[tuple[str, str, str, str]]:
        """Return the pods of Jobs that ended well: namespace, release, pod and digest."""
        return {(row[0], row[1], row[2], row[3]) for row in self._read("select * from finished")}

    def set_finished(self, key: tuple[str, str, str, str]) -> None:
        with self._write() as db:
            db.execute("insert or ignore into finished values (?, ?, ?, ?)", key)

    # Images

    def note_load(self, image: str) -> None:
        """Write down that an image is being loaded, so that it is kept until a release has it."""
        with self._write() as db:
            db.execute("insert into image_load values (?, ?)", (image, time.time()))

    def claim_images(self, images: Iterable[str]) -> None:
        """Take back one load of each of these images: a release has them, or was refused."""
        with self._write() as db:
            for image in set(images):
                db.execute(
                    "delete from image_load where rowid = (select min(rowid) from image_load where id = ?)", (image,)
                )

    def pin_image(self, namespace: str, name: str, image: str, identity: str) -> None:
        """Keep what a name of the node's own meant when this release first used it; a new revision may ask again."""
        with self._write() as db:
            db.execute("insert or ignore into image_pin values (?, ?, ?, ?)", (namespace, name, image, identity))

    def pinned_image(self, namespace: str, name: str, image: str) -> str:
        """Return what the name means to this release; empty when it has not used it."""
        found = self._read(
            "select id from image_pin where namespace = ? and name = ? and image = ?", namespace, name, image
        )
        return str(found[0][0]) if found else ""

    def images_in_use(self) -> set[str]:
        """Return the IDs that any kept revision may run again, and those that were loaded a moment ago."""
        with self._write() as db:
            db.execute("delete from image_load where at < ?", (time.time() - UNCLAIMED,))
        used = {str(row[0]) for row in self._read("select id from image_load union select id from image_pin")}
        return used.union(*(kept.images.values() for kept in self._revisions("")))


def _now() -> str:
    return datetime.now(UTC).isoformat()
