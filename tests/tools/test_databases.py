"""The database that tests copy is the one that migrations make."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests import databases


@pytest.mark.django_db
def test_no_migration_is_left_to_do() -> None:
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []


def test_another_migration_is_another_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "ROOT", tmp_path)
    folder = tmp_path / "core" / "topic" / "migrations"
    folder.mkdir(parents=True)
    before = databases.cached("centre")
    (folder / "0001_initial.py").write_text("operations = []\n")
    assert databases.cached("centre") != before
