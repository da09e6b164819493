"""The rules of a node or of a deployment: the list with states and counters, and what is done to one of them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.accounts import access
from core.errors import Conflict, Missing, Stale
from frontend import tables, tenancy
from frontend.deeds import asked_again
from frontend.page import page, paged, told, words_of
from frontend.steering import words
from frontend.steering.forms import GivingBackForm
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.steering import services, table
from mecm.steering.models import DNS, KINDS, TRAFFIC

DEPLOYMENTS = Deployment.objects.ordinary().select_related("node", "package", "organisation").defer(*table.HEAVY)
#: value of ?show= -> which rules
SHOWS: dict[str, Callable[[table.Line], bool]] = {
    "changed": lambda line: line.source in (table.CHANGED, table.ADDED, table.LOST),
    "trouble": lambda line: line.outcome in ("refused", "lost", "failed") or line.enforcement == "refused",
    "inactive": lambda line: line.state == "INACTIVE",
}


@require_GET
@page
def node_rules(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the rules of a node: those of its deployments, and whatever else it reported."""
    actor = tenancy.actor_of(request)
    node = access.get(Node.objects.select_related("organisation"), actor, "nodes.read", pk)
    held = list(table.on_node(node).visible_to(actor))
    may = {each.organisation_id for each in held if actor.may(services.PERMISSION, each.organisation_id)}
    may = may if actor.may(services.PERMISSION, node.organisation_id) else set()
    return _list(request, node, held, may, None)


@require_GET
@page
def deployment_rules(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the rules of a deployed application."""
    actor = tenancy.actor_of(request)
    found = access.get(DEPLOYMENTS, actor, "deployments.read", pk)
    allowed = actor.may(services.PERMISSION, found.organisation_id)
    allowed = allowed and actor.may(services.PERMISSION, found.node.organisation_id)
    allowed = allowed and found.wish == Deployment.Wish.PRESENT
    return _list(request, found.node, [found], {found.organisation_id} if allowed else set(), found)


def _list(
    request: HttpRequest, node: Node, held: list[Deployment], may: set[Any], deployment: Deployment | None
) -> HttpResponse:
    kind = request.GET.get("kind", TRAFFIC)
    kind = kind if kind in KINDS else TRAFFIC
    said = table.told_by(node.pk)
    lines = table.lines(said, held, kind, strangers=deployment is None)
    show, sought = request.GET.get("show", ""), words_of(request)
    shown = [each for each in lines if show not in SHOWS or SHOWS[show](each)]
    if sought:
        low = sought.lower()
        shown = [
            each for each in shown if low in f"{each.rule_id} {each.app} {each.rule.get('domainName', '')}".lower()
        ]
    rows = paged(request, shown, 50, table=tables.RULES)
    unsupported = services.unsupported(node)
    kept = request.GET.copy()
    kept.pop("page", None)
    context = {
        "section": "nodes" if deployment is None else "deployments",
        "node": node,
        "deployment": deployment,
        "kind": kind,
        "rows": rows,
        "lines": [_dressed(each, may, unsupported) for each in rows],
        "whole": len(lines),
        "told": said,
        "show": show,
        "q": sought,
        "kept": kept.urlencode(),
        "unsupported": unsupported,
        "targets": [] if unsupported else [each for each in held if each.organisation_id in may],
        "dns": kind == DNS,
    }
    return render(request, "frontend/steering/rules.html", context)


def _dressed(line: table.Line, may: set[Any], unsupported: str) -> dict[str, Any]:
    """Return a rule with its sentence and what may be done to it."""
    own = line.deployment is not None and line.deployment.organisation_id in may and not unsupported
    switchable = own and line.source != table.LOST and line.source != table.NODE
    return {
        "line": line,
        "sentence": words.sentence(line.kind, {**line.rule, "scope": line.scope}, line.app),
        "edit": switchable,
        "switch_to": ("ACTIVE" if _off(line) else "INACTIVE") if switchable else "",
        "reset": words.giving_back(line) if own and line.source in (table.CHANGED, table.LOST) else None,
        "remove": own and line.source == table.ADDED,
    }


def _off(line: table.Line) -> bool:
    return (line.wished_state or line.state) == "INACTIVE"


def _back(request: HttpRequest, found: Deployment, kind: str) -> str:
    where = "node-rules" if request.POST.get("back") == "node" else "deployment-rules"
    return f"{reverse(f'frontend:{where}', args=[found.node_id if where == 'node-rules' else found.pk])}?kind={kind}"


def _deed(verb: Callable[[HttpRequest, Deployment, str, str], str]) -> Callable[..., Any]:
    @require_POST
    @page
    def act(request: HttpRequest, pk: Any, kind: str, rule: str) -> HttpResponse:
        found = access.get(DEPLOYMENTS, tenancy.actor_of(request), services.PERMISSION, pk)
        if kind not in KINDS:
            raise Missing(_("There are no rules of this kind."))
        with told(request, _("The wish is on its way to the node.")):
            verb(request, found, kind, rule)
        return redirect(_back(request, found, kind))

    act.__doc__ = verb.__doc__
    return act


@_deed
def switch(request: HttpRequest, found: Deployment, kind: str, rule: str) -> str:
    """Switch a rule on or off."""
    state = request.POST.get("state", "")
    services.set_rule(found, kind, rule, actor=tenancy.actor_of(request), state=state)
    return rule


@require_POST
@page
def reset(request: HttpRequest, pk: Any, kind: str, rule: str) -> HttpResponseBase:
    """Let a rule be as the package says; asked again, with what would follow now, when somebody else was faster."""
    actor = tenancy.actor_of(request)
    found = access.get(DEPLOYMENTS, actor, services.PERMISSION, pk)
    if kind not in KINDS:
        raise Missing(_("There are no rules of this kind."))
    line = table.one(table.told_by(found.node_id), found, kind, rule)
    if line is None:
        raise Missing(_("There is no such rule, or it was not made from here."))
    back, form, question = _back(request, found, kind), GivingBackForm(request.POST), words.giving_back(line)
    if not form.is_valid():
        return asked_again(request, form, question, back=back)
    try:
        services.reset_rule(found, kind, rule, actor=actor, expected=form.cleaned_data["generation"])
    except Stale as error:
        # The question was about what is no more: the next yes is to what is shown now.
        held = line.wish.rule_set.generation if line.wish else None
        form = GivingBackForm({"back": request.POST.get("back", ""), "generation": held})
        form.is_valid()
        form.blame(error)
        return asked_again(request, form, question, back=back, status=error.status)
    except Conflict as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, _("The wish is on its way to the node."))
    return redirect(back)


@_deed
def remove(request: HttpRequest, found: Deployment, kind: str, rule: str) -> str:
    """Take away a rule that was added here."""
    services.remove_rule(found, kind, rule, actor=tenancy.actor_of(request))
    return rule
