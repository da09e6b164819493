"""When somebody else must look before a package is published, who that may be, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.packages import services
from appstore.releases import reasons, reviewing
from appstore.releases.models import Review
from appstore.releases.reasons import confusable, distance
from core.accounts.access import SYSTEM, Actor
from core.errors import Conflict, Denied, Missing

pytestmark = pytest.mark.django_db

SIGNED = {"state": "valid", "signer": "CN=Acme", "fingerprint": "a" * 64}


@pytest.fixture
def developer(make_user: Any, organisation: Any) -> Any:
    """A developer of acme, beside its administrator."""
    return make_user("dora", organisation, "developer")


@pytest.fixture
def submit(make: Any, developer: Any) -> Any:
    """Have the developer upload and publish something; give the package as it is then."""

    def publish(version: str = "1.0", actor: Any = None, **facts: Any) -> Any:
        uploader = facts.pop("uploaded_by", developer)
        package = make(version=version, state="checked", uploaded_by=uploader, **facts)
        return services.publish(package, actor=actor or Actor(developer))

    return publish


def why(package: Any) -> list[str]:
    return [reason["code"] for reason in Review.objects.get(package=package, state="open").reasons]


def test_the_first_release_of_a_provider_waits_for_a_reviewer_and_the_next_one_does_not(
    submit: Any, actor: Any
) -> None:
    first = submit()
    assert (first.state, why(first)) == ("in-review", ["provider-new"])
    released = reviewing.approve(Review.objects.get(), actor=actor, reason="Looks fine")
    assert released.state == "published"
    assert released.published_at is not None
    assert submit("1.1").state == "published"
    assert list(released.events.values_list("deed", flat=True)) == ["approve", "submit"]


@pytest.mark.parametrize(
    ("before", "now", "code"),
    [
        ({"signature": SIGNED}, {"signature": {}}, "signer-changed"),
        ({"signature": SIGNED}, {"signature": {**SIGNED, "fingerprint": "b" * 64}}, "signer-changed"),
        ({"provider": "Harbour Labs"}, {}, "provider-changed"),
    ],
)
def test_what_changed_since_the_release_before_is_a_reason(
    make: Any, submit: Any, before: Any, now: Any, code: str
) -> None:
    make(name="other")  # Acme has published before
    make(version="0.9", **before)
    package = submit("1.0", **now)
    assert package.state == "in-review"
    assert code in why(package)


def test_who_signs_for_the_first_time_or_again_with_the_same_key_needs_nobody(make: Any, submit: Any) -> None:
    make(version="0.9")
    assert submit("1.0", signature=SIGNED).state == "published"
    assert submit("1.1", signature=SIGNED).state == "published"


def test_a_name_that_can_be_taken_for_anothers_is_for_reviewers_of_the_store(
    make: Any, make_user: Any, stranger: Any, stranger_organisation: Any, actor: Any
) -> None:
    make(provider="Harbour Telecom")
    colleague = make_user("colleague", stranger_organisation, "admin")
    bait = make(
        name="bait", provider="Harb0ur Te1ecom", state="checked", owner=stranger_organisation, uploaded_by=stranger
    )
    assert services.publish(bait, actor=Actor(colleague)).state == "in-review"
    review = Review.objects.get()
    assert (why(bait), review.by_store) == (["provider-confusable"], True)
    with pytest.raises(Denied, match="runs this store"):
        reviewing.approve(review, actor=Actor(colleague))
    assert reviewing.decline(review, actor=actor, reason="That is somebody else's name").state == "checked"


def test_four_eyes(submit: Any, make_user: Any, organisation: Any, stranger: Any, developer: Any) -> None:
    boss = make_user("boss", organisation, "admin")
    make_user("second", organisation, "certifier")
    submit(actor=Actor(boss), uploaded_by=boss)
    review = Review.objects.get()
    for who, error in ((boss, Denied), (developer, Denied), (stranger, Missing)):
        with pytest.raises(error):
            reviewing.approve(review, actor=Actor(who))
    assert not reviewing.may_decide(review, Actor(boss))


def test_who_reviews_and_did_not_upload_it_publishes_at_once(submit: Any, make_user: Any, organisation: Any) -> None:
    certifier = make_user("cid", organisation, "certifier")
    assert submit(actor=Actor(certifier)).state == "published"


def test_where_nobody_else_may_review_the_only_one_publishes(make: Any, actor: Any, admin: Any) -> None:
    assert services.publish(make(state="checked", uploaded_by=admin), actor=actor).state == "published"
    assert not Review.objects.exists()


def test_the_platform_publishes_its_samples_without_a_person(submit: Any) -> None:
    assert submit(actor=SYSTEM).state == "published"


def test_the_rules_of_the_store_decide(
    submit: Any, api: Any, stranger_api: Any, actor: Any, make: Any, django_assert_max_num_queries: Any
) -> None:
    assert api.get("/api/v1/release-policy").json() == {"review": "changes", "freeze_days": 14}
    assert stranger_api.put("/api/v1/release-policy", {"review": "off"}, format="json").status_code == 404
    assert api.put("/api/v1/release-policy", {"review": "now"}, format="json").status_code == 400
    assert api.put("/api/v1/release-policy", {"review": "off"}, format="json").json()["review"] == "off"
    # Upload, check and publication; a third of it is the catalogue, and every gate asks for its policy.
    with django_assert_max_num_queries(70):
        assert submit().state == "published"
    reviewing.set_policy(actor=actor, review="always", freeze_days=14)
    second = submit("1.1")
    assert (second.state, why(second)) == ("in-review", ["every-release"])


def test_a_declined_package_goes_back_and_may_be_submitted_again(submit: Any, api: Any, developer: Any) -> None:
    package = submit()
    review = Review.objects.get()
    assert api.post(f"/api/v1/reviews/{review.pk}/decline", {}, format="json").status_code == 400
    told = api.post(f"/api/v1/reviews/{review.pk}/decline", {"reason": "No README"}, format="json").json()
    assert told["state"] == "checked"
    assert api.post(f"/api/v1/reviews/{review.pk}/approve", {}, format="json").status_code == 409
    assert services.publish(package, actor=Actor(developer)).state == "in-review"
    again = Review.objects.get(state="open")
    assert reviewing.retract(again, actor=Actor(developer)).state == "checked"
    seen = api.get("/api/v1/reviews").json()["results"]
    assert [row["state"] for row in seen] == ["retracted", "declined"]
    assert seen[1]["decision"] == "No README"


def test_other_tenants_see_no_reviews_and_their_packages_stay_hidden(submit: Any, stranger_api: Any) -> None:
    package = submit()
    review = Review.objects.get()
    assert stranger_api.get("/api/v1/reviews").json()["count"] == 0
    paths = [f"/api/v1/reviews/{review.pk}", f"/api/v1/packages/{package.pk}"]
    assert [stranger_api.get(path).status_code for path in paths] == [404, 404]
    assert stranger_api.post(f"{paths[0]}/approve", {}, format="json").status_code == 404


def test_a_package_in_review_is_neither_checked_nor_discarded(submit: Any, developer: Any) -> None:
    package = submit()
    with pytest.raises(Conflict, match="retract"):
        services.request_check(package)
    with pytest.raises(Conflict, match="retract"):
        services.discard(package, actor=Actor(developer))


def test_other_topics_add_reasons_by_name_as_plain_sentences(
    make: Any, submit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(version="0.9")
    monkeypatch.setitem(
        reasons.registry._loaded, "contents", lambda package, previous: ["It asks for the host's network."]
    )
    package = submit()
    assert Review.objects.get(package=package).reasons == [
        {"code": "contents", "words": "It asks for the host's network.", "store": False}
    ]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Acme Corp", "acme-corp"), ("Acme", "Аcmе"), ("Microport", "Micr0port"), ("Harbour", "Harbuor"), ("Modern", "Modem"),
        ("Telekom", "Telecom"), ("paypal", "paypa1"),
    ],
)  # fmt: skip
def test_names_that_people_take_for_one_another(name: str, other: str) -> None:
    assert confusable(name, other)
    assert confusable(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [("Acme", "Acne"), ("Harbour", "Labour"), ("Nokia", "Ericsson"), ("A", "B"), ("", "x"), ("IBM", "ISM")],
)
def test_names_that_are_different(name: str, other: str) -> None:
    assert not confusable(name, other)


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_distance_is_one_between_the_two_whichever_comes_first(one: str, two: str) -> None:
    found = distance(one, two, 9)
    assert found == distance(two, one, 9)
    assert (found == 0) == (one == two)
    assert abs(len(one) - len(two)) <= found <= max(len(one), len(two))
    assert distance(one, two, 1) == (found if found <= 1 else 2)
