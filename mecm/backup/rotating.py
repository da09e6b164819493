"""The verbs of the installation's key: put a new one in its place while everybody works, and forget the old ones."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from core.accounts.access import SYSTEM
from core.audit import services as audit
from core.errors import Conflict
from core.sealing import columns as sealing
from core.sealing.fields import vault
from core.sealing.models import VaultKey
from core.sealing.services import require_keys
from core.vault import KEY_BYTES, KeyFile, replace_keys
from core.words import say
from mecm.backup.columns import everything

Tell = Callable[[str], None]
#: Rounds until nothing is left that somebody sealed with the old key as we came by.
_ROUNDS = 20


def add_key() -> str:
    """Put a fresh key before those in the key file; returns its id. Processes that run use it from their next secret on."""
    keys = _key_file()
    with _alone(keys.path):
        require_keys()
        replace_keys(keys.path, secrets.token_bytes(KEY_BYTES) + bytes(keys))
        # The file first: a key that the database asks for and nobody has would stop every start.
        require_keys()
        audit.record(SYSTEM, "vault.key_added", VaultKey.objects.get(pk=vault().present))
    return vault().present


def reseal(tell: Tell = lambda text: None) -> int:
    """Seal with the present key whatever older ones seal; returns how many rows. Broken off, it is just begun again."""
    require_keys()
    total = 0
    for _ in range(_ROUNDS):
        count = 0
        for column in everything():
            done = sealing.reseal(connection, column)
            if done:
                tell(say("{name}: {done} rows", name=column.name, done=done))
            count += done
        total += count
        if not count:
            return total
    raise Conflict(say("Rows are still sealed by older keys: do all processes have the new key? Begin again."))


def forget_old() -> list[str]:
    """Take every older key out of the key file; returns their ids. `Conflict` when a row still needs one."""
    keys = _key_file()
    with _alone(keys.path):
        ring = keys.ring()
        for column in everything():
            with connection.cursor() as cursor:
                cursor.execute(column.query())
                rows: Iterator[Any] = iter(cursor.fetchone, None)
                others = sealing.used(rows, column) - {ring.present}
            if others:
                raise Conflict(
                    say(
                        "{name} still has rows of another key; seal them anew first: manage.py rotate_key "
                        "--only-reseal",
                        name=column.name,
                    )
                )
        gone = [name for name in ring.keys if name != ring.present]
        # The rows first: what the database does not ask for may be in the file.
        VaultKey.objects.filter(pk__in=gone).delete()
        replace_keys(keys.path, ring.keys[ring.present])
        audit.record(SYSTEM, "vault.keys_forgotten", VaultKey.objects.get(pk=ring.present), keys=gone)
    return gone


def _key_file() -> KeyFile:
    if not isinstance(settings.VAULT_KEY, KeyFile):
        raise Conflict(
            say(
                "The keys come from BREAKWATER_KEYS: change it everywhere (the newest key first, the "
                "older ones behind it), start everything anew, and say --only-reseal"
            )
        )
    return settings.VAULT_KEY


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the key file: two that replace it at a time would lose a key."""
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(say("Somebody else is changing the key file at the moment")) from None
        yield
