"""The console's own secrets, in `MEP_VAR/console/`: the key of its cookies, and its password as a hash.

One file (0600), changed under a lock and replaced as a whole. Django is not needed here: the settings read the key.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Sessions that were signed out are remembered until they would have ended anyway, but no more than this many.
MOST_SIGNED_OUT = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds."""

    key: str = field(repr=False)
    password: str = field(default="", repr=False)
    signed_out: dict[str, float] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """A text that is another one after the password was changed; sessions carry it."""
        return hashlib.sha256(f"mark:{self.key}:{self.password}".encode()).hexdigest()[:24]


def load(var: Path) -> Kept:
    """Return what is kept; the first call makes the key."""
    try:
        return _read(var)
    except FileNotFoundError:
        return _change(var)


def set_password(var: Path, hashed: str) -> None:
    """Store another password; every session ends, and the first password is void."""
    _change(var, password=hashed)
    first_password_file(var).unlink(missing_ok=True)


def first_password(var: Path, hashed: str, plain: str) -> Path:
    """Store a password that was made up here, and leave it in a file that only this user may read."""
    file = first_password_file(var)
    _write(file, plain + "\n")
    _change(var, password=hashed)
    return file


def sign_out(var: Path, session: str, until: float) -> None:
    """Make a session void before its time."""
    now = time.time()
    present = {key: end for key, end in load(var).signed_out.items() if end > now}
    if len(present) >= MOST_SIGNED_OUT:
        present.pop(min(present, key=lambda key: present[key]))
    _change(var, signed_out={**present, session: until})


def first_password_file(var: Path) -> Path:
    """Return where the first password lies until it is changed."""
    return var / "console" / "first-password"


def _file(var: Path) -> Path:
    return var / "console" / "keep.json"


def _read(var: Path) -> Kept:
    raw: dict[str, Any] = json.loads(_file(var).read_text())
    return Kept(str(raw["key"]), str(raw.get("password", "")), dict(raw.get("signed_out", {})))


def _change(var: Path, **members: Any) -> Kept:
    with _locked(var):
        try:
            before = _read(var)
        except FileNotFoundError:
            before = Kept(secrets.token_urlsafe(48))
        after = {"key": before.key, "password": before.password, "signed_out": before.signed_out, **members}
        _write(_file(var), json.dumps(after))
    return Kept(**after)


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def _locked(var: Path) -> Iterator[None]:
    folder = var / "console"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
