"""A new key for this node's vault while its processes work: put before the old ones, everything sealed anew, the old ones gone.

What may be broken off at any moment: the key file is replaced at one stroke and is on the disk before anything is sealed
with what is new in it, and rows are sealed anew in batches, each a transaction that holds the database's write lock.
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import models, transaction

from core.errors import Conflict
from core.vault import KEY_BYTES, KeyFile, Ring, Vault, key_of, replace_keys
from mep.agent.models import Desired
from mep.agent.store import sealed_for
from mep.mp1 import keys
from mep.mp1.models import App, SigningKey
from mep.mp1.secrets import key_path
from mep.mp1.tokens import secret_purpose

#: Rows in one transaction: Mp1 waits that long at most.
BATCH = 200
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Column:
    """A column of bytes that the node's vault has sealed, and for what a row's are."""

    model: type[models.Model]
    name: str
    purpose: Callable[[Any], str]

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.name}"


#: Everything that the node's vault seals; a test looks for columns that are missing here.
COLUMNS = (
    Column(App, "secret", lambda row: secret_purpose(row.pk)),
    Column(SigningKey, "private", lambda row: keys.purpose(row.pk)),
    Column(Desired, "sealed", lambda row: sealed_for(row.kind, row.key)),
)


def add_key() -> str:
    """Put a fresh key before those in the key file; returns its id. Processes that run use it from their next secret on."""
    path = key_path()
    with _alone(path):
        present = bytes(KeyFile(path))
        ring = Ring(secrets.token_bytes(KEY_BYTES) + present)  # refuses more keys than a file may hold
        replace_keys(path, bytes(ring))
    return Vault(KeyFile(path)).present


def reseal(tell: Tell = lambda text: None) -> int:
    """Seal with the present key whatever older ones seal; returns how many rows. Broken off, it is just begun again."""
    vault = Vault(KeyFile(key_path()))
    total = 0
    for column in COLUMNS:
        last: Any = None
        while True:
            with transaction.atomic():
                rows = column.model._default_manager.order_by("pk")
                batch = list((rows if last is None else rows.filter(pk__gt=last))[:BATCH])
                done = sum(_again(vault, column, row) for row in batch)
            if done:
                tell(f"{column}: {done} rows")
            total += done
            if not batch:
                break
            last = batch[-1].pk
    return total


@transaction.atomic
def forget_old() -> list[str]:
    """Take every older key out of the key file; returns their ids. `Conflict` when a row still needs one.

    Nothing is written meanwhile: whoever seals does so in a transaction of its own, which waits for this one.
    """
    path = key_path()
    with _alone(path):
        ring = KeyFile(path).ring()
        for column in COLUMNS:
            for sealed in column.model._default_manager.values_list(column.name, flat=True).iterator():
                if key_of(bytes(sealed)) != ring.present:
                    raise Conflict(
                        f"{column} still has rows of another key; seal them anew first: manage.py rotate_vault_key "
                        "--only-reseal"
                    )
        gone = [name for name in ring.keys if name != ring.present]
        replace_keys(path, ring.keys[ring.present])
    return gone


def _again(vault: Vault, column: Column, row: Any) -> int:
    sealed = bytes(getattr(row, column.name))
    if key_of(sealed) == vault.present:
        return 0
    purpose = column.purpose(row)
    fresh = vault.seal(vault.open(sealed, purpose), purpose)
    column.model._default_manager.filter(pk=row.pk).update(**{column.name: fresh})
    return 1


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the key file: two that replace it at a time would lose a key."""
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Somebody else is changing the key file at the moment") from None
        yield
