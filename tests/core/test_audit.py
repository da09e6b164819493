"""The audit trail is added to and never changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from core.audit import services as audit
from core.audit.models import Entry
from core.errors import Conflict

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(actor: Any, organisation: Any) -> Entry:
    return audit.record(actor, "node.register", organisation, organisation=organisation, name="berth-7")


def test_an_entry_says_who_did_what_to_which_object(entry: Entry, organisation: Any) -> None:
    assert (entry.actor, entry.action, entry.object_id) == ("admin", "node.register", str(organisation.pk))
    assert (entry.organisation_id, entry.facts) == (organisation.pk, {"name": "berth-7"})


def test_code_cannot_change_or_delete_an_entry(entry: Entry) -> None:
    for deed in (entry.save, entry.delete, Entry.objects.all().delete, lambda: Entry.objects.update(actor="x")):
        with pytest.raises(Conflict):
            deed()


@pytest.mark.parametrize("statement", ["UPDATE audit_entry SET actor = 'x'", "DELETE FROM audit_entry"])
def test_even_raw_sql_is_refused(entry: Entry, statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Entry.objects.get(pk=entry.pk).actor == "admin"


def test_the_trail_is_read_by_its_tenant_only(entry: Entry, api: Any, stranger_api: Any) -> None:
    assert api.get("/api/v1/audit?q=register").json()["results"][0]["action"] == "node.register"
    assert stranger_api.get("/api/v1/audit").json()["count"] == 0


def test_a_viewer_does_not_read_the_trail(entry: Entry, make_user: Any, organisation: Any, client_of: Any) -> None:
    eye = make_user("eye", organisation, "viewer")
    assert client_of(eye).get("/api/v1/audit").json()["count"] == 0
