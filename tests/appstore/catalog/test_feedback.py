"""Reviews: who may write them, what counts, and who hides them."""

from __future__ import annotations

from typing import Any

import pytest

from appstore.catalog import reviews, usage
from appstore.catalog.models import App, Review
from core.accounts.access import Actor
from core.errors import BreakwaterError, Conflict, Denied, Invalid, Missing

pytestmark = pytest.mark.django_db


@pytest.fixture
def package(make_release: Any) -> Any:
    """A release of `acme`."""
    return make_release("crane")


@pytest.fixture
def app(package: Any) -> App:
    """Its application."""
    return App.objects.get()


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say what an organisation has deployed: `used(organisation, package)`."""
    known: set[tuple[Any, Any]] = set()

    @usage.registry.register("told-by-test")
    def ask(organisation_id: Any, package_ids: Any) -> set[Any]:
        return {pk for pk in package_ids if (organisation_id, pk) in known}

    yield lambda organisation, *packages: known.update((organisation.pk, p.pk) for p in packages)
    usage.registry._loaded.pop("told-by-test")


@pytest.fixture
def review(app: App, package: Any, used: Any, stranger: Any, stranger_organisation: Any) -> Review:
    """What `other` says of the application of `acme`."""
    used(stranger_organisation, package)
    return reviews.write(
        app, actor=Actor(stranger), organisation=stranger_organisation, rating=4, title="Good", text="Yes"
    )


def test_only_who_has_deployed_it_reviews_it(
    app: App, package: Any, used: Any, stranger: Any, stranger_organisation: Any
) -> None:
    say = {"actor": Actor(stranger), "organisation": stranger_organisation, "rating": 5}
    with pytest.raises(Conflict, match="has not deployed it yet"):
        reviews.write(app, **say)
    used(stranger_organisation, package)
    assert reviews.write(app, **say).version == "1.0.0"


def test_the_console_tells_what_became_ready_somewhere(organisation: Any, package: Any, actor: Any) -> None:
    from django.utils import timezone

    from mecm.deployments.models import Deployment, DeploymentRevision
    from mecm.nodes.models import Node

    node = Node.objects.create(
        organisation=organisation, name="berth", engine="memory", link="agent", last_seen_at=timezone.now()
    )
    deployment = Deployment.objects.create(
        organisation=organisation, node=node, package=package, name="a", namespace="b"
    )
    revision = DeploymentRevision.objects.create(deployment=deployment, generation=1, action="install", package=package)
    assert usage.deployed(organisation.pk, [package.pk]) == set()
    revision.outcome = "ready"
    revision.save()
    assert usage.deployed(organisation.pk, [package.pk]) == {package.pk}
    assert usage.deployed(package.pk, [package.pk]) == set()


def test_nobody_praises_oneself(app: App, package: Any, used: Any, actor: Any, organisation: Any) -> None:
    used(organisation, package)
    with pytest.raises(Conflict, match="its own application"):
        reviews.write(app, actor=actor, organisation=organisation, rating=5)


@pytest.mark.parametrize("rating", [0, 6, -1, True])
def test_a_rating_is_one_to_five(review: Review, stranger: Any, stranger_organisation: Any, rating: Any) -> None:
    with pytest.raises(Invalid) as told:
        reviews.write(review.app, actor=Actor(stranger), organisation=stranger_organisation, rating=rating)
    assert told.value.context["errors"][0]["field"] == "rating"


def test_a_second_review_replaces_the_first_and_names_the_newest_version_used(
    review: Review, make_release: Any, used: Any, stranger: Any, stranger_organisation: Any
) -> None:
    used(stranger_organisation, make_release("crane", "1.10.0"), make_release("crane", "1.9.0"))
    again = reviews.write(review.app, actor=Actor(stranger), organisation=stranger_organisation, rating=1)
    assert (again.pk, again.version, Review.objects.count()) == (review.pk, "1.10.0", 1)
    review.app.refresh_from_db()
    assert (review.app.rating, review.app.rating_count) == (1.0, 1)


def test_a_viewer_writes_nothing(app: App, make_user: Any, stranger_organisation: Any, package: Any, used: Any) -> None:
    used(stranger_organisation, package)
    viewer = Actor(make_user("viewer", stranger_organisation, "viewer"))
    with pytest.raises(Denied):
        reviews.write(app, actor=viewer, organisation=stranger_organisation, rating=3)


def test_one_does_not_write_for_another_organisation(
    app: App, review: Review, actor: Any, stranger_organisation: Any
) -> None:
    with pytest.raises(Missing):
        reviews.write(app, actor=actor, organisation=stranger_organisation, rating=1)


def test_the_owner_answers_and_nobody_else(review: Review, actor: Any, stranger: Any) -> None:
    assert reviews.answer(review, actor=actor, text=" Thank you ").answer == "Thank you"
    with pytest.raises(Denied):
        reviews.answer(review, actor=Actor(stranger), text="Me too")
    assert reviews.answer(review, actor=actor, text="").answered_at is None


def test_the_operator_hides_with_a_reason_and_restores(
    review: Review, actor: Any, stranger: Any, make_user: Any
) -> None:
    # `acme` is the oldest organisation and so the operator.
    with pytest.raises(BreakwaterError):
        reviews.hide(review, actor=Actor(stranger), reason="I like it not")
    with pytest.raises(Invalid):
        reviews.hide(review, actor=actor, reason=" ")
    reviews.hide(review, actor=actor, reason="An insult")
    app = App.objects.get()
    assert (app.rating_count, app.rating) == (0, 0.0)
    bystander = Actor(make_user("bystander"))
    assert list(reviews.of_app(bystander, app)) == []
    with pytest.raises(Missing):
        reviews.seen(bystander, review)
    assert list(reviews.of_app(Actor(stranger), app)) == [review], "its author sees why"
    with pytest.raises(Conflict):
        reviews.take_back(review, actor=Actor(stranger))
    reviews.restore(review, actor=actor)
    assert App.objects.get().rating_count == 1


def test_a_report_counts_once_for_each_person(review: Review, actor: Any, make_user: Any, organisation: Any) -> None:
    for _ in range(2):
        reviews.report(review, actor=actor)
    reviews.report(review, actor=Actor(make_user("dev", organisation, "developer")))
    review.refresh_from_db()
    assert review.reports == 2
    with pytest.raises(Denied):
        reviews.report(review, actor=Actor(make_user("viewer", organisation, "viewer")))


def test_taking_back_forgets_the_rating(review: Review, stranger: Any, actor: Any) -> None:
    with pytest.raises(Missing):
        reviews.take_back(review, actor=actor)
    reviews.take_back(review, actor=Actor(stranger))
    assert App.objects.get().rating_count == 0


def test_the_same_over_the_api(
    api: Any, stranger_api: Any, app: App, package: Any, used: Any, stranger_organisation: Any
) -> None:
    url = f"/api/v1/catalogue/apps/{app.pk}/reviews"
    assert stranger_api.put(url, {"rating": 5}, format="json").status_code == 409
    used(stranger_organisation, package)
    assert stranger_api.put(url, {"rating": 9}, format="json").json()["errors"][0]["field"] == "rating"
    pk = stranger_api.put(url, {"rating": 5, "text": "Fine"}, format="json").json()["id"]
    assert api.get(url).json()["results"][0]["text"] == "Fine"
    assert api.put(f"/api/v1/feedback/{pk}/answer", {"text": "Thanks"}, format="json").json()["answer"] == "Thanks"
    assert stranger_api.put(f"/api/v1/feedback/{pk}/answer", {"text": "x"}, format="json").status_code == 403
    assert stranger_api.post(f"/api/v1/feedback/{pk}/hide", {"reason": "x"}, format="json").status_code in (403, 404)
    assert api.post(f"/api/v1/feedback/{pk}/hide", {}, format="json").status_code == 400
    assert api.post(f"/api/v1/feedback/{pk}/hide", {"reason": "rude"}, format="json").status_code == 200
    assert stranger_api.get(url).json()["results"][0]["hidden_reason"] == "rude"
    assert stranger_api.delete(f"/api/v1/feedback/{pk}").status_code == 409
    assert api.post(f"/api/v1/feedback/{pk}/restore", {}, format="json").status_code == 200
    assert stranger_api.delete(f"/api/v1/feedback/{pk}").status_code == 204
