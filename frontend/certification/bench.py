"""The lab: its runs and queue, its suites, what it demands, and which other labs count."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from appstore.certification import issuing, profiles, services, suites
from appstore.certification.models import Run, TrustedLab
from appstore.keys import services as keys
from core.accounts import access
from core.accounts import services as accounts
from core.errors import BreakwaterError, Denied, Missing
from frontend import tables, tenancy
from frontend.certification.forms import LabForm, ProfileForm, SuiteForm
from frontend.deeds import Question, ReasonForm, answered
from frontend.page import page, paged

DISTRUST = gettext_lazy(
    "Its certificates count for nothing from now on, also those that came with packages that are here already."
)


@require_GET
@page
def certifications(request: HttpRequest) -> HttpResponse:
    """List the runs of one's organisations, what waits first seen by its state."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied(_("Your roles do not show you certifications."))
    state = request.GET.get("state", "")
    rows = access.scoped(Run.objects.select_related("package", "requested_by", "certificate"), actor, "packages.read")
    if state in Run.State.values:
        rows = rows.filter(state=state)
    context = {
        "section": "certifications",
        "tab": "runs",
        "rows": paged(request, rows, table=tables.CERTIFICATIONS),
        "state_wanted": state,
        "states": Run.State.values,
    }
    fragment = "certifications_live" if request.htmx else "certifications"  # type: ignore[attr-defined]
    return render(request, f"frontend/certification/{fragment}.html", context)


@require_http_methods(["GET", "POST"])
@page
def suites_page(request: HttpRequest) -> HttpResponse:
    """Show the suites with their checks, and make one of one's own."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied(_("Your roles do not show you suites."))
    suites.ensure_builtin()
    checks = suites.known()
    form, status = SuiteForm(request.POST or None, checks=checks), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            given = form.cleaned_data
            try:
                services.make_suite(given["name"], given["title"], given["checks"], actor=actor)
            except (Denied, Missing):
                raise
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("The suite is kept."))
                return redirect("frontend:certification-suites")
    context = {
        "section": "certifications",
        "tab": "suites",
        "suites": suites.all_newest(),
        "broken": suites.broken(),
        "form": form,
        "may_change": _runs_the_store(actor),
    }
    return render(request, "frontend/certification/suites.html", context, status=status)


@require_http_methods(["GET", "POST"])
@page
def profile(request: HttpRequest) -> HttpResponse:
    """Show and change what the current organisation demands."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    if organisation is None:
        raise Denied(_("You belong to no organisation."))
    actor.require("certification.manage" if request.method == "POST" else "packages.read", organisation)
    suites.ensure_builtin()
    present = profiles.of(organisation.pk)
    names = sorted({suite.name for suite in suites.all_newest()} | {each[0] for each in suites.BUILTIN})
    form = ProfileForm(request.POST or None, names=names, initial=ProfileForm.initial_of(present))
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                profiles.save(organisation, actor=actor, **form.wanted(present))
            except (Denied, Missing):
                raise
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("This is demanded from now on."))
                return redirect("frontend:certification-profile")
    context = {
        "section": "certifications",
        "tab": "profile",
        "form": form,
        "organisation": organisation,
        "may_change": actor.may("certification.manage", organisation.pk),
    }
    return render(request, "frontend/certification/profile.html", context, status=status)


@require_http_methods(["GET", "POST"])
@page
def labs(request: HttpRequest) -> HttpResponse:
    """Show which labs count in this store, and trust another."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("packages.read"):
        raise Denied(_("Your roles do not show you labs."))
    form, status = LabForm(request.POST or None), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                issuing.trust_lab(actor=actor, **form.cleaned_data)
            except (Denied, Missing):
                raise
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("Certificates of %s count from now on.") % form.cleaned_data["name"])
                return redirect("frontend:certification-labs")
    own = keys.current(keys.LAB)
    context = {
        "section": "certifications",
        "tab": "labs",
        "rows": paged(request, TrustedLab.objects.order_by("revoked_at", "name", "id"), table=tables.LABS),
        "own": own,
        "form": form,
        "may_change": _runs_the_store(actor),
    }
    return render(request, "frontend/certification/labs.html", context, status=status)


@require_POST
@page
def distrust_lab(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Let the certificates of a lab count no longer."""
    actor = tenancy.actor_of(request)
    lab = access.get(TrustedLab.objects.all(), actor, "certification.manage", pk)
    return answered(
        request,
        ReasonForm(request.POST),
        Question(_("Trust {lab_name} no longer?").format(lab_name=lab.name), _("Distrust"), DISTRUST, danger=True),
        act=lambda reason: issuing.distrust_lab(lab, actor=actor, reason=reason),
        back=reverse("frontend:certification-labs"),
        done=_("Certificates of {lab_name} count for nothing now.").format(lab_name=lab.name),
    )


def _runs_the_store(actor: Any) -> bool:
    try:
        return bool(actor.may("certification.manage", accounts.operator().pk))
    except Missing:
        return False
