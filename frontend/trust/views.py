"""Whom one trusts: anchors, revocation lists, policy, the distrusted; and what it says of one package."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.trust import services, signings, trustlists
from appstore.trust.models import Anchor, Crl, Distrust, SignerCertificate, Signing
from core.accounts import access
from core.accounts.models import Organisation
from core.errors import Denied
from core.words import say
from frontend import tables, tenancy
from frontend.deeds import Question, ReasonForm, answered
from frontend.page import page, paged, told
from frontend.store.packages import PACKAGES, visible
from frontend.trust import verifying
from frontend.trust.forms import LEAST, AnchorForm, CrlForm, DistrustForm, EndForm, PolicyForm, SigningForm

END = gettext_lazy("After that day it counts no more.")
REVOKE = gettext_lazy(
    "Every package that counts as trusted through it is by somebody unknown at once, and where the policy asks for trust it "
    "can no longer be published or deployed. It stays in the list as revoked."
)


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
        "least": dict(LEAST),
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
def add_anchor(request: HttpRequest) -> HttpResponseBase:
    """Trust one or more certificates."""
    organisation = organisation_of(request)
    form = AnchorForm(request.POST, request.FILES)

    def act(**_typed: Any) -> None:
        made = services.add_anchors(organisation, actor=tenancy.actor_of(request), **form.wanted())
        _say(request, say("{made} can be trusted now.", made=", ".join(row.name for row in made[:3])))

    return answered(request, form, Question(_("Trust somebody"), _("Trust")), act=act, back=reverse("frontend:trust"))


@require_POST
@page
def end_anchor(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Say when an anchor ends."""
    actor = tenancy.actor_of(request)
    anchor = access.get(Anchor.objects.select_related("organisation"), actor, services.MANAGE, pk)
    form, question = EndForm(request.POST), Question(_("Until when is it trusted?"), _("Save"), END)
    return answered(
        request,
        form,
        question,
        act=lambda **_: services.expire(anchor, actor=actor, at=form.wanted()),
        back=reverse("frontend:trust"),
        done=_("The end of {anchor_name} is set.").format(anchor_name=anchor.name),
    )


@require_POST
@page
def revoke_anchor(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Trust it no more."""
    actor = tenancy.actor_of(request)
    anchor = access.get(Anchor.objects.select_related("organisation"), actor, services.MANAGE, pk)
    return answered(
        request,
        ReasonForm(request.POST),
        Question(_("Trust this anchor no more?"), _("Revoke"), REVOKE, danger=True),
        act=lambda reason: services.revoke(anchor, actor=actor, reason=reason),
        back=reverse("frontend:trust"),
        done=_("{anchor_name} is not trusted any more.").format(anchor_name=anchor.name),
    )


@require_POST
@page
def add_crl(request: HttpRequest) -> HttpResponseBase:
    """Take a revocation list."""
    organisation = organisation_of(request)
    form = CrlForm(request.POST, request.FILES)

    def act(**_typed: Any) -> None:
        row = services.add_crl(organisation, actor=tenancy.actor_of(request), content=form.wanted())
        _say(
            request,
            say(
                "List {number} of {issuer} counts now; it revokes {entries} certificates.",
                number=row.number,
                issuer=row.issuer,
                entries=row.entries,
            ),
        )

    return answered(
        request, form, Question(_("Add a revocation list"), _("Add")), act=act, back=reverse("frontend:trust")
    )


@require_POST
@page
def add_distrust(request: HttpRequest) -> HttpResponseBase:
    """Distrust a certificate."""
    organisation, actor = organisation_of(request), tenancy.actor_of(request)
    return answered(
        request,
        DistrustForm(request.POST),
        Question(_("Distrust a certificate"), _("Distrust"), danger=True),
        act=lambda **typed: services.distrust(organisation, actor=actor, **typed),
        back=reverse("frontend:trust"),
        done=_("No path over that certificate counts any more."),
    )


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
def set_policy(request: HttpRequest) -> HttpResponseBase:
    """Change what is demanded."""
    organisation = organisation_of(request)
    is_store = not trustlists.policies(organisation.pk).apart
    return answered(
        request,
        PolicyForm(request.POST, is_store=is_store),
        Question(_("Policy"), _("Save")),
        act=lambda **typed: services.set_policy(organisation, actor=tenancy.actor_of(request), **typed),
        back=reverse("frontend:trust"),
        done=_("The policy holds from now on."),
    )


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
def sign_package(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Ask for a signed copy."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.write", pk)
    return answered(
        request,
        SigningForm(request.POST, organisation=package.organisation),
        Question(_("Sign {package}").format(package=package), _("Sign a copy")),
        act=lambda certificate: signings.request(package, certificate, actor=actor),
        back=reverse("frontend:package-trust", args=[pk]),
        done=_("A worker signs it; the signed copy then is among your packages."),
    )


def _say(request: HttpRequest, text: str) -> None:
    messages.success(request, text)
