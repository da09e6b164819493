"""Reviews: what waits for somebody's look, why, and the decision; and the rules that make them needed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
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
from frontend import tables, tenancy
from frontend.page import page, paged, told

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
def approve(request: HttpRequest, pk: Any) -> HttpResponse:
    """Publish the package."""
    actor = tenancy.actor_of(request)
    found = visible_review(actor, pk)
    with told(request, _("{package} is published.").format(package=found.package)):
        reviewing.approve(found, actor=actor, reason=request.POST.get("reason", ""))
    return redirect("frontend:review", pk)


@require_POST
@page
def decline(request: HttpRequest, pk: Any) -> HttpResponse:
    """Send the package back."""
    actor = tenancy.actor_of(request)
    found = visible_review(actor, pk)
    with told(request, _("{package} goes back to its publisher.").format(package=found.package)):
        reviewing.decline(found, actor=actor, reason=request.POST.get("reason", ""))
    return redirect("frontend:review", pk)


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
def set_policy(request: HttpRequest) -> HttpResponse:
    """Change the rules of the store about releases."""
    actor = tenancy.actor_of(request)
    actor.require("trust.manage", accounts.operator())
    days = request.POST.get("freeze_days", "")
    with told(request, _("The rules are changed.")):
        number = int(days) if days.isascii() and days.isdigit() and len(days) < 6 else -1
        reviewing.set_policy(actor=actor, review=request.POST.get("review", ""), freeze_days=number)
    return redirect("frontend:reviews")


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
