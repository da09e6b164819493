"""The two databases that the centre runs on: a consistent copy while it works, its sums, and the way back.

The sums of a table are its rows and a number into which each row goes by a hash, in whatever order. They are taken from
the very state that was copied, so a copy that was restored must have the same.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from django.db import connection, transaction

from core.errors import Conflict, Unavailable
from core.words import say

#: Table -> [rows, sum].
Sums = dict[str, list[Any]]
#: Looks at the rows of a restored copy by queries, while it is there.
Look = Callable[[Callable[[str], Iterator[Sequence[Any]]]], None]
_PROGRAM_LIMIT = 24 * 3600
_POSTGRES_SUM = "coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)::text"


class Database(Protocol):
    """What a kind of database can do."""

    member: str

    def copy(self, target: Path) -> Sums:
        """Write a consistent copy while others go on writing; returns its sums."""

    def sums_of(self, copy: Path, look: Look | None = None) -> Sums:
        """Restore a copy into a temporary place and return its sums; `look` may look at it there."""

    def bring_back(self, copy: Path) -> None:
        """Put a copy in the place of the present database: whole, or not at all."""

    def empty(self) -> bool:
        """Whether nothing would be lost."""


def ours() -> Database:
    """Return the database that the settings name."""
    return Postgres() if connection.vendor == "postgresql" else Sqlite()


class Sqlite:
    """SQLite, by its online backup."""

    member = "database.sqlite3"

    def copy(self, target: Path) -> Sums:
        # A connection of its own: SQLite waits for ever when one that is writing is asked for a copy.
        where = Path(connection.settings_dict["NAME"]).absolute().as_uri()
        with closing(sqlite3.connect(f"{where}?mode=ro", uri=True)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            # In one file, without the log beside it that the live one has.
            copy.execute("PRAGMA journal_mode=DELETE")
        return self.sums_of(target)

    def sums_of(self, copy: Path, look: Look | None = None) -> Sums:
        # Opened where it was extracted to: that is all there is to restoring it.
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                raise Conflict(say("The copy of the database is damaged: {found}", found=str(found)[:200]))
            if look is not None:
                look(lambda query: iter(database.execute(query)))
            database.text_factory = bytes
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
            )
            return {name.decode(): _sum(database, name.decode()) for (name,) in names.fetchall()}

    def bring_back(self, copy: Path) -> None:
        target = Path(connection.settings_dict["NAME"])
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
        try:
            shutil.copyfile(copy, fresh)
            fresh.chmod(0o600)
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            connection.close()
            self._alone(target)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)

    def empty(self) -> bool:
        return _empty()

    def _alone(self, target: Path) -> None:
        """Fold the log of the present database into it; fails while anybody else has it open."""
        if not target.exists():
            return
        with closing(sqlite3.connect(target, timeout=3)) as present:
            try:
                (mode,) = present.execute("PRAGMA journal_mode=DELETE").fetchone()
            except sqlite3.OperationalError:
                mode = "busy"
            if mode != "delete":
                raise Conflict(say("Another process has the database open; stop the centre and its workers first"))


class Postgres:
    """PostgreSQL, by its own pg_dump and pg_restore."""

    member = "database.pgdump"

    def copy(self, target: Path) -> Sums:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            # pg_dump sees what we see, whatever others write meanwhile.
            (snapshot,) = cursor.fetchone()
            self._run(
                "pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--snapshot={snapshot}", f"--file={target}",
                "--dbname", self._where(),
            )  # fmt: skip
            return _postgres_sums(cursor)

    def sums_of(self, copy: Path, look: Look | None = None) -> Sums:
        import psycopg2  # only where PostgreSQL is used

        with self._spare() as name, closing(psycopg2.connect(**self._parameters(name))) as there:
            self._run(
                "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--dbname", self._where(name), str(copy)
            )
            if look is not None:

                def ask(query: str) -> Iterator[Sequence[Any]]:
                    # A name makes it a cursor of the server: rows come in parts.
                    with there.cursor(name="look") as rows:
                        rows.execute(query)
                        yield from rows

                look(ask)
            with there.cursor() as cursor:
                cursor.execute("SET timezone = 'UTC'")
                return _postgres_sums(cursor)

    def bring_back(self, copy: Path) -> None:
        connection.close()
        script = copy.with_name(f"{copy.name}.sql")
        self._run("pg_restore", "--no-owner", "--no-acl", f"--file={script}", str(copy))
        # One transaction: the old goes and the new comes, or nothing happens.
        try:
            self._run(
                "psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null",
                "--command=SET lock_timeout = '10s'", "--command=DROP SCHEMA public CASCADE",
                "--command=CREATE SCHEMA public", f"--file={script}", "--dbname", self._where(),
            )  # fmt: skip
        except Unavailable as problem:
            if "lock timeout" in problem.detail:
                raise Conflict(
                    say("Another process uses the database; stop the centre and its workers first")
                ) from problem
            raise

    def empty(self) -> bool:
        return _empty()

    @contextmanager
    def _spare(self) -> Iterator[str]:
        """Make a database beside ours for as long as it is needed."""
        import psycopg2

        name = f"breakwater_prove_{secrets.token_hex(6)}"
        with closing(psycopg2.connect(**self._parameters())) as server:
            server.autocommit = True
            with server.cursor() as cursor:
                try:
                    cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
                except psycopg2.Error as problem:
                    raise Conflict(
                        say(
                            "No database can be made to prove the backup in; the database's user needs CREATEDB for that: "
                            "{problem}",
                            problem=str(problem).strip()[:200],
                        )
                    ) from None
                try:
                    yield name
                finally:
                    cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _parameters(self, name: str = "") -> dict[str, Any]:
        known = connection.get_connection_params()
        wanted = {
            key: value
            for key, value in known.items()
            if key in ("host", "port", "user", "password", "sslmode", "sslrootcert")
        }
        return {**wanted, "dbname": name or known.get("dbname") or known["database"]}

    def _where(self, name: str = "") -> str:
        from psycopg2.extensions import make_dsn

        # The password goes by the environment: arguments are seen by everybody on the machine.
        return str(make_dsn(**{key: value for key, value in self._parameters(name).items() if key != "password"}))

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "PGPASSWORD": str(self._parameters().get("password") or "")}
        try:
            done = subprocess.run(
                [program, *arguments], env=environment, capture_output=True, text=True, check=False,
                timeout=_PROGRAM_LIMIT,
            )  # fmt: skip
        except FileNotFoundError:
            raise Unavailable(
                say("{program} is not installed; install PostgreSQL's client programs", program=program)
            ) from None
        if done.returncode:
            raise Unavailable(say("{program} failed: {stderr}", program=program, stderr=done.stderr.strip()[-400:]))


def _sum(database: sqlite3.Connection, table: str) -> list[Any]:
    rows = total = 0
    quoted = '"' + table.replace('"', '""') + '"'
    for row in database.execute(f"SELECT * FROM {quoted}"):  # noqa: S608 - a table's own name, quoted
        total += int.from_bytes(hashlib.sha256(repr(row).encode()).digest()[:8])
        rows += 1
    return [rows, f"{total % 2**64:016x}"]


def _postgres_sums(cursor: Any) -> Sums:
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    made: Sums = {}
    for (name,) in cursor.fetchall():
        quoted = '"' + name.replace('"', '""') + '"'
        # A table's own name, quoted.
        cursor.execute(f"SELECT count(*), {_POSTGRES_SUM} FROM public.{quoted} t")  # noqa: S608
        made[name] = list(cursor.fetchone())
    return made


def _empty() -> bool:
    from core.accounts.models import Organisation, User

    if Organisation._meta.db_table not in connection.introspection.table_names():
        return True
    return not Organisation.objects.exists() and not User.objects.exists()
