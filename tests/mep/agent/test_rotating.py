"""A new key for the node's vault: nobody waits for it, nothing is lost when it is broken off, and the old one can go."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections, models

from core.errors import Conflict
from core.vault import KeyFile, Vault, key_of
from mep.agent import rotating, store
from mep.agent.models import Desired
from mep.mp1 import keys, services, tokens
from mep.mp1.models import App, SigningKey
from mep.mp1.secrets import key_path, vault
from tests.mep.agent.conftest import frame

KINDS = {App: "secret", SigningKey: "private", Desired: "sealed"}


def sealed_by() -> dict[str, int]:
    """Return how many secrets each key seals."""
    found: dict[str, int] = {}
    for model, name in KINDS.items():
        for sealed in model._default_manager.values_list(name, flat=True):
            found[key_of(bytes(sealed))] = found.get(key_of(bytes(sealed)), 0) + 1
    return found


def fill(wishes: int) -> services.Credentials:
    """Make an app, a signing key and wishes."""
    credentials = services.provision("app-1", app_name="hello")
    keys.signer()
    store.take([frame("app", f"a{number}", number + 1, 1, {"n": number}) for number in range(wishes)])
    return credentials


def opens(wishes: int, credentials: services.Credentials) -> bool:
    """Return whether everything can be read, and the app and nobody else signs in."""
    return (
        sorted(wish.spec["n"] for wish in store.wishes()) == list(range(wishes))
        and keys.signer().kid != ""
        and tokens.client(credentials.client_id, credentials.client_secret) is not None
        and tokens.client("nobody", "x") is None
    )


def test_every_column_that_the_vault_seals_is_sealed_anew() -> None:
    bytes_of = {
        f"{model._meta.label}.{field.name}"
        for label in ("mp1", "agent", "dns", "upf", "console")
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.BinaryField)
    }
    assert {str(column) for column in rotating.COLUMNS} == bytes_of


@pytest.mark.django_db
def test_the_key_is_changed_while_a_process_works_and_the_old_one_goes() -> None:
    credentials = fill(3)
    old, worker = vault().present, Vault(KeyFile(key_path()))  # as another process has it since its start
    assert opens(3, credentials)
    out = StringIO()
    call_command("rotate_vault_key", stdout=out, stderr=StringIO())
    assert "Sealed anew: 5 rows" in out.getvalue()
    assert worker.present == vault().present != old
    assert opens(3, credentials)
    store.take([frame("app", "a3", 9, 1, {"n": 3})])
    call_command("rotate_vault_key", only_reseal=True, forget=True, stdout=out, stderr=StringIO())
    assert f"Sealed anew: 0 rows\nForgotten: {old}." in out.getvalue()
    assert (worker.key_ids, sealed_by()) == ({worker.present}, {worker.present: 6})
    assert opens(4, credentials)
    assert key_path().stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db(transaction=True)
def test_a_rotation_that_is_killed_in_the_middle_loses_nothing_and_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rotating, "BATCH", 8)
    credentials = fill(30)
    old = vault().present
    new = rotating.add_key()
    read: Callable[[Any], str] = rotating.COLUMNS[2].purpose
    count = 0

    def until_killed(row: Any) -> str:
        nonlocal count
        count += 1
        if count == 13:  # in the second batch, whose transaction is open
            os.kill(os.getpid(), signal.SIGKILL)
        return read(row)

    connections.close_all()
    child = os.fork()
    if child == 0:
        rotating.COLUMNS = (*rotating.COLUMNS[:2], replace(rotating.COLUMNS[2], purpose=until_killed))
        rotating.reseal()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert sealed_by() == {new: 2 + 8, old: 22}, "whole batches, or nothing of them"
    assert opens(30, credentials)
    with pytest.raises(Conflict, match="still has rows of another key"):
        rotating.forget_old()
    call_command("rotate_vault_key", only_reseal=True, forget=True, stdout=StringIO(), stderr=StringIO())
    assert sealed_by() == {new: 32}
    assert opens(30, credentials)
