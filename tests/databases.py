"""A migrated SQLite database, made once and copied for whoever needs one: to migrate takes seconds, to copy nothing.

It lies in pytest's cache under the digest of all code of ours that says what is in it, so that it is never older than
that. `python -m tests.databases centre edge` makes both ahead of time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".pytest_cache" / "databases"
#: What a migrated database is made of: migrations import nothing else of ours, contents of types come from the models.
MADE_OF = ("migrations/*.py", "models*.py", "apps.py", "settings.py")
#: Settings, the variable that says where they write, the file of the database there, the code that makes its tables.
KINDS = {
    "centre": (
        "mecm.settings",
        "BREAKWATER_VAR",
        "centre.sqlite3",
        ("core", "appstore", "developer", "mecm", "frontend"),
    ),
    "edge": ("mep.settings", "MEP_VAR", "mep.sqlite3", ("core", "mep")),
}


def cached(kind: str) -> Path:
    """Return where the migrated database of the code as it is now lies, or will lie."""
    digest = hashlib.sha256(f"{django.__version__} {sys.version}".encode())
    for package in KINDS[kind][3]:
        for path in sorted(path for pattern in MADE_OF for path in (ROOT / package).rglob(pattern)):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return CACHE / f"{kind}-{digest.hexdigest()[:32]}.sqlite3"


def template(kind: str) -> Path:
    """Return a migrated database that nobody may write to; the first of many processes makes it, the others wait."""
    path = cached(kind)
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            made = _migrated(kind, path)
            for old in CACHE.glob(f"{kind}-*.sqlite3"):
                old.unlink()
            made.rename(path)
    return path


def fresh(kind: str, target: Path) -> None:
    """Put a migrated, empty database at `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template(kind), target)


def renew(empty: sqlite3.Connection, target: Path) -> None:
    """Make the database at `target` what an empty one is, whoever else has it open; `TimeoutError` while one writes."""
    deadline = time.monotonic() + 60

    def impatiently(status: int, _remaining: int, _total: int) -> None:
        # Left alone, `backup` waits for ever for a transaction that a test forgot.
        if status == sqlite3.SQLITE_BUSY and time.monotonic() > deadline:
            raise TimeoutError(f"somebody still writes to {target}")

    with closing(sqlite3.connect(target)) as database:
        database.execute("PRAGMA synchronous=OFF")
        empty.backup(database, progress=impatiently)


def look(path: str | Path, question: str, *facts: Any) -> list[Any]:
    """Return the rows of a database that other processes write, as far as they are committed.

    Nothing of it stays open: a connection that waits for the garbage collector loses its locks as soon as anything of
    this process closes the same file, and then neither what it sees nor the file's shared memory is to be relied on.
    """
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as database:
        return database.execute(question, facts).fetchall()


def _migrated(kind: str, path: Path) -> Path:
    settings, variable, name, _ = KINDS[kind]
    made = path.with_suffix(".part")
    with tempfile.TemporaryDirectory() as folder:
        # Whatever the settings of this run are: the database is SQLite, and everything is written to our folder.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BREAKWATER_", "MEP_"))}
        environment = {**inherited, variable: folder, "DJANGO_SETTINGS_MODULE": settings}
        command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(command, env=environment, cwd=ROOT, check=True)
        made.unlink(missing_ok=True)
        # One file, whatever is still in the log beside it.
        with closing(sqlite3.connect(Path(folder) / name)) as database:
            database.execute("VACUUM INTO ?", (str(made),))
    return made


if __name__ == "__main__":
    for each in sys.argv[1:]:
        template(each)
