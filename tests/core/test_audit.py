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
    assert stranger_api.get("/api/v1/audit").json() == {"next": None, "results": []}


def test_a_viewer_does_not_read_the_trail(entry: Entry, make_user: Any, organisation: Any, client_of: Any) -> None:
    eye = make_user("eye", organisation, "viewer")
    assert client_of(eye).get("/api/v1/audit").json()["results"] == []


def test_the_trail_is_searched_by_who_what_to_which_and_when(
    actor: Any, organisation: Any, api: Any, django_assert_num_queries: Any
) -> None:
    from datetime import timedelta

    for number in range(7):
        Entry.objects.create(
            actor="admin (token ci)" if number % 2 else "berta", action=f"node.{'drain' if number > 3 else 'register'}",
            organisation_id=organisation.pk, object_id=f"id-{number}", object_name=f"berth-{number}",
            facts={"why": "a \"storm\"" if number == 2 else "none"},
        )  # fmt: skip
    entries = list(Entry.objects.order_by("at"))

    def found(**asked: Any) -> list[str]:
        rows = api.get("/api/v1/audit", asked).json()["results"]
        return [row["object_id"] for row in rows]

    assert found(actor="admin") == ["id-5", "id-3", "id-1"]
    assert found(action="node.drain", actor="berta") == ["id-6", "id-4"]
    assert len(found(action="node.")) == 7
    assert found(target="BERTH-3") == found(target="id-3") == found(object_id="id-3") == ["id-3"]
    assert found(q="storm") == ["id-2"]
    assert found(since=entries[5].at.isoformat()) == ["id-6", "id-5"]
    assert found(until=entries[1].at.isoformat()) == ["id-0"]
    assert found(until=f"{entries[0].at + timedelta(days=1):%Y-%m-%d}", q="berth-0") == ["id-0"]
    seen: list[str] = []
    url = "/api/v1/audit?action=node.&page_size=3"
    while url:
        # Session and user, roles, and one for the page: no count, no offset.
        with django_assert_num_queries(4):
            page = api.get(url).json()
        seen += [row["object_id"] for row in page["results"]]
        url = page["next"]
    assert seen == [f"id-{number}" for number in reversed(range(7))]
    for wrong in ("since=yesterday", "after=x", "page_size=0", "page_size=x", "until=0001-13-01"):
        answer = api.get(f"/api/v1/audit?{wrong}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, wrong.split("=")[0])
    assert api.get("/api/v1/audit?since=2026-02-02&until=2026-02-01").status_code == 400
    assert api.get("/api/v1/audit?q=%00&actor=%00").status_code == 200
