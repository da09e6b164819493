"""Which publishers an organisation is, and the small authority of the store with the certificates that it issued."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from appstore.trust import api, authority, proofs, publishers, services
from appstore.trust.models import Authority, PublisherClaim, SignerCertificate
from core.accounts import access
from core.accounts import services as accounts
from frontend import tables, tenancy
from frontend.page import page, paged, told
from frontend.trust.forms import ClaimForm, IssueForm, RevokeForm
from frontend.trust.views import organisation_of


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
def claim(request: HttpRequest) -> HttpResponse:
    """Begin to prove to be a publisher."""
    organisation = organisation_of(request)
    with told(request, _("Now prove it: the list says how.")):
        publishers.claim(organisation, actor=tenancy.actor_of(request), **ClaimForm(request.POST).wanted())
    return redirect("frontend:trust-publishers")


@require_POST
@page
def prove(request: HttpRequest, pk: Any) -> HttpResponse:
    """Prove it by a signature, by a certificate that lies here, or by a look at the domain."""
    actor = tenancy.actor_of(request)
    row = access.get(PublisherClaim.objects.select_related("organisation"), actor, services.MANAGE, pk)
    with told(request):
        if row.method != PublisherClaim.Method.KEY:
            publishers.prove_by_domain(row, actor=actor)
        elif request.POST.get("certificate"):
            own = access.get(SignerCertificate.objects.all(), actor, services.MANAGE, request.POST["certificate"])
            publishers.prove_here(row, own, actor=actor)
        else:
            publishers.prove_by_key(row, actor=actor, signature=request.POST.get("signature", ""))
    return redirect("frontend:trust-publishers")


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
def issue(request: HttpRequest) -> HttpResponse:
    """Issue a certificate."""
    organisation_of(request)
    with told(request, _("The certificate is issued.")):
        wanted = IssueForm(request.POST).wanted()
        actor = tenancy.actor_of(request)
        actor.require(services.MANAGE, accounts.operator())
        named = api.organisation_named(wanted.pop("organisation"))
        authority.issue(named, actor=actor, **wanted)
    return redirect("frontend:trust-authority")


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
def revoke(request: HttpRequest, pk: Any) -> HttpResponse:
    """Revoke a certificate."""
    actor = tenancy.actor_of(request)
    row = authority.visible(pk, actor)
    with told(request, _("The certificate is revoked, and the list that says so is published.")):
        authority.revoke(row, actor=actor, reason=RevokeForm(request.POST).cleaned()["reason"])
    return redirect("frontend:trust-authority")
