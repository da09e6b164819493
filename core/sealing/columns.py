"""Work on whole sealed columns, batch by batch: seal what stands open, open it again, seal with another key, prove.

It reads and writes rows as they stand, so that migrations and restored copies can be worked on. Every batch is a
transaction; what is done already is passed over, so it goes on where it was broken off. A row that somebody changed
meanwhile is left to the next round: it was sealed with the present key then.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction

from core.errors import Invalid
from core.sealing.fields import MARK, SealedJSONField, opened_text, sealed_text, vault
from core.vault import Vault, key_of

BATCH = 200
Row = tuple[Any, list[Any], Any]


@dataclass(frozen=True)
class Column:
    """One sealed column; `purpose` says what a row's content is sealed for by its values of `bound`."""

    name: str
    table: str
    pk: str
    column: str
    bound: tuple[str, ...]
    purpose: Callable[[Sequence[Any]], str]
    #: The JSON of a `SealedJSONField`, else sealed bytes.
    json: bool = True
    #: A column, and its values with which a row may stand open.
    open_if: tuple[str, tuple[str, ...]] | None = None

    @classmethod
    def of(cls, model: type[models.Model], field: str) -> Column:
        """Return the column of a `SealedJSONField`."""
        found = model._meta.get_field(field)
        if not isinstance(found, SealedJSONField):
            raise TypeError(f"{model.__name__}.{field} is no SealedJSONField")
        return cls.of_field(model, found)

    @classmethod
    def of_field(cls, model: type[models.Model], field: SealedJSONField) -> Column:
        """Return the column of a field that a model has, or has in another state of the schema."""
        bound = tuple(_column(model._meta.get_field(name)) for name in field.bound_to)
        return cls(
            f"{model._meta.label}.{field.name}", model._meta.db_table, _pk(model), _column(field), bound, field.purpose,
            open_if=field.open_if,
        )  # fmt: skip

    @classmethod
    def of_bytes(
        cls, model: type[models.Model], field: str, purpose: Callable[[Any], str], bound: str = "pk"
    ) -> Column:
        """Return a column of bytes that are sealed for a purpose which one column of the row tells."""
        told: Any = model._meta.pk if bound == "pk" else model._meta.get_field(bound)
        found = model._meta.get_field(field)
        return cls(
            f"{model._meta.label}.{field}", model._meta.db_table, _pk(model), _column(found), (_column(told),),
            lambda row: purpose(told.to_python(row[0])), json=False,
        )  # fmt: skip

    def query(self, where: str = "") -> str:
        """Return the query for every row: its primary key, what it is bound to, what it holds."""
        extra = [self.open_if[0]] if self.open_if else []
        columns = ", ".join(f'"{name}"' for name in (self.pk, *self.bound, *extra, self.column))
        # Names of our own models, quoted.
        return f'SELECT {columns} FROM "{self.table}" WHERE "{self.column}" IS NOT NULL {where} ORDER BY "{self.pk}"'  # noqa: S608

    def read(self, row: Sequence[Any]) -> tuple[Any, list[Any], bool, Any]:
        """Return a row's primary key, its binding, whether it may stand open, and what it holds."""
        end = 1 + len(self.bound)
        may = self.open_if is not None and row[end] in self.open_if[1]
        return row[0], list(row[1:end]), may, row[-1]

    def sealed(self, raw: Any) -> bytes | None:
        """Return the sealed bytes in what a row holds; None when it stands open."""
        if not self.json:
            return bytes(raw)
        told = json.loads(raw) if isinstance(raw, str | bytes) else raw
        text = told.get(MARK) if isinstance(told, dict) and told.keys() == {MARK} else None
        return base64.b64decode(text) if isinstance(text, str) else None


def _column(field: Any) -> str:
    return str(field.column)


def _pk(model: type[models.Model]) -> str:
    return str(model._meta.pk.column)


def seal(connection: Any, column: Column, by: Vault | None = None) -> int:
    """Seal every row that stands open and must not; returns how many."""
    with_key = by or vault()

    def sealed(bound: list[Any], may_stand_open: bool, raw: Any) -> str | None:
        told = json.loads(raw) if isinstance(raw, str | bytes) else raw
        if not told or may_stand_open or column.sealed(raw) is not None:
            return None
        return json.dumps({MARK: sealed_text(told, column.purpose(bound), by=with_key)})

    return _change(connection, column, sealed)


def unseal(connection: Any, column: Column, by: Vault | None = None) -> int:
    """Let every row stand open again; returns how many were sealed."""
    with_key = by or vault()

    def opened(bound: list[Any], may_stand_open: bool, raw: Any) -> str | None:
        found = column.sealed(raw)
        if found is None:
            return None
        return json.dumps(opened_text(base64.b64encode(found).decode(), column.purpose(bound), by=with_key))

    return _change(connection, column, opened)


def reseal(connection: Any, column: Column, by: Vault | None = None) -> int:
    """Seal with the present key what an older one seals; returns how many rows."""
    with_key = by or vault()

    def again(bound: list[Any], may_stand_open: bool, raw: Any) -> Any:
        found = column.sealed(raw)
        if not found or key_of(found) == with_key.present:
            return None
        purpose = column.purpose(bound)
        fresh = with_key.seal(with_key.open(found, purpose), purpose)
        return json.dumps({MARK: base64.b64encode(fresh).decode()}) if column.json else fresh

    return _change(connection, column, again)


def used(rows: Iterator[Sequence[Any]], column: Column) -> set[str]:
    """Return the ids of the keys by which rows of `column.query()` are sealed; empty for those without a name."""
    found = (column.sealed(column.read(row)[3]) for row in rows)
    return {key_of(each) for each in found if each}


def prove(rows: Iterator[Sequence[Any]], column: Column, by: Vault) -> int:
    """Open every row of `column.query()`; returns how many are sealed, `Invalid` names a column that does not open."""
    count = 0
    for row in rows:
        pk, bound, _, raw = column.read(row)
        found = column.sealed(raw)
        if found:
            try:
                by.open(found, column.purpose(bound))
            except Invalid as problem:
                problem.detail = f"{column.name} of {pk}: {problem.detail}"
                raise
            count += 1
    return count


def _change(connection: Any, column: Column, changed: Callable[[list[Any], bool, Any], Any]) -> int:
    count, last = 0, None
    cast = "::jsonb" if column.json and connection.vendor == "postgresql" else ""
    update = f'UPDATE "{column.table}" SET "{column.column}" = %s{cast} WHERE "{column.pk}" = %s AND "{column.column}" = %s{cast}'  # noqa: S608
    while True:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            where = "" if last is None else f'AND "{column.pk}" > %s'
            cursor.execute(f"{column.query(where)} LIMIT {BATCH}", [] if last is None else [last])
            rows = cursor.fetchall()
            for row in rows:
                last, bound, may_stand_open, raw = column.read(row)
                fresh = changed(bound, may_stand_open, raw)
                if fresh is not None:
                    cursor.execute(update, [fresh, last, raw if column.json else bytes(raw)])
                    count += cursor.rowcount
        if len(rows) < BATCH:
            return count
