"""Reviews: what waits for somebody's look, why, and the decision; and the rules that make them needed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.packages.life import of_the_store
from appstore.releases import reviewing
from appstore.releases.api import review_rows, visible_review
from appstore.releases.models import ReleasePolicy, Review
from core.accounts import services as accounts
from core.accounts.access import Actor
from core.errors import Denied
from core.words import say
from frontend import tables, tenancy
from frontend.deeds import Question, ReasonForm, WordForm, answered
from frontend.page import page, paged, told
from frontend.releases.forms import PolicyForm

APPROVE = gettext_lazy("It becomes a release at once and never changes again.")
DECLINE = gettext_lazy("Its publisher reads your reason, and may submit it again or upload a better one.")
COMPARED = (
    ("provider", gettext_lazy("Provider")),
    ("version", gettext_lazy("Version")),
    ("format", gettext_lazy("Format")),
    ("size", gettext_lazy("Size")),
    ("app_d_id", gettext_lazy("Descriptor")),
    ("sha256", "SHA-256"),
)


@require_GET
@page
def reviews(request: HttpRequest) -> HttpResponse:
    """List what waits for a look, the oldest of one's own organisations first; decided ones when asked for."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied(_("Your roles do not show you reviews."))
    state = request.GET.get("state", "open")
    rows = review_rows().visible_to(actor)
    rows = rows.filter(state=state) if state in Review.State.values else rows
    context = {
        "section": "reviews",
        "rows": paged(request, rows, table=tables.REVIEWS),
        "state_wanted": state,
        "states": Review.State.values,
        "policy": reviewing.policy(),
        "reviews_words": ReleasePolicy.Review.choices,
        "may_rule": of_the_store(actor, "trust.manage"),
    }
    return render(request, "frontend/releases/reviews.html", context)


@require_GET
@page
def review(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one review with the difference to the release before."""
    actor = tenancy.actor_of(request)
    found = visible_review(actor, pk)
    return render(request, "frontend/releases/review.html", review_facts(found, actor))


@require_POST
@page
def approve(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Publish the package."""
    actor = tenancy.actor_of(request)
    found = visible_review(actor, pk)
    return answered(
        request, WordForm(request.POST), Question(_("Approve and publish?"), _("Approve"), APPROVE),
        act=lambda reason: reviewing.approve(found, actor=actor, reason=reason),
        back=reverse("frontend:review", args=[pk]), done=_("{package} is published.").format(package=found.package),
    )  # fmt: skip


@require_POST
@page
def decline(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Send the package back."""
    actor = tenancy.actor_of(request)
    found = visible_review(actor, pk)
    if found.state == Review.State.OPEN and not reviewing.may_decide(found, actor):
        raise Denied(say("You may not decide about this package."))
    return answered(
        request, ReasonForm(request.POST), Question(_("Send it back?"), _("Decline"), DECLINE, danger=True),
        act=lambda reason: reviewing.decline(found, actor=actor, reason=reason),
        back=reverse("frontend:review", args=[pk]), done=_("{package} goes back to its publisher.").format(package=found.package),
    )  # fmt: skip


@require_POST
@page
def retract(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take one's own package back."""
    actor = tenancy.actor_of(request)
    found = visible_review(actor, pk)
    with told(
        request, _("{package} is taken back; it may be changed and submitted again.").format(package=found.package)
    ):
        reviewing.retract(found, actor=actor)
    return redirect("frontend:package", found.package_id)


@require_POST
@page
def set_policy(request: HttpRequest) -> HttpResponseBase:
    """Change the rules of the store about releases."""
    actor = tenancy.actor_of(request)
    actor.require("trust.manage", accounts.operator())
    return answered(
        request, PolicyForm(request.POST), Question(_("Rules of this store"), _("Save")),
        act=lambda **typed: reviewing.set_policy(actor=actor, **typed),
        back=reverse("frontend:reviews"), done=_("The rules are changed."),
    )  # fmt: skip


def review_facts(found: Review, actor: Actor) -> dict[str, Any]:
    """Return the template context of one review."""
    package, previous = found.package, found.previous
    before, now = (each.signature if each else {} for each in (previous, package))
    rows = [(label, getattr(previous, name, ""), getattr(package, name), name) for name, label in COMPARED]
    rows.append((_("Signed by"), before.get("signer", ""), now.get("signer", ""), "signer"))
    return {
        "section": "reviews",
        "review": found,
        "package": package,
        "previous": previous,
        "compared": [
            {"label": label, "before": old, "now": new, "name": name, "differs": previous is not None and old != new}
            for label, old, new, name in rows
        ],
        "may_decide": reviewing.may_decide(found, actor),
        "may_retract": found.state == Review.State.OPEN and actor.may("packages.publish", found.organisation_id),
    }
