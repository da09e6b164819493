"""What is done to a release after its publication: who may, what is written down, and how it is undone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from appstore.packages import followers, gates, life, services
from appstore.packages.models import Package
from appstore.releases import reviewing
from core.accounts.access import Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing

pytestmark = pytest.mark.django_db

UNDONE = [
    (life.deprecate, life.undeprecate, "deprecated"),
    (life.yank, life.unyank, "yanked"),
    (life.quarantine, life.unquarantine, "quarantined"),
]


@pytest.mark.parametrize(("deed", "undo", "state"), UNDONE)
def test_a_deed_says_who_when_and_why_and_can_be_undone(
    make: Any, actor: Any, deed: Any, undo: Any, state: str
) -> None:
    package = deed(make(), actor=actor, reason="It leaks")
    assert (package.state, package.state_reason) == (state, "It leaks")
    event = package.events.get()
    assert (event.before, event.after, event.reason, event.actor) == ("published", state, "It leaks", "admin")
    assert Entry.objects.filter(action=f"package.{event.deed}", object_id=str(package.pk)).exists()
    package = undo(package, actor=actor, reason="It was another one")
    assert (package.state, package.state_reason, package.successor) == ("published", "", None)
    assert package.events.count() == 2


def test_who_is_set_free_is_again_what_it_was_with_the_reason_of_then(make: Any, actor: Any) -> None:
    better = make(version="2.0")
    package = life.deprecate(make(), actor=actor, reason="Slow", successor=better)
    package = life.quarantine(package, actor=actor, reason="Being looked into")
    package = life.unquarantine(package, actor=actor, reason="Nothing found")
    assert (package.state, package.state_reason, package.successor) == ("deprecated", "Slow", better)


def test_a_successor_is_another_deployable_release_of_the_same_organisation(
    make: Any, actor: Any, stranger_organisation: Any
) -> None:
    package = make()
    for wrong in (package, make(version="2", state="checked"), make(version="3", owner=stranger_organisation)):
        with pytest.raises(Invalid, match="successor"):
            life.deprecate(package, actor=actor, reason="Slow", successor=wrong)
    package.refresh_from_db()
    assert package.state == "published"


def test_strangers_learn_nothing_and_members_need_the_role(
    make: Any, make_user: Any, organisation: Any, stranger: Any
) -> None:
    package, viewer = make(), Actor(make_user("vera", organisation, "viewer"))
    for deed in (life.deprecate, life.yank, life.quarantine):
        with pytest.raises(Denied):
            deed(package, actor=viewer, reason="x")
        with pytest.raises(Missing):
            deed(package, actor=Actor(stranger), reason="x")
    with pytest.raises(Missing):
        life.show_to(package, "organisation", actor=Actor(stranger))


def test_what_the_store_has_quarantined_only_the_store_sets_free(
    make: Any, actor: Any, stranger: Any, stranger_organisation: Any
) -> None:
    theirs = make(owner=stranger_organisation)
    theirs = life.quarantine(theirs, actor=actor, reason="Somebody reported it")
    with pytest.raises(Denied, match="operator of the store"):
        life.unquarantine(theirs, actor=Actor(stranger), reason="No")
    assert life.unquarantine(theirs, actor=actor, reason="Settled").state == "published"
    mine = life.quarantine(theirs, actor=Actor(stranger), reason="We look ourselves")
    assert life.unquarantine(mine, actor=Actor(stranger), reason="Fine").state == "published"


@pytest.mark.parametrize("state", ["published", "deprecated"])
@pytest.mark.parametrize("visibility", ["organisation", "partners"])
def test_what_is_not_public_is_found_on_no_path_by_others(
    make: Any, stranger_api: Any, api: Any, state: str, visibility: str
) -> None:
    package = make(state=state)
    paths = ["", "/content", "/history"]
    url = f"/api/v1/packages/{package.pk}"
    assert stranger_api.get(url).status_code == 200
    changed = api.post(f"{url}/visibility", {"visibility": visibility, "reason": "not for all"}, format="json")
    assert changed.json()["visibility"] == visibility
    assert [stranger_api.get(url + path).status_code for path in paths] == [404, 404, 404]
    assert stranger_api.get("/api/v1/packages").json()["count"] == 0
    assert package not in Package.objects.published()
    assert api.get(url).status_code == 200
    event = package.events.get()
    assert (event.deed, event.before, event.after) == ("visibility", "public", visibility)


@pytest.mark.parametrize("state", ["yanked", "quarantined", "recalled"])
def test_what_is_set_aside_is_seen_by_its_owner_and_by_reviewers_of_the_store(
    make: Any, api: Any, stranger_api: Any, stranger_organisation: Any, client_of: Any, make_user: Any, state: str
) -> None:
    url = f"/api/v1/packages/{make(state=state, owner=stranger_organisation).pk}"
    third = client_of(make_user("third"))
    assert [client.get(url).status_code for client in (stranger_api, api, third)] == [200, 200, 404]
    assert api.get("/api/v1/packages").json()["count"] == 0


def test_notes_may_be_changed_for_a_while_and_are_frozen_then(make: Any, actor: Any) -> None:
    package = make()
    assert life.annotate(package, "Mind the port", actor=actor).notes == "Mind the port"
    old = make(version="0.1", published_at=timezone.now() - timedelta(days=15))
    with pytest.raises(Conflict, match="frozen"):
        life.annotate(old, "Too late", actor=actor)
    with pytest.raises(Conflict, match="frozen"):
        gates.require("amend", old, old.organisation_id)
    reviewing.set_policy(actor=actor, review="changes", freeze_days=30)
    assert life.annotate(old, "In time", actor=actor).notes == "In time"


def test_every_deed_has_a_path_and_the_older_name_of_yank_still_works(make: Any, api: Any) -> None:
    package, better = make(), make(version="2.0")
    url = f"/api/v1/packages/{package.pk}"

    def post(deed: str, **body: Any) -> Any:
        return api.post(f"{url}/{deed}", body, format="json")

    assert post("deprecate").status_code == 400
    told = post("deprecate", reason="Slow", successor=str(better.pk)).json()
    assert (told["state"], told["state_reason"], told["successor"]) == ("deprecated", "Slow", str(better.pk))
    assert post("undeprecate").json()["state"] == "published"
    yanked = post("withdraw", reason="Leaks").json()
    assert (yanked["state"], yanked["withdrawn_reason"]) == ("yanked", "Leaks")
    assert yanked["withdrawn_at"] is not None
    assert api.get("/api/v1/packages?state=withdrawn").json()["count"] == 1
    assert post("unyank").json()["state"] == "published"
    assert post("quarantine", reason="Odd").json()["state"] == "quarantined"
    assert post("deprecate", reason="x").status_code == 409
    assert post("unquarantine", reason="Fine").json()["state"] == "published"
    assert post("notes", notes="New").json()["notes"] == "New"
    assert post("visibility", visibility="everybody").status_code == 400
    deeds = [event["deed"] for event in api.get(f"{url}/history").json()["results"]]
    assert deeds == ["notes", "unquarantine", "quarantine", "unyank", "yank", "undeprecate", "deprecate"]


def test_nothing_is_half_done_when_a_follower_fails(make: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    def broken(event: str, package: Package) -> None:
        raise RuntimeError

    package = make()
    monkeypatch.setitem(followers.registry._loaded, "broken", broken)
    with pytest.raises(RuntimeError):
        life.yank(package, actor=actor, reason="x")
    package.refresh_from_db()
    assert (package.state, package.events.count()) == ("published", 0)


def test_the_older_name_of_the_verb_still_works(make: Any, actor: Any) -> None:
    assert services.withdraw(make(), actor=actor, reason="x").state == "yanked"
