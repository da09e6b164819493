"""The node's SQLite file, shared by its processes."""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection


def prepare() -> None:
    """Bring the database to the present schema; safe when several processes start at once."""
    with (settings.VAR / "migrate.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        call_command("migrate", interactive=False, verbosity=0)


def hang_up() -> None:
    """Close the connection of the thread that calls this."""
    connection.close()


class Pulse:
    """Tells whether anything was committed since the last look, by any process; a look costs 4 microseconds."""

    def __init__(self, database: Path | str) -> None:
        self._uri = f"{Path(database).absolute().as_uri()}?mode=ro"
        self._connection: sqlite3.Connection | None = None
        self._seen = -1

    def open(self) -> sqlite3.Connection:
        """Return the read-only connection that looks; it belongs to the thread that first calls."""
        if self._connection is None:
            self._connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=1.0)
        return self._connection

    def moved(self) -> bool:
        """Return True once after each commit (several may be one), and at the first look."""
        (version,) = self.open().execute("PRAGMA data_version").fetchone()
        if version == self._seen:
            return False
        self._seen = version
        return True

    def close(self) -> None:
        """Let go of the file; the next look opens it again and says that something moved."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._seen = None, -1
