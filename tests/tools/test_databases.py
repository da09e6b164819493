"""The database that tests copy is the one that migrations make, and how tests look into one of another process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
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


def test_a_look_leaves_nothing_open_that_could_lose_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "of-others.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE seen (what)")
        database.execute("INSERT INTO seen VALUES ('a row')")
        database.commit()
    assert databases.look(path, "SELECT what FROM seen WHERE what LIKE ?", "a%") == [("a row",)]
    opened = {str(handle.readlink()) for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink()}
    assert not [name for name in opened if name.startswith(str(path))]
