"""The full text: a virtual table of FTS5 in SQLite, a table of tsvectors with a GIN index in PostgreSQL."""

from typing import Any

from django.db import migrations


def add(apps: Any, schema_editor: Any) -> None:
    """Make the table of the database at hand."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE TABLE catalog_text "
            "(listing_id bigint PRIMARY KEY, head tsvector NOT NULL, every tsvector NOT NULL)",
            params=None,
        )
        # Without fastupdate: what is pending there would be read through by every search.
        schema_editor.execute(
            "CREATE INDEX catalog_text_every ON catalog_text USING gin (every) WITH (fastupdate = off)", params=None
        )
        return
    schema_editor.execute(
        "CREATE VIRTUAL TABLE catalog_text USING fts5("
        "name, keywords, description, readme, tokenize = 'unicode61 remove_diacritics 0', prefix = '1 2 3')",
        params=None,
    )


def drop(apps: Any, schema_editor: Any) -> None:
    """Remove it again."""
    schema_editor.execute("DROP TABLE catalog_text", params=None)


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]
    operations = [migrations.RunPython(add, drop)]
