"""A new rollout, in steps: choose a release, choose nodes and waves, see the plan, write it down."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from appstore.packages.models import Package
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.errors import BreakwaterError
from frontend import tenancy
from frontend.operator.deploy import free_name
from frontend.page import page, paged, words_of
from frontend.rollouts.forms import RolloutForm
from frontend.store.packages import visible
from frontend.values.form import ValuesForm, asked
from frontend.values.views import values_url
from mecm.deployments.models import Deployment
from mecm.rollouts import services

#: Nodes that the preview lists; its numbers are of all.
SHOWN = 100


@require_GET
@page
def choose_release(request: HttpRequest) -> HttpResponse:
    """List the releases that may be rolled out, newest first; those whose application runs already are marked."""
    actor, organisation = _who(request)
    words = words_of(request)
    rows = Package.objects.visible_to(actor).listed().exclude(chart_sha256="").order_by("-published_at", "id")
    rows = rows.matching(words).defer("descriptor", "findings", "signature", "description")
    found = paged(request, rows)
    running = set(
        Deployment.objects.ordinary()
        .present()
        .filter(organisation=organisation, package__name__in={each.name for each in found})
        .values_list("package__provider", "package__name")
        .distinct()
    )
    context = {
        "section": "rollouts",
        "rows": found,
        "q": words,
        "running": {each.pk for each in found if (each.provider, each.name) in running},
    }
    return render(request, "frontend/rollouts/choose.html", context)


@page
def make(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the form; a POST writes the plan down, or only shows it when `preview` was pressed."""
    actor, organisation = _who(request)
    package = visible(request, pk)
    form, values = _form(request, organisation, package), asked(request, package, url=values_url(pk))
    status, context = 200, {}
    if request.method == "POST" and not values.only_looks:
        status = 400
        if _is_sound(form, values):
            try:
                if "preview" in request.POST:
                    context, status = _planned(actor, organisation, package, form, values), 200
                else:
                    made = services.create(
                        actor=actor,
                        organisation=organisation,
                        package=package,
                        **form.what(values.given),
                        **form.rules(),
                    )
                    return redirect("frontend:rollout", made.pk)
            except BreakwaterError as error:
                if not values.takes(error):
                    form.blame(error)
                status = error.status
    context |= {
        "section": "rollouts",
        "package": package,
        "form": form,
        "values": values,
        "organisation_of_it": organisation,
    }
    return render(request, "frontend/rollouts/new.html", context, status=status)


@require_POST
@page
def preview(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the plan for what is typed at the moment."""
    actor, organisation = _who(request)
    package = visible(request, pk)
    form, values = _form(request, organisation, package), asked(request, package, url=values_url(pk))
    context: dict[str, Any] = {}
    if _is_sound(form, values):
        try:
            context = _planned(actor, organisation, package, form, values)
        except BreakwaterError as error:
            context = {"unplanned": error.detail}
    else:
        wrong = [str(told) for each in form.errors.values() for told in each]
        context = {"unplanned": " ".join([*wrong, *values.told])}
    return render(request, "frontend/rollouts/preview.html", context)


def _is_sound(form: RolloutForm, values: ValuesForm) -> bool:
    """Whether the form is, and the values as well unless everybody keeps their own."""
    sound = form.is_valid()
    # Both are looked at, so that all that is wrong is said at once.
    fits = form.cleaned_data.get("keep") or values.is_valid()
    return sound and fits


def _planned(
    actor: Actor, organisation: Organisation, package: Package, form: RolloutForm, values: ValuesForm
) -> dict[str, Any]:
    sketch = services.plan(actor=actor, organisation=organisation, package=package, **form.what(values.given))
    return {"sketch": sketch, "first": sketch.places[:SHOWN], "more": max(0, len(sketch.places) - SHOWN)}


def _form(request: HttpRequest, organisation: Organisation, package: Package) -> RolloutForm:
    if request.method == "POST":
        return RolloutForm(request.POST, organisation=organisation, package=package)
    names = (
        Deployment.objects.ordinary()
        .present()
        .filter(organisation=organisation, package__name=package.name, package__provider=package.provider)
        .order_by("created_at")
        .values_list("name", flat=True)
    )
    # What runs already is what one wants to upgrade, most of the time.
    initial = {"name": request.GET.get("name") or names.first() or free_name(package, organisation)}
    return RolloutForm(initial=initial, organisation=organisation, package=package)


def _who(request: HttpRequest) -> tuple[Actor, Organisation]:
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    actor.require("deployments.write", organisation)
    assert organisation is not None
    return actor, organisation
