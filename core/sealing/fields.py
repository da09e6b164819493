"""A JSON column whose content stands sealed in the database, and in whatever is copied from it.

It is bound to its row: what was put into another row, or changed, is refused. It is opened when somebody looks at it,
not when the row is read, so that lists pay nothing for it. PostgreSQL and SQLite see an object with one member, which
holds the sealed bytes in base64; what is empty stands as it is, because it tells nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.fields.json import KeyTransform
from django.db.models.query_utils import DeferredAttribute

from core.errors import Invalid
from core.vault import Vault
from core.words import say

#: The member that holds what is sealed.
MARK = "breakwater:sealed"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Sealed:
    """What stands in a row, unopened; `text` is base64, None when the row stands open and must not."""

    text: str | None


@dataclass(frozen=True, slots=True)
class _Open:
    """A value that may stand open."""

    value: Any


def vault() -> Vault:
    """Return the vault of this installation."""
    return Vault(settings.VAULT_KEY)


class _Opened(DeferredAttribute):
    """Opens a sealed value the first time that somebody looks at it."""

    field: SealedJSONField

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        name = self.field.attname
        value = instance.__dict__.get(name, _ABSENT)
        if value is _ABSENT:
            # One query, as for any other deferred column; `refresh_from_db` would make a second row without its binding.
            rows = type(instance)._base_manager.db_manager(instance._state.db, hints={"instance": instance})
            value = rows.filter(pk=instance.pk).values_list(name, flat=True).get()
        if isinstance(value, Sealed):
            value = self.field.opened(value, instance)
        instance.__dict__[name] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class SealedJSONField(models.JSONField):
    """JSON that is sealed when its row is saved and opened when it is looked at.

    `bound_to` names the fields of the row that it belongs to; they must be set before the row is saved. `open_if` is
    a field and those of its values with which a row stands open, so that SQL can look into it: nothing secret is
    written there. `update()` takes what `sealed_for` returns, because it does not know the row.
    """

    descriptor_class = _Opened

    def __init__(
        self,
        *args: Any,
        bound_to: Sequence[str] = ("id",),
        open_if: tuple[str, Sequence[str]] | None = None,
        **more: Any,
    ) -> None:
        self.bound_to = tuple(bound_to)
        self.open_if = (open_if[0], tuple(open_if[1])) if open_if else None
        super().__init__(*args, **more)

    def deconstruct(self) -> Any:
        """Tell migrations of the binding too."""
        name, path, args, more = super().deconstruct()
        more["bound_to"] = self.bound_to
        if self.open_if:
            more["open_if"] = self.open_if
        return name, path, args, more

    def get_lookup(self, lookup_name: str) -> Any:
        """Return how SQL compares; what is sealed can only be null or not."""
        return super().get_lookup(lookup_name) if self.open_if or lookup_name == "isnull" else None

    def get_transform(self, name: str) -> Any:
        """Return how SQL looks inside, where anything can stand open."""
        return super().get_transform(name) if self.open_if else None

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Return what is open, or something sealed that the instance opens when it is asked for."""
        found = super().from_db_value(value, expression, connection)  # type: ignore[misc]
        if isinstance(expression, KeyTransform) or found is None:
            return found
        if isinstance(found, dict) and found.keys() == {MARK} and isinstance(found[MARK], str):
            return Sealed(found[MARK])
        return found if self.open_if or not found else Sealed(None)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return what is stored: sealed, as it was read when nobody looked at it."""
        value = model_instance.__dict__.get(self.attname, _ABSENT)
        if value is _ABSENT:
            value = super().pre_save(model_instance, add)
        return value if isinstance(value, Sealed) or value is None else self.sealed_for(model_instance, value)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Return the value as the database takes it; a `TypeError` when it would stand there unsealed."""
        if isinstance(value, Sealed):
            value = {MARK: value.text}
        elif isinstance(value, _Open):
            value = value.value
        elif value or value is False or value == 0:
            raise TypeError(f"{self.model.__name__}.{self.name} is sealed for its row: save the row, or use sealed_for")
        return super().get_db_prep_save(value, connection)

    # --- sealing and opening
    def purpose(self, bound: Sequence[Any]) -> str:
        """Return what the content of the row with these values of `bound_to` is sealed for."""
        names = [str(self._bound(name).to_python(value)) for name, value in zip(self.bound_to, bound, strict=True)]
        return json.dumps([self.model._meta.label, self.name, *names])

    def sealed_for(self, instance: models.Model, value: Any) -> Sealed | _Open:
        """Return the value as it is stored in this row."""
        told = isinstance(value, dict) and MARK in value
        if not told and (value in ({}, []) or self._may_stand_open(instance)):
            return _Open(value)
        return Sealed(sealed_text(value, self.purpose(self._row(instance)), self.encoder))

    def opened(self, sealed: Sealed, instance: models.Model) -> Any:
        """Return the value of this row; `Invalid` when it was changed or moved here, or its key is not here."""
        if sealed.text is None:
            raise Invalid(
                say(
                    "{label}.{name} stands unsealed in the database: run `manage.py migrate`",
                    label=self.model._meta.label,
                    name=self.name,
                )
            )
        return opened_text(sealed.text, self.purpose(self._row(instance)), decoder=self.decoder)

    def _bound(self, name: str) -> Any:
        return self.model._meta.get_field(name)

    def _row(self, instance: models.Model) -> list[Any]:
        row = [getattr(instance, self._bound(name).attname) for name in self.bound_to]
        if any(value is None for value in row):
            raise ValueError(
                f"{self.model.__name__}.{self.name} is sealed for {', '.join(self.bound_to)}, and one is not set"
            )
        return row

    def _may_stand_open(self, instance: models.Model) -> bool:
        return self.open_if is not None and getattr(instance, self.open_if[0]) in self.open_if[1]


def sealed_text(value: Any, purpose: str, encoder: Any = None, *, by: Vault | None = None) -> str:
    """Return a JSON value sealed, in base64."""
    plain = json.dumps(value, cls=encoder, allow_nan=False, separators=(",", ":")).encode()
    return base64.b64encode((by or vault()).seal(plain, purpose)).decode()


def opened_text(text: str, purpose: str, *, decoder: Any = None, by: Vault | None = None) -> Any:
    """Return the JSON value that was sealed for this purpose."""
    try:
        sealed = base64.b64decode(text, validate=True)
    except ValueError:
        raise Invalid(say("A sealed secret has an unknown form; was the database changed?")) from None
    return json.loads((by or vault()).open(sealed, purpose), cls=decoder)
