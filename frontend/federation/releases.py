"""What a partner offers, what we offer it, and what is recommended in both directions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from appstore.federation import edgegallery, grants, recommendations
from appstore.federation.models import ReleaseGrant, RemoteRelease
from appstore.federation.models_peers import Recommendation
from appstore.packages.models import Package
from core.errors import Missing
from core.operations.models import Operation
from frontend import tables, tenancy
from frontend.deeds import Question, answered
from frontend.federation.forms import DeclineForm, NoteForm
from frontend.federation.partners import frame, partner_of
from frontend.page import page, paged, told, words_of

STATES = ("published", "deprecated", "yanked", "quarantined", "recalled")


@require_GET
@page
def offers_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """List what the partner offers, with the import of each."""
    peer, words, state = partner_of(request, pk), words_of(request), request.GET.get("state", "")
    rows = (
        RemoteRelease.objects.filter(peer=peer).select_related("package").order_by("name", "provider", "version", "pk")
    )
    for word in words.split()[:8]:
        rows = rows.filter(Q(name__icontains=word) | Q(provider__icontains=word) | Q(version__icontains=word))
    if state == "here":
        rows = rows.exclude(package=None)
    elif state in STATES:
        rows = rows.filter(state=state)
    shown = paged(request, rows, table=tables.OFFERS)
    busy = set(
        Operation.objects.unfinished()
        .filter(target__in=[f"offer:{row.pk}" for row in shown])
        .values_list("target", flat=True)
    )
    for row in shown:
        row.busy = f"offer:{row.pk}" in busy
    context = frame(
        peer,
        "offers",
        rows=shown,
        q=words,
        state_wanted=state,
        states=("here", *STATES),
        unverified=peer.kind == edgegallery.KIND,
        can_import=peer.kind == edgegallery.KIND or recommendations.can(recommendations.IMPORT),
        can_sync=peer.kind == edgegallery.KIND or recommendations.can(recommendations.SYNC),
    )
    return render(request, "frontend/federation/offers.html", context)


@require_POST
@page
def import_offer(request: HttpRequest, pk: Any) -> HttpResponse:
    """Fetch one release."""
    peer, actor = partner_of(request, pk), tenancy.actor_of(request)
    offer = _named(RemoteRelease.objects.select_related("peer", "package").filter(peer=peer), request.POST.get("offer"))
    with told(
        request, _("{name} {version} is being fetched and checked.").format(name=offer.name, version=offer.version)
    ):
        if peer.kind == edgegallery.KIND:
            edgegallery.request_pull(offer, actor=actor)
        else:
            recommendations.port(recommendations.IMPORT)(peer, offer.ref, actor)
    return redirect("frontend:partner-offers", pk)


@require_GET
@page
def ours_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """List our releases that this partner may see by their visibility, with the recommendation of each."""
    peer, words = partner_of(request, pk), words_of(request)
    agreement = peer.agreement()
    rows = (
        Package.objects.listed()
        .own()
        .filter(visibility__in=["public", "partners"])
        .matching(words)
        .annotate(granted=Exists(ReleaseGrant.objects.filter(package=OuterRef("pk"), peer=peer)))
        .order_by("name", "-published_at", "pk")
    )
    shown = paged(request, rows.defer("descriptor", "findings", "signature"), table=tables.OUR_RELEASES)
    told_of = dict(
        Recommendation.objects.filter(peer=peer, incoming=False, package__in=[row.pk for row in shown])
        .order_by("created_at")
        .values_list("package_id", "state")
    )
    for row in shown:
        row.recommendation = told_of.get(row.pk, "")
    out = agreement.read().out if agreement else None
    context = frame(peer, "ours", rows=shown, q=words, agreement=agreement, out=out)
    return render(request, "frontend/federation/ours.html", context)


@require_POST
@page
def grant(request: HttpRequest, pk: Any) -> HttpResponse:
    """Offer a release for named partners to this one, or no longer."""
    peer, actor = partner_of(request, pk), tenancy.actor_of(request)
    package = _named(Package.objects.own().filter(visibility="partners"), request.POST.get("package"))
    back = request.POST.get("back") == "1"
    with told(
        request,
        (_("{package} is no longer offered to {partner}.") if back else _("{package} is offered to {partner}.")).format(
            package=package, partner=peer
        ),
    ):
        (grants.take_back if back else grants.grant)(package, peer, actor=actor)
    return redirect("frontend:partner-ours", pk)


@require_POST
@page
def recommend(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Tell the partner about one of our releases."""
    peer, actor = partner_of(request, pk), tenancy.actor_of(request)
    package = _named(Package.objects.own().visible_to(actor), request.POST.get("package"))
    return answered(
        request,
        NoteForm(request.POST),
        Question(_("Recommend {package} to {peer}?").format(package=package, peer=peer), _("Recommend")),
        act=lambda note, **_: recommendations.recommend(package, peer, note=note, actor=actor),
        back=reverse("frontend:partner-recommendations", args=[pk]),
        done=_("{package} is recommended to {peer}.").format(package=package, peer=peer),
    )


@require_GET
@page
def recommendations_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """List the notices of both directions."""
    peer = partner_of(request, pk)
    rows = Recommendation.objects.filter(peer=peer).select_related("package").order_by("state", "-created_at", "pk")
    direction = request.GET.get("direction", "")
    if direction in ("in", "out"):
        rows = rows.filter(incoming=direction == "in")
    context = frame(
        peer,
        "recommendations",
        rows=paged(request, rows, table=tables.RECOMMENDATIONS),
        direction=direction,
        can_import=recommendations.can(recommendations.IMPORT),
    )
    return render(request, "frontend/federation/recommendations.html", context)


@require_POST
@page
def answer(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Take a recommendation up, or decline it with a reason."""
    peer, actor = partner_of(request, pk), tenancy.actor_of(request)
    rows = Recommendation.objects.select_related("peer").filter(peer=peer, incoming=True)
    found = _named(rows, request.POST.get("recommendation"))
    if request.POST.get("answer") == "accept":
        with told(
            request,
            _("{name} {version} is being fetched and checked; {partner} is told.").format(
                name=found.name, version=found.version, partner=peer
            ),
        ):
            recommendations.accept(found, actor=actor)
        return redirect("frontend:partner-recommendations", pk)
    question = Question(
        _("Decline {found_name} {found_version}?").format(found_name=found.name, found_version=found.version),
        _("Decline"),
        _("{peer} is told, with your reason.").format(peer=peer),
        True,
    )
    return answered(
        request,
        DeclineForm(request.POST),
        question,
        act=lambda reason, **_: recommendations.decline(found, reason=reason, actor=actor),
        back=reverse("frontend:partner-recommendations", args=[pk]),
        done=_("Declined; {peer} is told why.").format(peer=peer),
    )


def _named(rows: Any, pk: str | None) -> Any:
    """Return the row that a form names; `Missing` for one that is not there or no id at all."""
    try:
        found = rows.filter(pk=UUID(str(pk))).first()
    except (ValueError, ValidationError):
        found = None
    if found is None:
        raise Missing(_("There is no such entry any more."))
    return found
