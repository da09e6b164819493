"""The catalogue, applications, reviews, notices and webhooks as people see them."""

from __future__ import annotations

from typing import Any

import pytest

from appstore.catalog import notices
from appstore.catalog.models import App, Delivery, Favourite, Follow, Notice, Review, Webhook

NO_SCRIPT = "<script>alert(1)</script>"


def text_of(response: Any) -> str:
    """Return the page, which must be one."""
    assert response.status_code == 200
    return response.content.decode()


def test_while_one_types_only_the_inner_part_is_sent(pages: Any, make_package: Any) -> None:
    make_package("crane")
    inner = text_of(pages.get("/?q=cra", headers={"HX-Request": "true"}))
    assert "<html" not in inner
    assert 'data-address="?q=cra"' in inner
    assert inner.count("app-card") == 1


def test_ticked_filters_stand_above_and_each_can_go(pages: Any, make_package: Any) -> None:
    make_package("crane"), make_package("camera", provider="City")
    text = text_of(pages.get("/?provider=City&provider=Gone&signature=unsigned"))
    assert text.count("app-card") == 1
    assert "?signature=unsigned&amp;provider=Gone" in text
    assert "?provider=City&amp;provider=Gone" in text
    assert "Nothing is left with these filters" in text_of(pages.get("/?provider=Gone"))


def test_a_slip_is_told(pages: Any, make_package: Any) -> None:
    make_package("crane")
    text = text_of(pages.get("/?q=krane"))
    assert "Nothing matches “krane”. These match <strong>crane</strong>" in text


def test_the_front_page_costs_the_same_however_much_is_in_it(
    pages: Any, make_package: Any, django_assert_num_queries: Any
) -> None:
    make_package("app-0")
    pages.get("/")
    for number in range(1, 30):
        make_package(f"app-{number}", provider=f"p{number}")
    pages.get("/")
    # Session, user, roles, organisations, unread notices; the serial of the index, the full text, the rows.
    with django_assert_num_queries(8):
        pages.get("/?q=app&provider=p1&provider=p2")


def test_an_organisations_own_release_has_a_lock_and_no_other_eyes(
    pages: Any, browser_of: Any, stranger: Any, make_package: Any
) -> None:
    make_package("crane", "2.0", visibility="organisation")
    assert "your organisation only" in text_of(pages.get("/"))
    assert "crane" not in text_of(browser_of(stranger).get("/"))


def test_a_name_leads_to_the_newest_release_one_may_see(
    pages: Any, browser_of: Any, stranger: Any, make_package: Any
) -> None:
    public, inner = make_package("crane", "1.0"), make_package("crane", "2.0", visibility="organisation")
    assert pages.get("/apps/acme/Acme/crane").headers["Location"] == f"/packages/{inner.pk}"
    assert browser_of(stranger).get("/apps/acme/Acme/crane").headers["Location"] == f"/packages/{public.pk}"
    assert pages.get("/apps/acme/Acme/zebra").status_code == 404


def test_an_application_shows_its_versions_with_their_notes(pages: Any, make_package: Any) -> None:
    from appstore.catalog import services
    from appstore.catalog.following import entries_of

    make_package("crane", "1.9")
    package = make_package("crane", "1.10")
    (told,) = entries_of([package])
    told.facts["changes"] = [{"kind": "fixed", "text": NO_SCRIPT}, {"kind": "security", "text": "A hole"}, "odd"]
    services.put([told])
    text = text_of(pages.get(f"/catalogue/{App.objects.get().pk}"))
    assert text.index("1.10") < text.index("1.9")
    assert text.index("A hole") < text.index("alert(1)")
    assert NO_SCRIPT not in text
    assert pages.get(f"/packages/{package.pk}/app").headers["Location"] == f"/catalogue/{App.objects.get().pk}"


def test_following_and_favourites(pages: Any, make_package: Any, admin: Any) -> None:
    make_package("crane")
    app = App.objects.get()
    for data in ({"on": "yes"}, {"on": "yes", "what": "provider"}):
        pages.post(f"/catalogue/{app.pk}/follow", data)
    pages.post(f"/catalogue/{app.pk}/favourite", {"on": "yes"})
    text = text_of(pages.get("/notices"))
    assert "everything of" in text
    assert Favourite.objects.count() == 1
    pages.post("/notices/unfollow", {"follow": str(Follow.objects.get(app=None).pk)})
    pages.post("/notices/unfollow", {"follow": "x"})
    assert Follow.objects.get().app == app


def test_the_menu_counts_what_is_unread(pages: Any, admin: Any) -> None:
    assert "menu-count" not in text_of(pages.get("/notices"))
    for number in range(2):
        Notice.objects.create(user=admin, kind="recall", text=NO_SCRIPT, url="https://evil.example/", about=str(number))
    text = text_of(pages.get("/profile"))
    assert '<span class="menu-count">2<' in text
    assert NO_SCRIPT not in text_of(pages.get("/notices"))
    one = Notice.objects.first()
    assert pages.post("/notices/read", {"notice": str(one.pk)}).headers["Location"] == "/notices", (
        "only to our own pages"
    )
    assert notices.unread(admin.pk) == 1
    pages.post("/notices/read", {"notice": "9" * 40})
    assert notices.unread(admin.pk) == 0


def test_nobody_reads_anothers_notices(browser_of: Any, stranger: Any, admin: Any) -> None:
    made = Notice.objects.create(user=admin, kind="release", text="For the admin", about="1")
    browser = browser_of(stranger)
    assert "For the admin" not in text_of(browser.get("/notices"))
    browser.post("/notices/read", {"notice": str(made.pk)})
    browser.post("/notices/read")
    assert notices.unread(admin.pk) == 1


def test_a_review_from_deployment_to_moderation(
    pages: Any, browser_of: Any, stranger: Any, stranger_organisation: Any, make_package: Any, make_node: Any
) -> None:
    from core.accounts.access import Actor
    from mecm.deployments import services as deployments

    package = make_package("crane")
    url, them = f"/packages/{package.pk}/reviews", browser_of(stranger)
    assert "has not deployed it yet" in text_of(them.get(url))
    assert "does not review its own" in text_of(pages.get(url))
    node = make_node("their-node", organisation=stranger_organisation)
    made = deployments.request(
        actor=Actor(stranger), organisation=stranger_organisation, node=node, package=package, name="crane"
    )
    deployments.observe(made.pk, 1, {"state": "ready"})
    assert "Choose one to five stars" in them.post(f"{url}/write", {"rating": "7"}).content.decode()
    assert not Review.objects.exists()
    them.post(f"{url}/write", {"rating": "4", "title": NO_SCRIPT, "text": "It holds."})
    review = Review.objects.get()
    assert "It holds." in text_of(pages.get(url))
    assert NO_SCRIPT not in text_of(pages.get(url))
    pages.post(f"/feedback/{review.pk}/answer", {"text": "Good to hear."})
    assert "Good to hear." in text_of(them.get(url))
    pages.post(f"/feedback/{review.pk}/report", {"reason": "Too short"})
    assert "Too short" in text_of(pages.get("/feedback"))
    assert them.get("/feedback").status_code == 403
    assert "Say why" in pages.post(f"/feedback/{review.pk}/hide", {"reason": ""}).content.decode()
    pages.post(f"/feedback/{review.pk}/hide", {"reason": "An advertisement"})
    assert "Hidden by a moderator: An advertisement" in text_of(them.get(url))
    assert [n.text for n in Notice.objects.filter(user=stranger).order_by("pk")] == [
        "Your review of crane was answered.",
        "Your review of crane was hidden: An advertisement",
    ]
    pages.post(f"/feedback/{review.pk}/hide", {"restore": "yes"})
    them.post(f"{url}/write", {"take_back": "yes"})
    assert not Review.objects.exists()


def test_the_secret_of_a_webhook_is_shown_once(pages: Any) -> None:
    facts = {"name": "chat", "url": "https://hooks.example/in", "events": ["release", "recall"], "everything": "on"}
    text = text_of(pages.post("/webhooks", facts))
    assert "whsec_" in text
    assert "whsec_" not in text_of(pages.get("/webhooks"))
    webhook = Webhook.objects.get()
    assert "whsec_" not in text_of(pages.get(f"/webhooks/{webhook.pk}"))
    pages.post(f"/webhooks/{webhook.pk}/ping")
    assert Delivery.objects.get().event == "ping"
    pages.post(f"/webhooks/{webhook.pk}", {**facts, "name": "mail", "active": ""})
    webhook.refresh_from_db()
    assert (webhook.name, webhook.active) == ("mail", False)
    pages.post(f"/webhooks/{webhook.pk}/remove")
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://10.0.0.1/"}, "https://"),
        ({"url": "https://127.0.0.1/"}, "not public"),
        ({"events": []}, "required"),
    ],
)
def test_a_wrong_webhook_is_told_beside_its_field(pages: Any, change: Any, words: str) -> None:
    response = pages.post("/webhooks", {"name": "x", "url": "https://a.example/", "events": ["release"], **change})
    assert response.status_code == 400
    assert words in response.content.decode()


def test_a_developer_makes_no_webhooks(browser_of: Any, make_user: Any, organisation: Any) -> None:
    assert browser_of(make_user("dev", organisation, "developer")).get("/webhooks").status_code == 403
