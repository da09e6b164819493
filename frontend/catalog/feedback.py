"""Reviews of an application as pages: read, write, answer, report, moderate."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.catalog import apps_of, reviews
from appstore.catalog.models import Review
from core.errors import Denied, Missing
from frontend import tenancy
from frontend.deeds import Question, ReasonForm, answered
from frontend.forms import PortalForm
from frontend.page import page, paged, told
from frontend.store.packages import visible

STARS = [(5, "excellent"), (4, "good"), (3, "fair"), (2, "poor"), (1, "bad")]
HIDE = gettext_lazy("Nobody reads it any more and it counts no longer. Its author is told the reason.")


class ReviewForm(PortalForm):
    """How an application does."""

    rating = forms.TypedChoiceField(
        label=gettext_lazy("Rating"),
        choices=[(number, f"{number} {word}") for number, word in STARS],
        coerce=int,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose one to five stars.", "invalid_choice": "Choose one to five stars."},
    )
    title = forms.CharField(label=gettext_lazy("In one line"), max_length=120, required=False)
    text = forms.CharField(
        label=gettext_lazy("What others should know"),
        max_length=reviews.MOST_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class AnswerForm(PortalForm):
    """What the organisation of the application says to a review."""

    text = forms.CharField(
        label=gettext_lazy("Answer"),
        max_length=reviews.MOST_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class ReportForm(PortalForm):
    """What is wrong with a review."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=300, required=False)


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
            "why_not": reviews.why_not(actor, app, organisation) if organisation else _("You are in no organisation."),
            "moderates": reviews.moderates(actor),
            "may_answer": not app.origin and actor.may("feedback.write", app.organisation_id),
            "may_report": bool(actor.organisations("feedback.write")),
            "choices": STARS,
        }
    return render(request, "frontend/catalog/reviews.html", context)


@require_POST
@page
def write_review(request: HttpRequest, pk: Any) -> HttpResponseBase:
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
    return answered(
        request,
        ReviewForm(request.POST),
        Question(_("Your organisation's review of {app_name}").format(app_name=app.name), _("Publish the review")),
        act=lambda **typed: reviews.write(app, actor=actor, organisation=organisation, **typed),
        back=reverse("frontend:package-reviews", args=[pk]),
        done=_("Thank you. Your review is shown."),
    )


@require_POST
@page
def answer_review(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Answer in the name of the application's organisation."""
    review, actor = _review(request, pk), tenancy.actor_of(request)
    return answered(
        request,
        AnswerForm(request.POST),
        Question(_("Answer to a review of {review_app_name}").format(review_app_name=review.app.name), _("Answer")),
        act=lambda text: reviews.answer(review, actor=actor, text=text),
        back=reviews.page_of(review),
        done=_("Your answer stands below the review."),
    )


@require_POST
@page
def report_review(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Tell the moderators."""
    review, actor = _review(request, pk), tenancy.actor_of(request)
    return answered(
        request,
        ReportForm(request.POST),
        Question(_("Report this review?"), _("Report"), _("Moderators look at it.")),
        act=lambda reason: reviews.report(review, actor=actor, reason=reason),
        back=reviews.page_of(review),
        done=_("The moderators will look at it."),
    )


@require_POST
@page
def hide_review(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Hide it, with a reason; or show it again."""
    review, actor = _review(request, pk), tenancy.actor_of(request)
    if not reviews.moderates(actor):
        raise Denied(_("Only moderators of the store's operator hide reviews."))
    if request.POST.get("restore"):
        with told(request, _("The review is shown again.")):
            reviews.restore(review, actor=actor)
        return _back(review)
    return answered(
        request,
        ReasonForm(request.POST),
        Question(_("Hide this review?"), _("Hide it"), HIDE, danger=True),
        act=lambda reason: reviews.hide(review, actor=actor, reason=reason),
        back=reviews.page_of(review),
        done=_("The review is hidden and no longer counts."),
    )


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
