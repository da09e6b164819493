"""What stands in the database is sealed for its row: a copy of it without the key tells no secret."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import FieldError
from django.db import connection, models, transaction

from appstore.certification import profiles
from appstore.keys import services as signing
from core.errors import Invalid
from core.sealing import columns as sealing
from core.sealing.fields import MARK, SealedJSONField
from core.sealing.models import VaultKey
from core.sealing.services import columns, require_keys
from core.vault import KeyFile, KeyMissing, Ring, key_of, replace_keys
from mecm.backup import rotating
from mecm.backup.columns import everything
from mecm.deployments.models import Deployment, DeploymentRevision
from mecm.edge.models import DesiredObject, ReportedObject
from mecm.rollouts import services as rollouts

pytestmark = pytest.mark.django_db

PLANTED = "planted-2f81-at-rest"
VALUES = {"database": {"password": PLANTED}}


@pytest.fixture
def secretly(deploy: Any) -> Deployment:
    """A deployment that has a secret."""
    found: Deployment = deploy(values=VALUES)
    return found


def raw(model: type[models.Model], field: str, **where: Any) -> Any:
    """Return what stands in the one row, as JSON."""
    column = model._meta.get_field(field).column  # type: ignore[union-attr]
    key = model.objects.get(**where).pk  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        stored = model._meta.pk.get_db_prep_value(key, connection)
        cursor.execute(f'SELECT "{column}" FROM {model._meta.db_table} WHERE {model._meta.pk.column} = %s', [stored])
        return json.loads(cursor.fetchone()[0])


def put(model: type[models.Model], field: str, content: Any, **where: Any) -> None:
    """Write into the one row behind the model's back."""
    key = model.objects.get(**where).pk  # type: ignore[attr-defined]
    cast = "::jsonb" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        stored = model._meta.pk.get_db_prep_value(key, connection)
        cursor.execute(
            f'UPDATE {model._meta.db_table} SET "{field}" = %s{cast} WHERE {model._meta.pk.column} = %s',
            [json.dumps(content), stored],
        )


def test_a_secret_is_in_no_byte_of_the_database(secretly: Deployment, actor: Any, organisation: Any, node: Any) -> None:
    rollouts.create(actor=actor, organisation=organisation, package=secretly.package, name="more", values=VALUES)
    profiles.save(organisation, actor=actor, values=VALUES)
    for kind in ("app", "appLog", "appEvents", "trialReport", "something new"):
        ReportedObject.objects.create(node=node, kind=kind, key="x", status={"message": PLANTED})
    plain = ReportedObject.objects.create(node=node, kind="mep", key="state", status={"services": [{"name": "open"}]})
    assert ReportedObject.objects.filter(status__services=[{"name": "open"}]).get() == plain
    for told in (secretly, secretly.revisions.get(), DesiredObject.objects.get(kind="app")):
        again = type(told)._base_manager.get(pk=told.pk)
        assert PLANTED in json.dumps(again.spec if isinstance(again, DesiredObject) else again.values)
    if connection.vendor == "sqlite":
        assert PLANTED.encode() not in connection.connection.serialize()
        put(Deployment, "values", VALUES, pk=secretly.pk)
        assert PLANTED.encode() in connection.connection.serialize(), "it would have been found"


def test_what_was_changed_moved_or_stands_open_is_refused(deploy: Any, secretly: Deployment, make_node: Any) -> None:
    other = deploy(node=make_node("berth-9"), values={"database": {"password": "another"}})
    sealed = raw(Deployment, "values", pk=secretly.pk)
    assert sealed.keys() == {MARK}
    put(Deployment, "values", sealed, pk=other.pk)
    put(DeploymentRevision, "values", raw(DeploymentRevision, "values", deployment=secretly), deployment=other)
    put(DesiredObject, "spec", raw(DesiredObject, "spec", key=str(secretly.pk)), key=str(other.pk))
    for moved in (Deployment.objects.get(pk=other.pk), DeploymentRevision.objects.get(deployment=other)):
        with pytest.raises(Invalid, match="changed or moved"):
            _ = moved.values
    with pytest.raises(Invalid, match="changed or moved"):
        _ = DesiredObject.objects.get(key=str(other.pk)).spec
    text = sealed[MARK]
    put(
        Deployment, "values", {MARK: text[:-8] + ("AAAA" if text[-8:-4] != "AAAA" else "BBBB") + text[-4:]}, pk=other.pk
    )
    with pytest.raises(Invalid, match="changed or moved"):
        _ = Deployment.objects.get(pk=other.pk).values
    put(Deployment, "values", VALUES, pk=other.pk)
    with pytest.raises(Invalid, match="stands unsealed"):
        _ = Deployment.objects.get(pk=other.pk).values
    # A list that shows no values does not mind.
    assert Deployment.objects.get(pk=other.pk).name == other.name


def test_nothing_can_be_stored_or_looked_for_past_the_seal(secretly: Deployment) -> None:
    with pytest.raises(TypeError, match="sealed for its row"), transaction.atomic():
        Deployment.objects.filter(pk=secretly.pk).update(values=VALUES)
    with pytest.raises(FieldError):
        Deployment.objects.filter(values=VALUES).exists()
    with pytest.raises(FieldError):
        Deployment.objects.filter(values__database__password=PLANTED).exists()
    sealed = raw(Deployment, "values", pk=secretly.pk)
    untouched = Deployment.objects.get(pk=secretly.pk)
    untouched.save()
    assert raw(Deployment, "values", pk=secretly.pk) == sealed, "who does not look does not seal anew"
    assert {each.name for each in everything()} >= {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, SealedJSONField)
        or (field.name.startswith("sealed") and isinstance(field, models.BinaryField))
    }, "a sealed column that no key rotation knows"


def test_rows_of_before_are_sealed_and_can_be_opened_again(secretly: Deployment, node: Any) -> None:
    spec = DesiredObject.objects.get(kind="app").spec
    put(Deployment, "values", VALUES, pk=secretly.pk)
    put(DeploymentRevision, "values", VALUES, deployment=secretly)
    put(DesiredObject, "spec", spec, kind="app")
    ReportedObject.objects.create(node=node, kind="mep", key="state", status={"open": True})
    migrations = [
        "mecm.deployments.migrations.0004_sealed_values",
        "mecm.edge.migrations.0002_sealed_wishes_and_reports",
    ]
    work = [
        operation
        for name in migrations
        for operation in importlib.import_module(name).Migration.operations
        if hasattr(operation, "code")
    ]
    editor = SimpleNamespace(connection=connection)
    for operation in work:
        operation.code(apps, editor)
    assert raw(Deployment, "values", pk=secretly.pk).keys() == {MARK}
    assert Deployment.objects.get(pk=secretly.pk).values == secretly.revisions.get().values == VALUES
    assert DesiredObject.objects.get(kind="app").spec == spec
    assert raw(ReportedObject, "status", kind="mep") == {"open": True}
    assert VaultKey.objects.exists()
    sealed = raw(Deployment, "values", pk=secretly.pk)
    for operation in work:  # broken off and begun again
        operation.code(apps, editor)
    assert raw(Deployment, "values", pk=secretly.pk) == sealed
    for operation in work:
        operation.reverse_code(apps, editor)
    assert raw(Deployment, "values", pk=secretly.pk) == raw(DeploymentRevision, "values", deployment=secretly) == VALUES
    assert raw(DesiredObject, "spec", kind="app") == spec


def test_a_key_is_replaced_while_others_work(tmp_path: Path, settings: Any, deploy: Any, make_node: Any) -> None:
    path = tmp_path / "vault.key"
    settings.VAULT_KEY = KeyFile(path)
    worker = KeyFile(path)  # as another process has it since its start
    old = settings.VAULT_KEY.ring().present
    require_keys()
    first = deploy(values=VALUES)
    key = signing.current(signing.LAB)
    new = rotating.add_key()
    assert worker.ring().present == new != old
    assert path.stat().st_mode & 0o777 == 0o600
    assert Deployment.objects.get(pk=first.pk).values == VALUES, "the old key opens what it sealed"
    second = deploy(node=make_node("berth-9"), values=VALUES)
    before = raw(Deployment, "values", pk=second.pk)
    with pytest.raises(Exception, match="still has rows of another key"):
        rotating.forget_old()
    assert rotating.reseal() >= 4
    assert raw(Deployment, "values", pk=second.pk) == before, "what is sealed by the new key stays"
    assert rotating.reseal() == 0
    assert rotating.forget_old() == [old]
    assert list(worker.ring().keys) == [new]
    assert Deployment.objects.get(pk=first.pk).values == VALUES
    key.refresh_from_db()
    assert key_of(bytes(key.sealed)) == new
    signing.private(key)
    # The key file is lost, and a fresh one is in its place.
    kept = path.read_bytes()
    settings.VAULT_KEY = Ring(b"x" * 32, "the key file")
    for refused in (require_keys, lambda: Deployment.objects.get(pk=first.pk).values):
        with pytest.raises(KeyMissing, match=f"{new}.*[Aa]ppend"):
            refused()
    # The way out that is told.
    replace_keys(path, b"x" * 32 + kept)
    settings.VAULT_KEY = KeyFile(path)
    require_keys()
    assert Deployment.objects.get(pk=first.pk).values == VALUES
    for column in columns():
        with connection.cursor() as cursor:
            cursor.execute(column.query())
            sealing.prove(iter(cursor.fetchall()), column, sealing.vault())
