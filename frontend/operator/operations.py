"""Operations: long work with its progress and errors, to cancel and to ask for again."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from appstore.packages.models import Package
from core.accounts import access
from core.errors import Denied
from core.operations import services
from core.operations.models import Operation
from frontend import tables, tenancy
from frontend.page import page, paged, told
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.rollouts.models import Rollout

#: What an operation's target leads to.
PAGES = {
    "package": "frontend:package",
    "node": "frontend:node",
    "deployment": "frontend:deployment",
    "rollout": "frontend:rollout",
}


@require_GET
@page
def operations_page(request: HttpRequest) -> HttpResponse:
    """List long work, newest first."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("operations.read"):
        raise Denied(_("Your roles do not show you operations."))
    state = request.GET.get("state", "")
    rows = access.scoped(Operation.objects.all(), actor, "operations.read")
    if state in Operation.State.values:
        rows = rows.filter(state=state)
    found = paged(request, rows, table=tables.OPERATIONS)
    names = _names([row.target for row in found])
    for row in found:
        row.link = _page_of(row.target)  # type: ignore[attr-defined]
        row.about = names.get(row.target, row.target)  # type: ignore[attr-defined]
        row.may_write = actor.may("operations.write", row.organisation_id)  # type: ignore[attr-defined]
    context = {"section": "operations", "rows": found, "state_wanted": state, "states": Operation.State.values}
    fragment = "frontend/operator/operations_live.html" if request.htmx else "frontend/operator/operations.html"  # type: ignore[attr-defined]
    return render(request, fragment, context)


@require_POST
@page
def cancel(request: HttpRequest, pk: Any) -> HttpResponse:
    """Stop work that has not ended."""
    actor = tenancy.actor_of(request)
    operation = access.get(Operation.objects.all(), actor, "operations.write", pk)
    with told(request, _("%s is being cancelled.") % operation.kind):
        services.cancel(operation, actor=actor)
    return redirect("frontend:operations")


@require_POST
@page
def retry(request: HttpRequest, pk: Any) -> HttpResponse:
    """Ask for failed work again."""
    actor = tenancy.actor_of(request)
    operation = access.get(Operation.objects.all(), actor, "operations.write", pk)
    with told(request, _("%s is asked for again.") % operation.kind):
        services.retry(operation, actor=actor)
    return redirect("frontend:operations")


def _names(targets: list[str]) -> dict[str, str]:
    """Return what people call the targets, in one query for each kind of object."""
    keys: dict[str, set[str]] = {kind: set() for kind in PAGES}
    for kind, key in (target.split(":", 1) for target in targets if ":" in target):
        if kind in keys:
            keys[kind].add(key)
    columns = {
        "package": ("name", "version", "filename"),
        "node": ("name",),
        "deployment": ("name",),
        "rollout": ("title",),
    }
    found: dict[str, str] = {}
    for kind, model in (("package", Package), ("node", Node), ("deployment", Deployment), ("rollout", Rollout)):
        if keys[kind]:
            for pk, name, *more in model.objects.filter(pk__in=keys[kind]).values_list("pk", *columns[kind]):
                found[f"{kind}:{pk}"] = f"{name} {more[0]}" if name and more else name or more[-1]
    return found


def _page_of(target: str) -> str:
    kind, _colon, key = target.partition(":")
    try:
        return reverse(PAGES[kind], args=[key])
    except (KeyError, NoReverseMatch):
        return ""
