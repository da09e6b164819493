"""One package: what it is, what was found, and what may be done with it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.packages import services, states
from appstore.packages.models import Package
from core.accounts import access
from core.accounts.access import Actor
from core.errors import Missing
from core.operations.models import Operation
from core.words import say
from frontend import tables, tenancy
from frontend.deeds import Question, answered
from frontend.download import MOST as MOST_ROWS
from frontend.download import Taken
from frontend.page import page, told
from frontend.releases import visibility as visibility_of
from frontend.releases.forms import PublishForm
from frontend.store import findings
from mecm.deployments.models import Deployment

PACKAGES = Package.objects.select_related("organisation", "uploaded_by", "successor")
PUBLISH = gettext_lazy(
    "A published release never changes: a correction needs a new version. When something important is new or has changed, a "
    "reviewer looks at it first."
)
LEVELS = ("error", "warning", "info")
MOST = 50
#: What can be tried on a sandbox before it is published.
TRIABLE = (states.CHECKED, states.IN_REVIEW)


def visible(request: HttpRequest, pk: Any) -> Package:
    """Return the package if the person may see it: an own one, or a published one; reviewers of the store see more."""
    actor = tenancy.actor_of(request)
    package: Package | None = PACKAGES.visible_to(actor).filter(pk=pk).first()  # type: ignore[attr-defined]
    if package is None:
        package = PACKAGES.within_reach_of(actor).filter(pk=pk).first()  # type: ignore[attr-defined]
    if package is None:
        raise Missing(_("There is no such package, or you may not see it."))
    return package


@require_GET
@page
def package_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one package."""
    package = visible(request, pk)
    facts = package_facts(package, tenancy.actor_of(request))
    if facts["mine"] and (form := tables.FINDINGS.wanted(request)):
        raise Taken(tables.FINDINGS.file(form, [row for group in facts["findings"] for row in group.rows]))
    return render(request, "frontend/store/package.html", facts)


@require_GET
@page
def package_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of the page that changes while the package is checked."""
    package = visible(request, pk)
    return render(request, "frontend/store/package_live.html", package_facts(package, tenancy.actor_of(request)))


@require_GET
@page
def findings_file(request: HttpRequest, pk: Any) -> HttpResponse:
    """Download what was found, as JSON: for an issue, or for a script."""
    package = access.get(PACKAGES, tenancy.actor_of(request), "packages.read", pk)
    response = JsonResponse(findings.document(package), json_dumps_params={"indent": 2})
    response["Content-Disposition"] = f'attachment; filename="findings-{package.pk}.json"'
    return response


@require_POST
@page
def check(request: HttpRequest, pk: Any) -> HttpResponse:
    """Ask for another check."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.write", pk)
    with told(request, _("The package is being checked again.")):
        services.request_check(package, actor=actor)
    return redirect("frontend:package", pk)


@require_POST
@page
def publish(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Make it a release that everybody sees."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.publish", pk)

    def act(visibility: str) -> None:
        made = services.publish(package, actor=actor, visibility=visibility)
        if made.state == states.IN_REVIEW:
            messages.info(
                request, say("{made} waits for a reviewer now; you hear on its page how it goes on.", made=made)
            )
        elif made.visibility == Package.Visibility.PUBLIC:
            messages.success(request, say("{made} is in the catalogue now.", made=made))
        else:
            messages.success(
                request,
                say(
                    "{made} is a release now, for {visibility}.",
                    made=made,
                    visibility=str(visibility_of.NAMES[made.visibility]),
                ),
            )

    question = Question(_("Publish this release?"), _("Publish"), PUBLISH)
    return answered(request, PublishForm(request.POST), question, act=act, back=reverse("frontend:package", args=[pk]))


@require_POST
@page
def discard(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget a package that never was published."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.write", pk)
    with told(request, _("{package} is gone.").format(package=package)):
        services.discard(package, actor=actor)
        return redirect("frontend:packages")
    return redirect("frontend:package", pk)


def package_facts(package: Package, actor: Actor) -> dict[str, Any]:
    """Return the template context of one package; a fixed number of queries."""
    mine = actor.may("packages.read", package.organisation_id)
    deeds = set(states.deeds(package.state))
    work = Operation.objects.about(f"package:{package.pk}").first() if mine else None
    if work is not None and work.state == Operation.State.SUCCEEDED and package.state == states.DRAFT:
        # The check ended between the two questions. Nothing is followed live after it, so this must be its outcome.
        package = PACKAGES.filter(pk=package.pk).first() or package
    groups = findings.grouped(package)
    return {
        "section": "packages" if mine and not package.released else "catalogue",
        "package": package,
        "mine": mine,
        "work": work,
        "checking": work is not None and not work.finished,
        "findings": groups,
        "findings_json": json.dumps(findings.document(package), indent=2, default=str) if groups and mine else "",
        "counts": {group.level: len(group.rows) for group in groups},
        "findings_table": tables.FINDINGS,
        "most_rows": MOST_ROWS,
        "appd": package.descriptor,
        "may_publish": "publish" in deeds and actor.may("packages.publish", package.organisation_id),
        "may_discard": "discard" in deeds and actor.may("packages.write", package.organisation_id),
        "may_check": "pass" in deeds and actor.may("packages.write", package.organisation_id),
        "may_deploy": package.state in states.LISTED and bool(actor.organisations("deployments.write")),
        "may_try": mine and package.state in TRIABLE and actor.may("certification.run", package.organisation_id),
        "review": package.reviews.first() if mine and package.state in (states.CHECKED, states.IN_REVIEW) else None,
        "visibilities": visibility_of.choices(),
        "releases": list(
            Package.objects.visible_to(actor)
            .filter(organisation=package.organisation_id, provider=package.provider, name=package.name)
            .exclude(name="")
            .order_by("-created_at")[:MOST]
        ),
        "deployments": list(
            Deployment.objects.visible_to(actor).present().filter(package=package).select_related("node")[:MOST]
        ),
    }
