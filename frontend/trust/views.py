"""Whom one trusts: anchors, revocation lists, policy, the distrusted; and what it says of one package."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from appstore.trust import services, signings, trustlists
from appstore.trust.models import Anchor, Crl, Distrust, SignerCertificate, Signing
from core.accounts import access
from core.accounts.models import Organisation
from core.errors import Denied
from frontend import tables, tenancy
from frontend.page import page, paged, told
from frontend.store.packages import PACKAGES, visible
from frontend.trust import verifying
from frontend.trust.forms import AnchorForm, CrlForm, DistrustForm, EndForm, PolicyForm


def organisation_of(request: HttpRequest, permission: str = services.MANAGE) -> Organisation:
    """Return the organisation whose list it is; `Denied` for somebody who belongs to none, or may not."""
    organisation = tenancy.current(request)
    if organisation is None:
        raise Denied(_("You belong to no organisation, so there is no trust list of yours."))
    tenancy.actor_of(request).require(permission, organisation)
    return organisation


@require_GET
@page
def trust_page(request: HttpRequest) -> HttpResponse:
    """Show whom the organisation trusts, by itself and with the store, and what it demands."""
    organisation = organisation_of(request, "packages.read")
    both = trustlists.policies(organisation.pk)
    whose = {organisation.pk, *([both.store.pk] if both.own.inherits else [])}
    anchors = Anchor.objects.filter(organisation_id__in=whose).order_by("revoked_at", "name", "id")
    context = {
        "section": "trust",
        "tab": "list",
        "own": organisation,
        "both": both,
        "rows": paged(request, anchors, table=tables.ANCHORS),
        "crls": list(Crl.objects.filter(organisation_id__in=whose)[:50]),
        "distrusts": list(Distrust.objects.filter(organisation=organisation)[:50]),
        "may_manage": tenancy.actor_of(request).may(services.MANAGE, organisation.pk),
        "anchor_form": AnchorForm(),
        "crl_form": CrlForm(auto_id="crl_%s"),
        "distrust_form": DistrustForm(auto_id="distrust_%s"),
        "policy_form": PolicyForm.of(both.own, is_store=not both.apart),
    }
    return render(request, "frontend/trust/trust.html", context)


@require_GET
@page
def export(request: HttpRequest) -> HttpResponse:
    """Give the anchors as one PEM file."""
    organisation = organisation_of(request, "packages.read")
    name = f'attachment; filename="{organisation.slug}-trust.pem"'
    return HttpResponse(
        services.export(organisation), content_type="application/x-pem-file", headers={"Content-Disposition": name}
    )


@require_POST
@page
def add_anchor(request: HttpRequest) -> HttpResponse:
    """Trust one or more certificates."""
    organisation = organisation_of(request)
    form = AnchorForm(request.POST, request.FILES)
    with told(request):
        wanted = form.wanted()
        made = services.add_anchors(organisation, actor=tenancy.actor_of(request), **wanted)
        _say(request, f"{', '.join(row.name for row in made[:3])} can be trusted now.")
    return redirect("frontend:trust")


@require_POST
@page
def end_anchor(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say when an anchor ends."""
    actor = tenancy.actor_of(request)
    anchor = access.get(Anchor.objects.select_related("organisation"), actor, services.MANAGE, pk)
    with told(request, _("The end of {name} is set.").format(name=anchor.name)):
        services.expire(anchor, actor=actor, at=EndForm(request.POST).wanted())
    return redirect("frontend:trust")


@require_POST
@page
def revoke_anchor(request: HttpRequest, pk: Any) -> HttpResponse:
    """Trust it no more."""
    actor = tenancy.actor_of(request)
    anchor = access.get(Anchor.objects.select_related("organisation"), actor, services.MANAGE, pk)
    with told(request, _("{name} is not trusted any more.").format(name=anchor.name)):
        services.revoke(anchor, actor=actor, reason=request.POST.get("reason", ""))
    return redirect("frontend:trust")


@require_POST
@page
def add_crl(request: HttpRequest) -> HttpResponse:
    """Take a revocation list."""
    organisation = organisation_of(request)
    with told(request):
        content = CrlForm(request.POST, request.FILES).wanted()
        row = services.add_crl(organisation, actor=tenancy.actor_of(request), content=content)
        _say(request, f"List {row.number} of {row.issuer} counts now; it revokes {row.entries} certificates.")
    return redirect("frontend:trust")


@require_POST
@page
def add_distrust(request: HttpRequest) -> HttpResponse:
    """Distrust a certificate."""
    organisation = organisation_of(request)
    with told(request, _("No path over that certificate counts any more.")):
        wanted = DistrustForm(request.POST).wanted()
        services.distrust(organisation, actor=tenancy.actor_of(request), **wanted)
    return redirect("frontend:trust")


@require_POST
@page
def remove_distrust(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take a certificate off the list of the distrusted."""
    actor = tenancy.actor_of(request)
    row = access.get(Distrust.objects.select_related("organisation"), actor, services.MANAGE, pk)
    with told(request, _("{name} is not distrusted any more.").format(name=row)):
        services.trust_again(row, actor=actor)
    return redirect("frontend:trust")


@require_POST
@page
def set_policy(request: HttpRequest) -> HttpResponse:
    """Change what is demanded."""
    organisation = organisation_of(request)
    is_store = not trustlists.policies(organisation.pk).apart
    with told(request, _("The policy holds from now on.")):
        wanted = PolicyForm(request.POST, is_store=is_store).wanted()
        services.set_policy(organisation, actor=tenancy.actor_of(request), **wanted)
    return redirect("frontend:trust")


@require_GET
@page
def package_trust(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show what the signature of a package is worth to one's organisation, and why."""
    package = visible(request, pk)
    actor = tenancy.actor_of(request)
    mine = actor.may("packages.read", package.organisation_id)
    organisation = tenancy.current(request)
    whose = organisation.pk if organisation else package.organisation_id
    found = services.judgement(package, whose)
    may_sign = actor.may("packages.write", package.organisation_id) and signings.can_be_signed(package)
    certificates, signing = [], None
    if may_sign:
        kept = SignerCertificate.objects.filter(organisation=package.organisation_id, revoked_at=None)
        certificates = [row for row in kept if row.usable]
        signing = Signing.objects.filter(package=package).select_related("result").first()
    context = {
        "section": "packages" if mine and not package.released else "catalogue",
        "package": package,
        "found": found,
        "standing": found.standing,
        "publisher": services.trusted_publishers([package]).get(package.pk, ""),
        "signature": package.signature,
        "signing": signing,
        "certificates": certificates,
        "may_sign": may_sign,
        "commands": verifying.commands(package),
    }
    return render(request, "frontend/trust/package.html", context)


@require_POST
@page
def sign_package(request: HttpRequest, pk: Any) -> HttpResponse:
    """Ask for a signed copy."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.write", pk)
    with told(request, _("A worker signs it; the signed copy then is among your packages.")):
        certificate = access.get(
            SignerCertificate.objects.all(), actor, "packages.write", request.POST.get("certificate") or None
        )
        signings.request(package, certificate, actor=actor)
    return redirect("frontend:package-trust", pk)


def _say(request: HttpRequest, text: str) -> None:
    messages.success(request, text)
