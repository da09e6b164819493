"""Deploy and upgrade: where it fits and why not elsewhere, before anything is wished."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from appstore.packages import states
from appstore.packages.models import Package
from core.accounts import access
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.errors import BreakwaterError, Conflict
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.operator.values_text import difference, parse
from frontend.page import page
from frontend.store.packages import visible
from frontend.templatetags.portal import as_yaml
from mecm.deployments import services
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node

#: Nodes that are judged for one page; more are chosen by search.
MOST_NODES = 60


class ValuesField(forms.CharField):
    """Values for a chart as YAML or JSON; its clean value is the mapping."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(
            attrs={"rows": 10, "class": "code", "spellcheck": "false", "placeholder": "replicas: 2"}
        )
        super().__init__(required=False, strip=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> dict[str, Any]:
        """Return the mapping, or say what cannot be read."""
        try:
            return parse(str(super().clean(value)))
        except BreakwaterError as error:
            raise forms.ValidationError(error.detail) from None


class DeployForm(PortalForm):
    """Where, under which name, with which values."""

    name = forms.CharField(
        max_length=53,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text="Small letters, digits and hyphens; unique on the node in your organisation.",
    )
    values = ValuesField(help_text="YAML or JSON. Empty: the chart's own values.")
    node = forms.UUIDField(required=True, error_messages={"required": "Choose a node.", "invalid": "Choose a node."})

    def __init__(self, *args: Any, plan_url: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("name", "values"):
            self.fields[name].widget.attrs |= {
                "hx-post": plan_url,
                "hx-trigger": "input changed delay:500ms",
                "hx-target": "#nodes",
                "hx-swap": "innerHTML",
            }


class UpgradeForm(PortalForm):
    """Another release of the application, other values, or both."""

    package = forms.ModelChoiceField(queryset=Package.objects.none(), label="Release", empty_label=None)
    values = ValuesField(help_text="YAML or JSON. They replace the present values as a whole.")

    def __init__(self, *args: Any, releases: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["package"].queryset = releases  # type: ignore[attr-defined]


@page
def deploy(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show where the package fits; a POST deploys it."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    organisation = _organisation(request, actor)
    plan_url = reverse("frontend:deploy-plan", args=[package.pk])
    initial = {"name": free_name(package, organisation)}
    form, status = DeployForm(request.POST or None, initial=initial, plan_url=plan_url), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            facts = form.cleaned_data
            node = access.get(Node.objects.select_related("organisation"), actor, "deployments.write", facts["node"])
            try:
                made = services.request(
                    actor=actor,
                    organisation=organisation,
                    node=node,
                    package=package,
                    name=facts["name"],
                    values=facts["values"],
                )
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
            else:
                return redirect("frontend:deployment", made.pk)
    context = {
        "section": "catalogue",
        "package": package,
        "form": form,
        "organisation_of_it": organisation,
        "plan_url": plan_url,
    }
    context |= _judged(request, actor, package, organisation, form)
    return render(request, "frontend/operator/deploy.html", context, status=status)


@require_POST
@page
def deploy_plan(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the list of nodes, judged anew for what is typed at the moment."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    organisation = _organisation(request, actor)
    form = DeployForm(request.POST)
    form.is_valid()
    context = {
        "package": package,
        "form": form,
        "plan_url": request.path,
        **_judged(request, actor, package, organisation, form),
    }
    return render(request, "frontend/operator/deploy_nodes.html", context)


@page
def upgrade(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the releases and values, and what they would change; a POST wishes for them unless `preview` was pressed."""
    actor = tenancy.actor_of(request)
    deployment = _to_upgrade(actor, pk)
    form, status = _upgrade_form(request, actor, deployment), 200
    context: dict[str, Any] = {}
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                if "preview" in request.POST:
                    context, status = _change(deployment, form), 200
                else:
                    services.upgrade(
                        deployment,
                        actor=actor,
                        package=form.cleaned_data["package"],
                        values=form.cleaned_data["values"],
                        expected=_number(request.POST.get("expected")),
                    )
                    return redirect("frontend:deployment", deployment.pk)
            except BreakwaterError as error:
                form.blame(error)
                status = error.status
    context |= {"section": "deployments", "deployment": deployment, "form": form}
    return render(request, "frontend/operator/upgrade.html", context, status=status)


@require_POST
@page
def upgrade_plan(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return what the release and the values that are typed at the moment would change, and whether they fit."""
    actor = tenancy.actor_of(request)
    deployment = _to_upgrade(actor, pk)
    form = _upgrade_form(request, actor, deployment)
    context: dict[str, Any] = {"unplanned": " ".join(str(told) for each in form.errors.values() for told in each)}
    if form.is_valid():
        try:
            context = _change(deployment, form)
        except BreakwaterError as error:
            context = {"unplanned": error.detail}
    return render(request, "frontend/operator/upgrade_plan.html", {**context, "deployment": deployment})


def _to_upgrade(actor: Actor, pk: Any) -> Deployment:
    return access.get(
        Deployment.objects.select_related("node", "package", "organisation"), actor, "deployments.write", pk
    )


def _upgrade_form(request: HttpRequest, actor: Actor, deployment: Deployment) -> UpgradeForm:
    package = deployment.package
    releases = (
        Package.objects.visible_to(actor)
        .listed()
        .filter(organisation=package.organisation_id, provider=package.provider, name=package.name)
        .order_by("-published_at")
    )
    if package.state not in states.LISTED:
        releases = releases | Package.objects.filter(pk=package.pk)
    newest = releases.first()
    initial = {"package": newest.pk if newest else package.pk, "values": as_yaml(deployment.values)}
    return UpgradeForm(request.POST or None, releases=releases, initial=initial)


def _change(deployment: Deployment, form: UpgradeForm) -> dict[str, Any]:
    """Return the difference between what is wished now and what is typed, with the verdict of placement."""
    package, values = form.cleaned_data["package"], form.cleaned_data["values"]
    place = (deployment.node, deployment, deployment.name)
    (seen,) = services.preview([place], package, organisation=deployment.organisation, values=values)
    return {"seen": seen, "wanted": package, "changes": difference(deployment.values, values)}


def _organisation(request: HttpRequest, actor: Actor) -> Organisation:
    """Return who will own the deployment: the current organisation."""
    organisation = tenancy.current(request)
    actor.require("deployments.write", organisation)
    assert organisation is not None
    return organisation


def _judged(
    request: HttpRequest, actor: Actor, package: Package, organisation: Organisation, form: DeployForm
) -> dict[str, Any]:
    """Return the nodes with their verdicts, or why none can be given yet."""
    words = (request.POST.get("find") or request.GET.get("find") or "").strip()
    nodes = access.scoped(Node.objects.select_related("organisation"), actor, "deployments.write")
    if words:
        nodes = nodes.filter(name__icontains=words)
    rows = list(nodes[: MOST_NODES + 1])
    name, values = form.initial.get("name", ""), {}
    if form.is_bound:
        if "name" in form.errors or "values" in form.errors:
            return {
                "nodes": [],
                "unjudged": "Mend what is marked first; then you see here where it fits.",
                "find": words,
            }
        name, values = form.cleaned_data["name"], form.cleaned_data["values"]
    try:
        judged = services.verdicts(rows[:MOST_NODES], package, organisation=organisation, name=name, values=values)
    except BreakwaterError as error:
        return {"nodes": [], "unjudged": error.detail, "find": words}
    judged.sort(key=lambda item: (not item[1].fits, len(item[1].remarks), item[0].name))
    first = next((node.pk for node, verdict in judged if verdict.fits), None)
    chosen = form.cleaned_data.get("node") if form.is_bound and hasattr(form, "cleaned_data") else None
    return {
        "nodes": judged,
        "chosen": chosen or first,
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
    raise Conflict("There are too many deployments of this application; give it a name of your own.")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None
