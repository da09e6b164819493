"""What migrations seal a column with: nothing of the table changes but its rows, and there is a way back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, migrations

from core.sealing import columns
from core.sealing.fields import SealedJSONField, vault

logger = logging.getLogger("breakwater.sealing")


def sealed(app: str, model: str, **fields: SealedJSONField) -> list[Any]:
    """Return the operations that make JSON columns of a model sealed ones.

    The migration must not be atomic: rows are sealed in batches, and what was broken off goes on where it was.
    """
    # The type of the column stays, so no table is built anew.
    told = [migrations.AlterField(model.lower(), name, field) for name, field in fields.items()]
    work = migrations.RunPython(_each(app, model, fields, _seal), _each(app, model, fields, columns.unseal))
    return [migrations.SeparateDatabaseAndState(state_operations=told), work]


def _each(app: str, model: str, fields: Any, work: Callable[[Any, columns.Column], int]) -> Callable[[Any, Any], None]:
    def run(apps: Any, editor: Any) -> None:
        # On the way back the field is a plain one by now: what it was is bound to it here.
        historical = apps.get_model(app, model)
        made = 0
        for name, field in fields.items():
            field = field.clone()
            field.set_attributes_from_name(name)
            field.model = historical
            made += work(editor.connection, columns.Column.of_field(historical, field))
        if made and work is _seal:
            apps.get_model("sealing", "VaultKey").objects.get_or_create(pk=vault().present)
            _forget_what_stood_open(editor.connection)

    return run


def _seal(connection: Any, column: columns.Column) -> int:
    return columns.seal(connection, column)


def _forget_what_stood_open(connection: Any) -> None:
    """Have SQLite write its file anew: it keeps what was overwritten in pages that nobody uses."""
    if connection.vendor != "sqlite":
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except OperationalError as problem:
        logger.warning(
            "The database file may still hold values that stood open before: stop everything and run VACUUM (%s)",
            problem,
        )
