"""States of a release beyond published: deprecated, yanked (was `withdrawn`), quarantined, recalled; review; history."""

from importlib import import_module
from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

_before = import_module("appstore.packages.migrations.0002_immutable_releases")

_FINAL = ["published", "deprecated", "yanked", "quarantined", "recalled"]
_STATES = ["draft", "checked", "rejected", "in-review", *_FINAL]
_FINAL_SQL = "('" + "', '".join(_FINAL) + "')"

#: A release never changes its content nor leaves the states of releases; what is reviewed does not change meanwhile.
_CONTENT = tuple(column for column in _before._FIXED if column != "published_at")


def _forbidden(differs: str, cast: str = "") -> str:
    def changed(columns: tuple[str, ...]) -> str:
        return " OR ".join(f"OLD.{column}{cast}{differs}NEW.{column}{cast}" for column in columns)

    released = f"OLD.state IN {_FINAL_SQL} AND (NEW.state NOT IN {_FINAL_SQL} OR {changed(_before._FIXED)})"
    return f"({released}) OR (OLD.state = 'in-review' AND ({changed(_CONTENT)}))"


def add(apps: Any, schema_editor: Any) -> None:
    """Create the trigger of the database at hand."""
    when = f"OLD.state IN {_FINAL_SQL[:-1]}, 'in-review')"
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE FUNCTION packages_release_is_fixed() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {_forbidden(' IS DISTINCT FROM ', '::text')} "
            "THEN RAISE EXCEPTION 'a published release never changes'; END IF; RETURN NEW; END $$",
            params=None,
        )
        schema_editor.execute(
            "CREATE TRIGGER packages_release_is_fixed BEFORE UPDATE ON packages_package FOR EACH ROW "
            f"WHEN ({when}) EXECUTE FUNCTION packages_release_is_fixed()",
            params=None,
        )
        return
    schema_editor.execute(
        f"CREATE TRIGGER packages_release_is_fixed BEFORE UPDATE ON packages_package WHEN {when} "
        f"AND ({_forbidden(' IS NOT ')}) BEGIN SELECT RAISE(ABORT, 'a published release never changes'); END",
        params=None,
    )


def yank(apps: Any, schema_editor: Any) -> None:
    """Call what was withdrawn yanked."""
    apps.get_model("packages", "Package").objects.filter(state="withdrawn").update(state="yanked", resumes="published")


def withdraw(apps: Any, schema_editor: Any) -> None:
    """Go back to two states: what nobody may deploy anew is withdrawn, what waits for a review is checked."""
    packages = apps.get_model("packages", "Package").objects
    packages.filter(state__in=["yanked", "quarantined", "recalled"]).update(state="withdrawn")
    packages.filter(state="deprecated").update(state="published")
    packages.filter(state="in-review").update(state="checked")


def write_history(apps: Any, schema_editor: Any) -> None:
    """Begin the history of what was published before there was one."""
    events = apps.get_model("packages", "ReleaseEvent")
    rows = apps.get_model("packages", "Package").objects.filter(state__in=_FINAL)
    made = []
    for pk, state, published_at, state_at, reason in rows.values_list(
        "pk", "state", "published_at", "state_at", "state_reason"
    ).iterator():
        made.append(
            events(package_id=pk, deed="publish", before="checked", after="published", actor="system", at=published_at)
        )
        if state == "yanked":
            made.append(
                events(
                    package_id=pk, deed="yank", before="published", after="yanked", actor="system",
                    at=state_at or published_at, reason=reason,
                )
            )  # fmt: skip
    events.objects.bulk_create(made, batch_size=500)


def nothing(apps: Any, schema_editor: Any) -> None:
    """The table goes with the reversal of its creation."""


class Migration(migrations.Migration):
    dependencies = [
        ("packages", "0003_origin_and_visibility"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(_before.drop, _before.add),
        migrations.RemoveConstraint(model_name="package", name="package_state_is_known"),
        migrations.RemoveConstraint(model_name="package", name="a_release_knows_its_day"),
        migrations.RemoveConstraint(model_name="package", name="a_release_has_name_and_version"),
        migrations.RemoveConstraint(model_name="package", name="a_release_is_published_once"),
        migrations.RenameField(model_name="package", old_name="withdrawn_at", new_name="state_at"),
        migrations.RenameField(model_name="package", old_name="withdrawn_reason", new_name="state_reason"),
        migrations.AlterField(
            model_name="package",
            name="state_at",
            field=models.DateTimeField(
                blank=True, help_text="when a deed of its life led to the present state", null=True
            ),
        ),
        migrations.AlterField(
            model_name="package",
            name="state_reason",
            field=models.CharField(
                blank=True, help_text="why it is deprecated, yanked and so on", max_length=500
            ),
        ),
        migrations.AddField(
            model_name="package",
            name="notes",
            field=models.TextField(
                blank=True, default="", help_text="notes of the publisher; open for a while after publication"
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="package", name="resumes", field=models.CharField(blank=True, default="", max_length=12)
        ),
        migrations.AddField(
            model_name="package",
            name="successor",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="packages.package",
            ),
        ),
        migrations.AlterField(
            model_name="package",
            name="state",
            field=models.CharField(
                choices=[
                    ("draft", "Draft"),
                    ("checked", "Checked"),
                    ("rejected", "Rejected"),
                    ("in-review", "In Review"),
                    ("published", "Published"),
                    ("deprecated", "Deprecated"),
                    ("yanked", "Yanked"),
                    ("quarantined", "Quarantined"),
                    ("recalled", "Recalled"),
                ],
                default="draft",
                max_length=12,
            ),
        ),
        migrations.RunPython(yank, withdraw),
        migrations.AddConstraint(
            model_name="package",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", tuple(_FINAL))),
                fields=("organisation", "origin", "provider", "name", "version"),
                name="a_release_is_published_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="package",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", tuple(_STATES))), name="package_state_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="package",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("published_at__isnull", False),
                    models.Q(("state__in", tuple(_FINAL)), _negated=True),
                    _connector="OR",
                ),
                name="a_release_knows_its_day",
            ),
        ),
        migrations.AddConstraint(
            model_name="package",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", tuple(_FINAL)), _negated=True),
                    models.Q(models.Q(("name", ""), _negated=True), models.Q(("version", ""), _negated=True)),
                    _connector="OR",
                ),
                name="a_release_has_name_and_version",
            ),
        ),
        migrations.CreateModel(
            name="ReleaseEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("deed", models.CharField(max_length=20)),
                (
                    "before",
                    models.CharField(help_text="state, or visibility when that was changed", max_length=12),
                ),
                ("after", models.CharField(max_length=12)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("actor", models.CharField(max_length=250)),
                ("facts", models.JSONField(blank=True, default=dict)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "package",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="packages.package"
                    ),
                ),
            ],
            options={
                "ordering": ["-at", "-id"],
                "indexes": [models.Index(fields=["package", "-at"], name="event_by_package")],
            },
        ),
        migrations.RunPython(write_history, nothing),
        migrations.RunPython(add, _before.drop),
    ]
