"""Verbs of ratings and reviews: write, take back, answer, report, hide, restore."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum
from django.utils import timezone

from appstore.catalog import apps_of, services, usage, versions
from appstore.catalog.models import App, Notice, Release, Review, ReviewReport
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing, Unauthenticated
from core.words import say

MOST_TEXT = 4000


def version_used(app: App, organisation_id: UUID) -> str:
    """Return the newest version of the application that the organisation has deployed; empty when it never has."""
    rows = dict(Release.objects.filter(app=app, package_id__isnull=False).values_list("package_id", "version"))
    used = usage.deployed(organisation_id, list(rows)) if rows else set()
    return max((rows[pk] for pk in used if pk in rows), key=versions.rank, default="")


def why_not(actor: Actor, app: App, organisation: Organisation) -> str:
    """Return why the organisation may not review the application, as a sentence; empty when it may."""
    if not actor.may("feedback.write", organisation.pk):
        return say("Your role does not let you write reviews.")
    if app.organisation_id == organisation.pk and not app.origin:
        return say("An organisation does not review its own application.")
    if not version_used(app, organisation.pk):
        return say(
            "Only organisations that have run {app_name} review it; {organisation_name} has not deployed it yet.",
            app_name=app.name,
            organisation_name=organisation.name,
        )
    return ""


@transaction.atomic
def write(
    app: App, *, actor: Actor, organisation: Organisation, rating: int, title: str = "", text: str = ""
) -> Review:
    """Write down what the organisation says of an application, in place of what it said before.

    `Conflict` for an own application and for one that it has never deployed successfully; `Invalid` names the field.
    A hidden review that is rewritten stays hidden until a moderator restores it.
    """
    actor.require("feedback.write", organisation)
    apps_of.get(actor, app.pk)
    if isinstance(rating, bool) or not 1 <= rating <= 5:
        raise Invalid(
            say("A rating is one to five stars"), errors=[{"field": "rating", "detail": say("choose 1 to 5")}]
        )
    if len(text) > MOST_TEXT:
        raise Invalid(
            say("The text is longer than {most_text} characters", most_text=MOST_TEXT),
            errors=[{"field": "text", "detail": say("make it shorter")}],
        )
    if reason := why_not(actor, app, organisation):
        raise Conflict(reason)
    facts: dict[str, Any] = {
        "author": actor.user,
        "rating": rating,
        "title": _clean(title)[:120],
        "text": _clean(text),
        "version": version_used(app, organisation.pk),
        "changed_at": timezone.now(),
    }
    review, _ = Review.objects.update_or_create(app=app, organisation=organisation, defaults=facts)
    audit.record(actor, "review.write", review, organisation=organisation, app=app.key, rating=rating)
    _sum_up(app)
    return review


@transaction.atomic
def take_back(review: Review, *, actor: Actor) -> None:
    """Delete the review of one's organisation; one that was hidden stays, so that it is not simply written again."""
    actor.require("feedback.write", review.organisation_id)
    if review.hidden_at is not None:
        raise Conflict(say("This review was hidden by a moderator and stays as it is."))
    audit.record(actor, "review.take-back", review, app=review.app.key)
    review.delete()
    _sum_up(review.app)


@transaction.atomic
def answer(review: Review, *, actor: Actor, text: str) -> Review:
    """Answer a review in the name of the application's organisation; an empty text takes the answer away."""
    seen(actor, review)
    if review.app.origin or review.app.organisation_id is None:
        raise Conflict(say("This application belongs to another store; its organisation answers there."))
    if review.app.organisation_id not in actor.roles and actor is not SYSTEM:
        raise Denied(say("Only the organisation of the application answers its reviews."))
    actor.require("feedback.write", review.app.organisation_id)
    review.answer = _clean(text)[:MOST_TEXT]
    review.answered_at = timezone.now() if review.answer else None
    review.save(update_fields=["answer", "answered_at"])
    audit.record(actor, "review.answer", review, organisation=review.app.organisation_id)
    if review.answer:
        _tell_author(review, say("Your review of {name} was answered.", name=review.app.name))
    return review


@transaction.atomic
def report(review: Review, *, actor: Actor, reason: str = "") -> Review:
    """Tell the moderators that a review is out of place; each person once."""
    seen(actor, review)
    if actor.user is None:
        raise Unauthenticated(say("Sign in, or send an API token as a bearer token."))
    if not actor.organisations("feedback.write"):
        raise Denied(say("Your role does not let you report reviews."))
    _, fresh = ReviewReport.objects.get_or_create(
        review=review, user=actor.user, defaults={"reason": _clean(reason)[:300]}
    )
    if fresh:
        Review.objects.filter(pk=review.pk).update(reports=F("reports") + 1)
        review.refresh_from_db(fields=["reports"])
    return review


@transaction.atomic
def hide(review: Review, *, actor: Actor, reason: str) -> Review:
    """Hide a review, with a reason that its author is told; it no longer counts."""
    actor.require("feedback.moderate", accounts.operator())
    if not reason.strip():
        raise Invalid(say("Say why it is hidden"), errors=[{"field": "reason", "detail": say("must not be empty")}])
    review.hidden_at, review.hidden_reason = timezone.now(), _clean(reason)[:500]
    review.save(update_fields=["hidden_at", "hidden_reason"])
    audit.record(actor, "review.hide", review, organisation=accounts.operator(), reason=review.hidden_reason)
    _sum_up(review.app)
    _tell_author(
        review,
        say(
            "Your review of {name} was hidden: {hidden_reason}",
            name=review.app.name,
            hidden_reason=review.hidden_reason,
        ),
    )
    return review


@transaction.atomic
def restore(review: Review, *, actor: Actor) -> Review:
    """Show a hidden review again; the reports that led there are settled."""
    actor.require("feedback.moderate", accounts.operator())
    review.hidden_at, review.hidden_reason, review.reports = None, "", 0
    review.save(update_fields=["hidden_at", "hidden_reason", "reports"])
    audit.record(actor, "review.restore", review, organisation=accounts.operator())
    _sum_up(review.app)
    return review


def moderates(actor: Actor) -> bool:
    """Return whether the actor may hide reviews: somebody of the store's operator."""
    try:
        return actor.may("feedback.moderate", accounts.operator().pk)
    except Missing:
        return False


def seen(actor: Actor, review: Review) -> Review:
    """Return the review if the actor may see it, else `Missing`: hidden ones are for their authors and moderators."""
    apps_of.get(actor, review.app_id)
    if review.hidden_at is not None and review.organisation_id not in actor.roles and not moderates(actor):
        raise Missing(say("There is no such review, or you may not see it."))
    return review


def of_app(actor: Actor, app: App) -> QuerySet[Review]:
    """Return the reviews of an application that the actor may see, the latest first."""
    rows = Review.objects.filter(app=app).select_related("organisation")
    if moderates(actor):
        return rows
    return rows.shown() | rows.filter(organisation__in=actor.roles)


def histogram(app: App) -> list[tuple[int, int]]:
    """Return how many reviews give five, four ... one star; one query."""
    counts = dict(
        Review.objects.shown()
        .filter(app=app)
        .order_by()
        .values_list("rating")
        .annotate(n=Count("pk"))
        .values_list("rating", "n")
    )
    return [(stars, counts.get(stars, 0)) for stars in range(5, 0, -1)]


def reported() -> QuerySet[Review]:
    """Return what moderators should look at: shown reviews that somebody reported, the most reported first."""
    rows = Review.objects.shown().filter(reports__gt=0).select_related("app", "organisation")
    return rows.order_by("-reports", "-changed_at", "pk")


def page_of(review: Review) -> str:
    """Return where a review is read: at a release of its application whose package is here, else at the application."""
    rows = Release.objects.filter(app=review.app_id, listed=True, package_id__isnull=False).order_by("-published_at")
    pk = rows.values_list("package_id", flat=True).first()
    return f"/packages/{pk}/reviews" if pk else f"/catalogue/{review.app_id}"


def _tell_author(review: Review, text: str) -> None:
    if review.author_id is not None:
        about = f"review:{review.pk}:{timezone.now().isoformat()}"
        Notice.objects.create(
            user_id=review.author_id, kind="review", text=text[:300], url=page_of(review), about=about
        )


def _sum_up(app: App) -> None:
    serial = services.turn()
    sums = Review.objects.shown().filter(app=app).aggregate(total=Sum("rating"), count=Count("pk"))
    App.objects.filter(pk=app.pk).update(rating_sum=sums["total"] or 0, rating_count=sums["count"])
    services.touch([app.pk], serial)


def _clean(text: str) -> str:
    return "".join(c for c in text.strip() if c in "\n\t" or c.isprintable())
