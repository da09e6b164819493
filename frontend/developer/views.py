"""The developer's workbench: what one brings, where it is tried, and how that goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.packages import states
from appstore.packages.models import Package
from core.accounts import access
from core.accounts.models import Organisation
from core.errors import BreakwaterError
from developer.sandbox import services
from developer.sandbox.models import TestDeployment
from frontend import tenancy
from frontend.forms import PortalForm
from frontend.page import page, told
from frontend.values.yaml_field import ValuesField
from mecm.nodes.models import Node
from mecm.trials.sandbox import Provider

#: Packages that are looked through for the list of applications; releases that each shows; tests in the list.
NEWEST, RELEASES, TESTS = 120, 4, 10
#: What may be tried: what has passed its check, published or not, and was not set aside.
_FIT = (states.CHECKED, states.IN_REVIEW, states.PUBLISHED, states.DEPRECATED)
_NEEDS = "certification.run"


@dataclass
class Application:
    """What one brings under one name, the newest first."""

    name: str
    provider: str
    newest: list[Package]
    more: int = 0


class StartForm(PortalForm):
    """What is tried where."""

    package = forms.ChoiceField(label=gettext_lazy("Package"))
    node = forms.ChoiceField(label=gettext_lazy("Sandbox"))
    minutes = forms.IntegerField(label=gettext_lazy("Minutes"), min_value=1, initial=15)
    values = ValuesField(label=gettext_lazy("Values of the chart"))

    def __init__(self, *args: Any, packages: list[Package], nodes: list[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["package"].choices = [(str(each.pk), str(each)) for each in packages]  # type: ignore[attr-defined]
        taken, away = gettext("taken"), gettext("does not answer")
        self.fields["node"].choices = [  # type: ignore[attr-defined]
            (
                each["id"],
                each["name"] + (f" ({away})" if each["state"] != "online" else "" if each["free"] else f" ({taken})"),
            )
            for each in nodes
        ]
        most = settings.SANDBOX_MINUTES
        self.fields["minutes"].validators.append(MaxValueValidator(most))
        self.fields["minutes"].widget.attrs["max"] = most
        self.fields["minutes"].help_text = gettext("Then it is removed; at most %(most)d.") % {"most": most}
        self.fields["values"].widget.attrs["rows"] = 4


@page
def workbench(request: HttpRequest) -> HttpResponse:
    """Show one's applications and test deployments; a POST starts one."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    actor.require("packages.read", organisation)
    assert organisation is not None
    may_try = actor.may(_NEEDS, organisation.pk)
    if request.method == "POST":
        actor.require(_NEEDS, organisation)
    rows = list(
        Package.objects.filter(organisation=organisation, origin="")
        .defer("descriptor", "findings", "signature", "description", "notes")
        .order_by("-created_at")[:NEWEST]
    )
    nodes = Provider().nodes(organisation.pk) if may_try else []
    fit = [each for each in rows if each.state in _FIT and each.chart_sha256]
    wanted = {"package": request.GET.get("package", ""), "minutes": min(15, settings.SANDBOX_MINUTES)}
    form, status = StartForm(packages=fit, nodes=nodes, initial=wanted), 200
    if request.method == "POST":
        form, status = StartForm(request.POST, packages=fit, nodes=nodes), 400
        if form.is_valid():
            try:
                made = _started(request, organisation, form.cleaned_data)
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect("frontend:sandbox-test", made.pk)
    tests = TestDeployment.objects.filter(organisation=organisation).select_related("trial__package", "trial__node")
    context = {
        "section": "develop",
        "applications": _applications(rows),
        "nodes": nodes,
        "fit": fit,
        "form": form,
        "may_try": may_try,
        "tests": list(tests[:TESTS]) if may_try else [],
    }
    return render(request, "frontend/developer/workbench.html", context, status=status)


def _started(request: HttpRequest, organisation: Organisation, wanted: dict[str, Any]) -> TestDeployment:
    actor = tenancy.actor_of(request)
    return services.start(
        actor=actor,
        organisation=organisation,
        node=access.get(Node.objects.all(), actor, _NEEDS, wanted["node"]),
        package=access.get(Package.objects.all(), actor, _NEEDS, wanted["package"]),
        minutes=wanted["minutes"],
        values=wanted["values"],
    )


def _applications(rows: list[Package]) -> list[Application]:
    """Return packages by application, in the order of their newest ones; what has no name yet stands alone."""
    found: dict[Any, Application] = {}
    for row in rows:
        key = (row.provider, row.name) if row.name else row.pk
        app = found.setdefault(key, Application(row.name or row.filename, row.provider, []))
        if len(app.newest) < RELEASES:
            app.newest.append(row)
        else:
            app.more += 1
    return list(found.values())


def _get(request: HttpRequest, pk: Any) -> TestDeployment:
    rows = TestDeployment.objects.select_related("organisation", "trial__package", "trial__node", "trial__requested_by")
    return access.get(rows, tenancy.actor_of(request), _NEEDS, pk)


@require_GET
@page
def test(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show how a test deployment goes."""
    found = _get(request, pk)
    services.watch(found)
    return render(request, "frontend/developer/test.html", _facts(found))


@require_GET
@page
def test_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part that changes."""
    found = _get(request, pk)
    services.watch(found)
    return render(request, "frontend/developer/test_live.html", _facts(found))


@require_POST
@page
def prolong(request: HttpRequest, pk: Any) -> HttpResponse:
    """Give it another quarter of an hour from now."""
    found = _get(request, pk)
    with told(request, gettext("It has more time now.")):
        services.prolong(found, minutes=min(15, settings.SANDBOX_MINUTES), actor=tenancy.actor_of(request))
    return redirect("frontend:sandbox-test", pk)


@require_POST
@page
def end(request: HttpRequest, pk: Any) -> HttpResponse:
    """Remove it from the node."""
    found = _get(request, pk)
    with told(request, gettext("It is being removed from the node.")):
        services.end(found, actor=tenancy.actor_of(request))
    return redirect("frontend:sandbox-test", pk)


def _facts(found: TestDeployment) -> dict[str, Any]:
    mep = found.seen.get("mep") or {}
    return {
        "section": "develop",
        "test": found,
        "package": found.trial.package,
        "node": found.trial.node,
        "instance": found.seen.get("state") or {},
        "mep": mep,
        "logs": "\n".join(str(line) for line in found.seen.get("logs") or []),
        "left": found.left(),
    }
