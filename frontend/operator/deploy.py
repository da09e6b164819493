"""Deploy and upgrade: where it fits and why not elsewhere, before anything is wished."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from appstore.packages import states
from appstore.packages.models import Package
from core.accounts import access
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.errors import BreakwaterError, Conflict
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page
from frontend.store.packages import visible
from frontend.values.form import ValuesForm, asked, known_of
from frontend.values.views import answer, values_url
from mecm.deployments import services
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node

#: Nodes that are judged for one page; more are chosen by search.
MOST_NODES = 60
_CHOOSE_A_NODE = gettext_lazy("Choose a node.")


class DeployForm(PortalForm):
    """Where, and under which name; the values have a form of their own."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=53,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text=gettext_lazy("Small letters, digits and hyphens; unique on the node in your organisation."),
    )
    node = forms.UUIDField(
        label=gettext_lazy("Node"),
        required=True,
        error_messages={"required": _CHOOSE_A_NODE, "invalid": _CHOOSE_A_NODE},
    )


class UpgradeForm(PortalForm):
    """Another release of the application; the values have a form of their own."""

    package = forms.ModelChoiceField(queryset=Package.objects.none(), label=gettext_lazy("Release"), empty_label=None)

    def __init__(self, *args: Any, releases: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["package"].queryset = releases  # type: ignore[attr-defined]


@page
def deploy(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show where the package fits; a POST deploys it, unless a button of the values was pressed that only looks."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    organisation = _organisation(request, actor)
    values = asked(request, package, url=values_url(package.pk))
    acts = request.method == "POST" and not values.only_looks
    initial = {"name": request.POST.get("name") or free_name(package, organisation), "node": request.POST.get("node")}
    form, status = DeployForm(request.POST if acts else None, initial=initial), 200
    if acts:
        status = 400
        sound = form.is_valid()
        if values.is_valid() and sound:
            facts = form.cleaned_data
            node = access.get(Node.objects.select_related("organisation"), actor, "deployments.write", facts["node"])
            try:
                made = services.request(
                    actor=actor,
                    organisation=organisation,
                    node=node,
                    package=package,
                    name=facts["name"],
                    values=values.given,
                )
            except BreakwaterError as error:
                if not values.takes(error):
                    form.blame(error)
                status = error.status
            else:
                return redirect("frontend:deployment", made.pk)
    context = {
        "section": "catalogue",
        "package": package,
        "form": form,
        "values": values,
        "organisation_of_it": organisation,
        "plan_url": reverse("frontend:deploy-plan", args=[package.pk]),
    }
    context |= _judged(request, actor, package, organisation, form, values)
    return render(request, "frontend/operator/deploy.html", context, status=status)


@require_POST
@page
def deploy_plan(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the list of nodes, judged anew for what is typed at the moment."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    organisation = _organisation(request, actor)
    form, values = DeployForm(request.POST), asked(request, package, url=values_url(package.pk))
    form.is_valid()
    # Who still types has not chosen yet; that is said when it is sent.
    form.errors.pop("node", None)
    values.is_valid()
    context = {
        "package": package,
        "form": form,
        "plan_url": request.path,
        **_judged(request, actor, package, organisation, form, values),
    }
    return render(request, "frontend/operator/deploy_nodes.html", context)


@page
def upgrade(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the releases and values, and what they would change; a POST wishes for them unless `preview` was pressed."""
    actor = tenancy.actor_of(request)
    deployment = _to_upgrade(actor, pk)
    form, values = _upgrade_form(request, actor, deployment)
    status, context = 200, {}
    if request.method == "POST" and not values.only_looks:
        status = 400
        sound = form.is_valid()
        if values.is_valid() and sound:
            try:
                if "preview" in request.POST:
                    context, status = _change(deployment, form, values), 200
                else:
                    services.upgrade(
                        deployment,
                        actor=actor,
                        package=form.cleaned_data["package"],
                        values=values.given,
                        expected=_number(request.POST.get("expected")),
                    )
                    return redirect("frontend:deployment", deployment.pk)
            except BreakwaterError as error:
                if not values.takes(error):
                    form.blame(error)
                status = error.status
    context |= {"section": "deployments", "deployment": deployment, "form": form, "values": values}
    return render(request, "frontend/operator/upgrade.html", context, status=status)


@require_POST
@page
def upgrade_plan(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return what the release and the values that are typed at the moment would change, and whether they fit."""
    actor = tenancy.actor_of(request)
    deployment = _to_upgrade(actor, pk)
    form, values = _upgrade_form(request, actor, deployment)
    sound = form.is_valid()
    if values.is_valid() and sound:
        try:
            context = _change(deployment, form, values)
        except BreakwaterError as error:
            context = {"unplanned": error.detail}
    else:
        wrong = [str(told) for each in form.errors.values() for told in each]
        context = {"unplanned": " ".join([*wrong, *values.told])}
    return render(request, "frontend/operator/upgrade_plan.html", {**context, "deployment": deployment})


@require_POST
@page
def upgrade_values(request: HttpRequest, pk: Any) -> HttpResponse:
    """Answer for the form of values while somebody upgrades: the present ones are where it begins."""
    actor = tenancy.actor_of(request)
    _release, values = _upgrade_form(request, actor, _to_upgrade(actor, pk))
    return answer(request, values)


def _to_upgrade(actor: Actor, pk: Any) -> Deployment:
    return access.get(
        Deployment.objects.select_related("node", "package", "organisation"), actor, "deployments.write", pk
    )


def _upgrade_form(request: HttpRequest, actor: Actor, deployment: Deployment) -> tuple[UpgradeForm, ValuesForm]:
    package = deployment.package
    releases = (
        Package.objects.visible_to(actor)
        .listed()
        .filter(organisation=package.organisation_id, provider=package.provider, name=package.name)
        .order_by("-published_at")
    )
    if package.state not in states.LISTED:
        releases = releases | Package.objects.filter(pk=package.pk)
    newest = releases.first() or package
    form = UpgradeForm(request.POST or None, releases=releases, initial={"package": newest.pk})
    chosen, drawn = newest, None
    if request.method == "POST":
        sent = {request.POST.get(name, "") for name in ("package", "values-package")}
        known = {str(each.pk): each for each in releases.filter(pk__in={text for text in sent if _is_uuid(text)})}
        chosen = known.get(request.POST.get("package", ""), newest)
        drawn = known.get(request.POST.get("values-package", ""))
    url = reverse("frontend:upgrade-values", args=[deployment.pk])
    return form, asked(request, chosen, url=url, present=deployment.values, drawn=drawn)


def _change(deployment: Deployment, form: UpgradeForm, values: ValuesForm) -> dict[str, Any]:
    """Return the difference between what is wished now and what is typed, with the verdict of placement."""
    package = form.cleaned_data["package"]
    place = (deployment.node, deployment, deployment.name)
    (seen,) = services.preview([place], package, organisation=deployment.organisation, values=values.given)
    return {
        "seen": seen,
        "wanted": package,
        "changes": values.since(deployment.values, values.given, known_of(deployment.package)),
    }


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _organisation(request: HttpRequest, actor: Actor) -> Organisation:
    """Return who will own the deployment: the current organisation."""
    organisation = tenancy.current(request)
    actor.require("deployments.write", organisation)
    assert organisation is not None
    return organisation


def _judged(
    request: HttpRequest,
    actor: Actor,
    package: Package,
    organisation: Organisation,
    form: DeployForm,
    values: ValuesForm,
) -> dict[str, Any]:
    """Return the nodes with their verdicts, or why none can be given yet."""
    words = (request.POST.get("find") or request.GET.get("find") or "").replace("\x00", "").strip()[:200]
    nodes = access.scoped(Node.objects.select_related("organisation"), actor, "deployments.write")
    if words:
        nodes = nodes.filter(name__icontains=words)
    rows = list(nodes[: MOST_NODES + 1])
    name = form.initial.get("name", "")
    if "name" in form.errors or not values.readable:
        what_to_do = _("Mend what is marked first; then you see here where it fits.")
        kept = request.POST.get("node", "")
        return {"nodes": [], "unjudged": " ".join([what_to_do, *values.told[:5]]), "find": words, "kept": kept}
    if form.is_bound:
        name = form.cleaned_data["name"]
    try:
        judged = services.verdicts(
            rows[:MOST_NODES], package, organisation=organisation, name=name, values=values.given
        )
    except BreakwaterError as error:
        return {"nodes": [], "unjudged": error.detail, "find": words}
    judged.sort(key=lambda item: (not item[1].fits, len(item[1].remarks), item[0].name))
    first = next((node.pk for node, verdict in judged if verdict.fits), None)
    chosen = form.cleaned_data.get("node") if form.is_bound and hasattr(form, "cleaned_data") else None
    looked = form.initial.get("node") or ""
    return {
        "nodes": judged,
        "chosen": chosen or (UUID(looked) if _is_uuid(looked) else None) or first,
        "none_fits": bool(judged) and first is None,
        "more_nodes": len(rows) > MOST_NODES,
        "find": words,
    }


def free_name(package: Package, organisation: Organisation) -> str:
    """Return a release name made of the application's, which the organisation has not given yet."""
    stem = re.sub(r"[^a-z0-9]+", "-", package.name.lower()).strip("-")[:45].strip("-") or "app"
    taken = set(
        Deployment.objects.present()
        .filter(organisation=organisation, name__startswith=stem)
        .values_list("name", flat=True)
    )
    if stem not in taken:
        return stem
    for number in range(2, 1000):
        if f"{stem}-{number}" not in taken:
            return f"{stem}-{number}"
    raise Conflict(_("There are too many deployments of this application; give it a name of your own."))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None
