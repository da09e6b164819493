"""Reviews of an application as pages: read, write, answer, report, moderate."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from appstore.catalog import apps_of, reviews
from appstore.catalog.models import Review
from core.errors import Denied, Missing
from frontend import tenancy
from frontend.page import page, paged, told
from frontend.store.packages import visible


@require_GET
@page
def reviews_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show what organisations say of the application of a package."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    package = visible(request, pk)
    app = apps_of.of_package(package.pk)
    context: dict[str, Any] = {"section": "catalogue", "package": package, "app": app}
    if app is not None:
        rows = paged(request, reviews.of_app(actor, app), 10)
        mine = Review.objects.filter(app=app, organisation=organisation).first() if organisation else None
        context |= {
            "rows": rows,
            "histogram": reviews.histogram(app),
            "mine": mine,
            "why_not": reviews.why_not(actor, app, organisation) if organisation else "You are in no organisation.",
            "moderates": reviews.moderates(actor),
            "may_answer": not app.origin and actor.may("feedback.write", app.organisation_id),
            "may_report": bool(actor.organisations("feedback.write")),
            "choices": [(5, "excellent"), (4, "good"), (3, "fair"), (2, "poor"), (1, "bad")],
        }
    return render(request, "frontend/catalog/reviews.html", context)


@require_POST
@page
def write_review(request: HttpRequest, pk: Any) -> HttpResponse:
    """Write or rewrite the review of the current organisation, or take it back."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    package = visible(request, pk)
    app = apps_of.of_package(package.pk)
    if app is None or organisation is None:
        raise Missing(_("There is no such application in the catalogue."))
    actor.require("feedback.write", organisation)
    if request.POST.get("take_back"):
        review = Review.objects.select_related("app").filter(app=app, organisation=organisation).first()
        with told(request, _("Your review is gone.")):
            if review is not None:
                reviews.take_back(review, actor=actor)
        return redirect("frontend:package-reviews", pk)
    stars = request.POST.get("rating", "")
    with told(request, _("Thank you. Your review is shown.")):
        reviews.write(
            app,
            actor=actor,
            organisation=organisation,
            rating=int(stars) if stars in {"1", "2", "3", "4", "5"} else 0,
            title=request.POST.get("title", ""),
            text=request.POST.get("text", ""),
        )
    return redirect("frontend:package-reviews", pk)


@require_POST
@page
def answer_review(request: HttpRequest, pk: Any) -> HttpResponse:
    """Answer in the name of the application's organisation."""
    review, actor = _review(request, pk), tenancy.actor_of(request)
    with told(request, _("Your answer stands below the review.")):
        reviews.answer(review, actor=actor, text=request.POST.get("text", ""))
    return _back(review)


@require_POST
@page
def report_review(request: HttpRequest, pk: Any) -> HttpResponse:
    """Tell the moderators."""
    review, actor = _review(request, pk), tenancy.actor_of(request)
    with told(request, _("The moderators will look at it.")):
        reviews.report(review, actor=actor, reason=request.POST.get("reason", ""))
    return _back(review)


@require_POST
@page
def hide_review(request: HttpRequest, pk: Any) -> HttpResponse:
    """Hide it, with a reason; or show it again."""
    review, actor = _review(request, pk), tenancy.actor_of(request)
    if not reviews.moderates(actor):
        raise Denied(_("Only moderators of the store's operator hide reviews."))
    if request.POST.get("restore"):
        with told(request, _("The review is shown again.")):
            reviews.restore(review, actor=actor)
    else:
        with told(request, _("The review is hidden and no longer counts.")):
            reviews.hide(review, actor=actor, reason=request.POST.get("reason", ""))
    return _back(review)


@require_GET
@page
def reported_page(request: HttpRequest) -> HttpResponse:
    """List for moderators the reviews that somebody reported."""
    if not reviews.moderates(tenancy.actor_of(request)):
        raise Denied(_("Only moderators of the store's operator see what was reported."))
    rows = paged(request, reviews.reported().prefetch_related("reported"))
    return render(request, "frontend/catalog/reported.html", {"section": "notices", "rows": rows})


@require_GET
@page
def review_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Lead to where a review is read."""
    review = _review(request, pk)
    return redirect(f"{reviews.page_of(review)}#review-{review.pk}")


def _review(request: HttpRequest, pk: Any) -> Review:
    found = Review.objects.select_related("app", "organisation").filter(pk=pk).first()
    if found is None:
        raise Missing(_("There is no such review, or you may not see it."))
    return reviews.seen(tenancy.actor_of(request), found)


def _back(review: Review) -> HttpResponse:
    return redirect(reviews.page_of(review))
