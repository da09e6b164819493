"""Which publishers an organisation is, and the small authority of the store with the certificates that it issued."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.trust import api, authority, proofs, publishers, services
from appstore.trust.models import Authority, PublisherClaim, SignerCertificate
from core.accounts import access
from core.accounts import services as accounts
from core.errors import Missing
from core.words import say
from frontend import tables, tenancy
from frontend.deeds import Question, answered, asked_again
from frontend.page import page, paged, told
from frontend.trust.forms import ClaimForm, IssueForm, ProofForm, RevokeForm
from frontend.trust.views import organisation_of

PROOF = gettext_lazy(
    "Sign the lines that stand beside it with the key of your certificate, or let the store sign with one that it keeps."
)
REVOKE = gettext_lazy(
    "What it signed is by somebody unknown from now on, unless a trusted timestamp says that it was signed before. A key that "
    "is kept here is forgotten. This cannot be taken back."
)


@require_GET
@page
def publishers_page(request: HttpRequest) -> HttpResponse:
    """Show one's claims and proofs; who runs the store sees everybody's."""
    organisation = organisation_of(request, "packages.read")
    runs = accounts.operator().pk == organisation.pk
    rows = PublisherClaim.objects.select_related("organisation").exclude(state=PublisherClaim.State.WITHDRAWN)
    rows = rows if runs else rows.filter(organisation=organisation)
    found = paged(request, rows, table=tables.PUBLISHERS)
    for row in found:
        row.prove = publishers.challenge_text(row).decode() if row.method == "key" else proofs.line_of(row.challenge)
        row.place = f"https://{row.domain}{proofs.PATH}" if row.method == "web" else f"{proofs.RECORD}.{row.domain}"
        row.mine = row.organisation_id == organisation.pk
    kept = SignerCertificate.objects.filter(organisation=organisation, revoked_at=None)
    context = {
        "section": "trust",
        "tab": "publishers",
        "own": organisation,
        "rows": found,
        "runs": runs,
        "certificates": [row for row in kept if row.usable],
        "may_manage": tenancy.actor_of(request).may(services.MANAGE, organisation.pk),
        "form": ClaimForm(),
    }
    return render(request, "frontend/trust/publishers.html", context)


@require_POST
@page
def claim(request: HttpRequest) -> HttpResponseBase:
    """Begin to prove to be a publisher."""
    organisation = organisation_of(request)
    return answered(
        request, ClaimForm(request.POST), Question(_("Prove to be a publisher"), _("Begin")),
        act=lambda **typed: publishers.claim(organisation, actor=tenancy.actor_of(request), **typed),
        back=reverse("frontend:trust-publishers"), done=_("Now prove it: the list says how."),
    )  # fmt: skip


@require_POST
@page
def prove(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Prove it by a signature, by a certificate that lies here, or by a look at the domain."""
    actor = tenancy.actor_of(request)
    row = access.get(PublisherClaim.objects.select_related("organisation"), actor, services.MANAGE, pk)
    if row.method != PublisherClaim.Method.KEY:
        with told(request):
            publishers.prove_by_domain(row, actor=actor)
        return redirect("frontend:trust-publishers")

    def act(signature: str, certificate: SignerCertificate | None) -> None:
        if certificate:
            publishers.prove_here(row, certificate, actor=actor)
        else:
            publishers.prove_by_key(row, actor=actor, signature=signature)

    form = ProofForm(request.POST, organisation=row.organisation)
    question = Question(_("Prove to be {provider}").format(provider=row.provider), _("Prove it"), PROOF)
    return answered(request, form, question, act=act, back=reverse("frontend:trust-publishers"))


@require_POST
@page
def confirm(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say that a proved domain stands for the name."""
    actor = tenancy.actor_of(request)
    row = publishers.visible(pk, actor)
    with told(
        request, _("{organisation} is {provider} now.").format(organisation=row.organisation, provider=row.provider)
    ):
        publishers.confirm(row, actor=actor)
    return redirect("frontend:trust-publishers")


@require_POST
@page
def withdraw(request: HttpRequest, pk: Any) -> HttpResponse:
    """Give a name back."""
    actor = tenancy.actor_of(request)
    row = publishers.visible(pk, actor)
    with told(request, _("The name {provider} is free again.").format(provider=row.provider)):
        publishers.withdraw(row, actor=actor)
    return redirect("frontend:trust-publishers")


@require_GET
@page
def authority_page(request: HttpRequest) -> HttpResponse:
    """Show the authority of the store, and the certificates that it issued."""
    organisation = organisation_of(request, "packages.read")
    runs = accounts.operator().pk == organisation.pk
    rows = SignerCertificate.objects.select_related("organisation")
    rows = rows if runs else rows.filter(organisation=organisation)
    context = {
        "section": "trust",
        "tab": "authority",
        "own": organisation,
        "authority": Authority.objects.filter(name=authority.NAME, retired_at=None).first(),
        "rows": paged(request, rows, table=tables.SIGNERS),
        "runs": runs,
        "may_manage": tenancy.actor_of(request).may(services.MANAGE, organisation.pk),
        "form": IssueForm(),
        "revoke_form": RevokeForm(),
    }
    return render(request, "frontend/trust/authority.html", context)


@require_POST
@page
def create_authority(request: HttpRequest) -> HttpResponse:
    """Make the authority."""
    organisation_of(request)
    with told(request, _("The store has an authority now, and trusts it.")):
        authority.create(actor=tenancy.actor_of(request))
    return redirect("frontend:trust-authority")


@require_POST
@page
def issue(request: HttpRequest) -> HttpResponseBase:
    """Issue a certificate."""
    organisation_of(request)
    actor = tenancy.actor_of(request)
    actor.require(services.MANAGE, accounts.operator())
    form = IssueForm(request.POST)

    def act(organisation: str, **typed: Any) -> HttpResponseBase | None:
        try:
            named = api.organisation_named(organisation)
        except Missing as error:
            form.add_error("organisation", error.detail)
            return asked_again(request, form, question, back=back)
        authority.issue(named, actor=actor, **typed)
        messages.success(request, say("The certificate is issued."))
        return None

    question, back = Question(_("A certificate for an organisation"), _("Issue")), reverse("frontend:trust-authority")
    return answered(request, form, question, act=act, back=back)


@require_POST
@page
def refresh_crl(request: HttpRequest) -> HttpResponse:
    """Publish the revocation list anew."""
    organisation_of(request)
    with told(request, _("The revocation list is published anew.")):
        authority.refresh(actor=tenancy.actor_of(request))
    return redirect("frontend:trust-authority")


@require_POST
@page
def revoke(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Revoke a certificate."""
    actor = tenancy.actor_of(request)
    row = authority.visible(pk, actor)
    return answered(
        request, RevokeForm(request.POST), Question(_("Revoke this certificate?"), _("Revoke"), REVOKE, danger=True),
        act=lambda reason: authority.revoke(row, actor=actor, reason=reason),
        back=reverse("frontend:trust-authority"), done=_("The certificate is revoked, and the list that says so is published."),
    )  # fmt: skip
