"""Verbs of sealing: know which keys the database needs, and refuse to begin without one of them."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db import connection

from core.sealing.columns import Column
from core.sealing.fields import SealedJSONField, vault
from core.sealing.models import VaultKey
from core.vault import KeyMissing, Ring, Vault


def columns() -> list[Column]:
    """Return every sealed JSON column of this installation."""
    return [
        Column.of(model, field.name)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, SealedJSONField)
    ]


def require_keys() -> None:
    """Pass when every key that rows are sealed by is here, and note the present one; `KeyMissing` names the others.

    Two queries at the start of a process. A database that has no tables yet needs no key.
    """
    if VaultKey._meta.db_table not in connection.introspection.table_names():
        return
    here = "BREAKWATER_KEYS" if isinstance(settings.VAULT_KEY, Ring) else f"the key file {settings.KEY_FILE}"
    missing(set(VaultKey.objects.values_list("pk", flat=True)), vault(), here)
    VaultKey.objects.get_or_create(pk=vault().present)


def missing(needed: set[str], there: Vault, where: str = "the key file") -> None:
    """Pass when all keys that are needed are in a vault; `KeyMissing` names the others."""
    lost = sorted(needed - there.key_ids)
    if lost:
        raise KeyMissing(lost, where)
