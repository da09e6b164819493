"""The database itself refuses to change what a release is, whoever asks.

A later migration that rebuilds this table on SQLite drops the trigger with it and must add it again;
`tests/appstore/test_packages.py` notices when one forgets.
"""

from typing import Any

from django.db import migrations

_FIXED = (
    "id", "organisation_id", "sha256", "size", "format", "name", "provider", "version", "app_d_id", "description",
    "descriptor", "findings", "chart_sha256", "images", "published_at",
)  # fmt: skip

_BACK = "OLD.state = 'withdrawn' AND NEW.state <> 'withdrawn' OR NEW.state NOT IN ('published', 'withdrawn')"


def _changes(differs: str) -> str:
    return " OR ".join([*(f"OLD.{column}{differs}NEW.{column}" for column in _FIXED), f"({_BACK})"])


def add(apps: Any, schema_editor: Any) -> None:
    """Create the trigger of the database at hand."""
    if schema_editor.connection.vendor == "postgresql":
        changes = " OR ".join(
            [*(f"OLD.{column}::text IS DISTINCT FROM NEW.{column}::text" for column in _FIXED), f"({_BACK})"]
        )
        schema_editor.execute(
            "CREATE FUNCTION packages_release_is_fixed() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {changes} THEN RAISE EXCEPTION 'a published release never changes'; END IF; "
            "RETURN NEW; END $$",
            params=None,
        )
        schema_editor.execute(
            "CREATE TRIGGER packages_release_is_fixed BEFORE UPDATE ON packages_package FOR EACH ROW "
            "WHEN (OLD.state IN ('published', 'withdrawn')) EXECUTE FUNCTION packages_release_is_fixed()",
            params=None,
        )
        return
    schema_editor.execute(
        "CREATE TRIGGER packages_release_is_fixed BEFORE UPDATE ON packages_package "
        f"WHEN OLD.state IN ('published', 'withdrawn') AND ({_changes(' IS NOT ')}) "
        "BEGIN SELECT RAISE(ABORT, 'a published release never changes'); END",
        params=None,
    )


def drop(apps: Any, schema_editor: Any) -> None:
    """Remove it again."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER packages_release_is_fixed ON packages_package", params=None)
        schema_editor.execute("DROP FUNCTION packages_release_is_fixed()", params=None)
        return
    schema_editor.execute("DROP TRIGGER packages_release_is_fixed", params=None)


class Migration(migrations.Migration):
    dependencies = [("packages", "0001_initial")]
    operations = [migrations.RunPython(add, drop)]
