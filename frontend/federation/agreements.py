"""The agreement with a partner: what is in force, what is proposed, what differs, and the editor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.federation import agreements, terms
from appstore.federation.models import Agreement, Peer
from core.errors import BreakwaterError, Missing
from core.words import say
from frontend import tables, tenancy
from frontend.deeds import Question, ReasonForm, answered
from frontend.federation import words
from frontend.federation.forms import OfferForm, TermForm
from frontend.federation.partners import frame, partner_of
from frontend.page import page, paged, told


@page
def agreement_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show all versions and the editor; a POST proposes the next one."""
    peer = partner_of(request, pk)
    newest = _newest(peer)
    before = newest.read() if newest else None
    given = request.POST or None
    out = OfferForm(
        given,
        prefix="out",
        initial=OfferForm.shown(before.out if before else None, agreed=not before or before.out is not None),
    )
    incoming = OfferForm(
        given,
        prefix="in",
        initial=OfferForm.shown(before.incoming if before else None, agreed=not before or before.incoming is not None),
    )
    term, status = TermForm(given, initial=TermForm.shown(before)), 200
    if request.method == "POST":
        status = 400
        # Each of them is asked, so that all that is wrong is shown at once.
        if all([out.is_valid(), incoming.is_valid(), term.is_valid()]):
            try:
                made = agreements.propose(
                    peer,
                    out=out.offer(),
                    incoming=incoming.offer(),
                    expires=term.end(),
                    contact=term.cleaned_data["contact"],
                    actor=tenancy.actor_of(request),
                )
            except BreakwaterError as error:
                term.blame(error)
                status = error.status
            else:
                return redirect("frontend:agreement-version", pk, made.version)
    in_force = peer.agreement()
    context = frame(
        peer,
        "agreement",
        rows=paged(request, peer.agreements.order_by("-version"), table=tables.AGREEMENTS),
        in_force=in_force,
        out=out,
        incoming=incoming,
        term=term,
        all={"problems": [*term.problems, *out.problems, *incoming.problems]},
        newest=newest,
        next_version=newest.version + 1 if newest else 1,
        editing=status != 200 or newest is None or "edit" in request.GET,
    )
    return render(request, "frontend/federation/agreement.html", context, status=status)


@require_GET
@page
def version_page(request: HttpRequest, pk: Any, version: int) -> HttpResponse:
    """Show one version: what it says, and what differs from the one before that was in force or proposed."""
    peer = partner_of(request, pk)
    found = _version(peer, version)
    before = peer.agreements.filter(version__lt=version).order_by("-version").first()
    wanted, earlier = found.read(), before.read() if before else None
    context = frame(
        peer,
        "agreement",
        agreement=found,
        terms=wanted,
        groups=words.grouped(terms.difference(None, wanted)),
        before=before,
        changes=words.changed(terms.difference(earlier, wanted)) if earlier else [],
        to_answer=found.state == "proposed" and not found.proposed_by_us and peer.state == "active",
        ours_open=found.state == "proposed" and found.proposed_by_us,
        expired=wanted.expired(timezone.now()),
    )
    return render(request, "frontend/federation/version.html", context)


@require_POST
@page
def accept(request: HttpRequest, pk: Any, version: int) -> HttpResponse:
    """Sign what the partner proposed."""
    found = _version(partner_of(request, pk), version)
    with told(request, say("Version {version} is signed and in force; the partner is told.", version=version)):
        agreements.accept(found, actor=tenancy.actor_of(request))
    return redirect("frontend:agreement-version", pk, version)


def _deed(act: Callable[..., Any], done: str, question: Question) -> Callable[..., HttpResponseBase]:
    @require_POST
    @page
    def view(request: HttpRequest, pk: Any, version: int) -> HttpResponseBase:
        found, actor = _version(partner_of(request, pk), version), tenancy.actor_of(request)
        return answered(
            request, ReasonForm(request.POST), question, act=lambda reason: act(found, actor=actor, reason=reason),
            back=reverse("frontend:agreement-version", args=[pk, version]), done=done.format(version=version),
        )  # fmt: skip

    return view


DECLINE = Question(
    gettext_lazy("Say no to these terms?"),
    gettext_lazy("Send the no"),
    gettext_lazy("The partner is told, with your reason. Either of you can propose others."),
    danger=True,
)
END = Question(
    gettext_lazy("End this agreement?"),
    gettext_lazy("End it"),
    gettext_lazy(
        "Nothing is exchanged from this moment on. The stores stay acquainted, and new terms can be proposed."
    ),
    danger=True,
)
decline = _deed(agreements.decline, "Version {version} is declined; the partner is told why.", DECLINE)
end = _deed(agreements.end, "Version {version} has ended; nothing is exchanged any more.", END)


def _newest(peer: Peer) -> Agreement | None:
    return peer.agreements.order_by("-version").first()


def _version(peer: Peer, version: int) -> Agreement:
    found = peer.agreements.select_related("peer").filter(version=version).first() if version < 1 << 31 else None
    if found is None:
        raise Missing(_("There is no such version of the agreement."))
    return found
