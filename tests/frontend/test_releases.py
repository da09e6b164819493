"""The pages of a release's life, of reviews and of recalls."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils.html import strip_tags

from appstore.packages import life, services
from appstore.releases.models import Recall, Review
from core.accounts.access import Actor

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def test_a_deed_is_done_undone_and_told_in_the_history(pages: Any, package: Any, make_package: Any) -> None:
    better = make_package(version="2.0.0")
    url = f"/packages/{package.pk}"
    given = {"reason": "It is slow", "successor": str(better.pk)}
    text = text_of(pages.post(f"{url}/deprecate", given, follow=True))
    assert "was deprecated" in text
    assert "Take hello 2.0.0 instead" in text
    assert "Undo" in text
    assert "It is slow" in text_of(pages.get(url))
    text = text_of(pages.post(f"{url}/undeprecate", {}, follow=True))
    assert "Recommended again" in text
    assert "was deprecated" not in text


def test_a_reason_that_is_missing_is_asked_for_and_an_odd_successor_is_not_found(pages: Any, package: Any) -> None:
    assert "Say why" in text_of(pages.post(f"/packages/{package.pk}/quarantine", {}, follow=True))
    odd = pages.post(f"/packages/{package.pk}/yank", {"reason": "x", "successor": "odd"})
    assert odd.status_code == 400
    assert "There is no such successor" in text_of(odd)


def test_visibility_is_changed_and_undone(pages: Any, package: Any, browser_of: Any, stranger: Any) -> None:
    url, other = f"/packages/{package.pk}", browser_of(stranger)
    assert other.get(url).status_code == 200
    text = text_of(pages.post(f"{url}/visibility", {"visibility": "partners", "reason": "A pilot"}, follow=True))
    assert "Shown to chosen partner stores, before everybody" in text
    assert "A pilot" in text
    assert [other.get(url + path).status_code for path in ("", "/life", "/deploy")] == [404, 404, 404]
    pages.post(f"{url}/visibility", {"visibility": "public"})
    assert other.get(url).status_code == 200


def test_others_see_the_mark_and_not_the_history(browser_of: Any, stranger: Any, package: Any, actor: Any) -> None:
    life.deprecate(package, actor=actor, reason="It is slow")
    text = text_of(browser_of(stranger).get(f"/packages/{package.pk}/life"))
    assert "It is slow" in text
    assert "History" not in text
    assert "Yank" not in text


def test_a_review_from_publishing_to_the_decision(
    browser_of: Any, make_user: Any, organisation: Any, make_package: Any, admin: Any, pages: Any
) -> None:
    dora = make_user("dora", organisation, "developer")
    package = make_package(state="checked", uploaded_by=dora)
    developer = browser_of(dora)
    assert "waits for a reviewer" in text_of(developer.post(f"/packages/{package.pk}/publish", follow=True))
    review = Review.objects.get()
    url = f"/reviews/{review.pk}"
    assert "Approve" not in text_of(developer.get(url))
    assert developer.post(f"{url}/approve").status_code == 403
    text = text_of(pages.get(url))
    assert "It is the first release under the name Acme" in text
    assert "Approve" in text
    assert "Say why" in text_of(pages.post(f"{url}/decline", {}, follow=True))
    pages.post(f"{url}/decline", {"reason": "No README"})
    assert "No README" in text_of(developer.get(f"/packages/{package.pk}"))
    services.publish(package, actor=Actor(dora))
    again = Review.objects.get(state="open")
    assert "is published" in text_of(pages.post(f"/reviews/{again.pk}/approve", {}, follow=True))
    package.refresh_from_db()
    assert package.state == "published"


def test_the_rules_are_changed_by_those_who_run_the_store_only(pages: Any, browser_of: Any, stranger: Any) -> None:
    assert "when something important" in text_of(pages.get("/reviews"))
    for days in ("", "x", "-1", "99999"):
        assert pages.post("/reviews/rules", {"review": "off", "freeze_days": days}).status_code == 400
    assert "The rules are changed" in text_of(
        pages.post("/reviews/rules", {"review": "off", "freeze_days": "7"}, follow=True)
    )
    assert browser_of(stranger).post("/reviews/rules", {"review": "off", "freeze_days": "7"}).status_code == 404
    assert "No package needs a review" in text_of(browser_of(stranger).get("/reviews"))


def test_a_recall_from_the_page_of_the_release_to_its_end(
    pages: Any, package: Any, deployment: Any, browser_of: Any, stranger: Any
) -> None:
    given = {"reason": "It leaks memory", "advice": "Update", "severity": "critical", "action": "stop"}
    text = text_of(pages.post(f"/packages/{package.pk}/recall", given, follow=True))
    recall = Recall.objects.get()
    assert "0 of 1 done, 1 dark" in text
    assert "berth-7" in text
    assert "0 of 1 done, 1 dark" in text_of(pages.get("/recalls"))
    for address in (f"/deployments/{deployment.pk}", "/deployments", f"/nodes/{deployment.node_id}"):
        assert "recalled" in text_of(pages.get(address))
    assert browser_of(stranger).get(f"/recalls/{recall.pk}").status_code == 404
    assert "Nothing is recalled" in text_of(browser_of(stranger).get("/recalls"))
    assert "Say why" in text_of(pages.post(f"/recalls/{recall.pk}/lift", {}, follow=True))
    assert "The recall is lifted" in text_of(pages.post(f"/recalls/{recall.pk}/lift", {"reason": "fine"}, follow=True))
    assert "Recall lifted" in text_of(pages.get(f"/packages/{package.pk}/life"))
