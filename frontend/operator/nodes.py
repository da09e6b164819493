"""Nodes: list, register, one node with its use, its link, its MEP and its deployments."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from core.accounts import access
from core.errors import BreakwaterError, Denied
from frontend import live, tables, tenancy
from frontend.operator.node_facts import node_facts, to_copy
from frontend.operator.node_forms import KubeconfigForm, MepForm, NodeForm, PlaceForm, SandboxForm
from frontend.page import page, paged, told, words_of
from mecm.edge import services as edge
from mecm.nodes import orphans, services
from mecm.nodes.models import Node
from mecm.trials import services as trials
from mecm.trials.models import Sandbox

NODES = Node.objects.select_related("organisation")


@require_GET
@page
def nodes_page(request: HttpRequest) -> HttpResponse:
    """List the nodes that the person may see, by name."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("nodes.read"):
        raise Denied(_("Your roles do not show you nodes."))
    words = words_of(request)
    rows = NODES.visible_to(actor).with_load().defer("kubeconfig", "mep_token", "mep_ca", "facts")  # type: ignore[attr-defined]
    if words:
        rows = rows.filter(Q(name__icontains=words) | Q(organisation__name__icontains=words))
    context = {"section": "nodes", "rows": paged(request, rows, table=tables.NODES), "q": words}
    return render(request, "frontend/operator/nodes.html", context)


@page
def new_node(request: HttpRequest) -> HttpResponse:
    """Register a node in the current organisation."""
    actor, organisation = tenancy.actor_of(request), tenancy.current(request)
    actor.require("nodes.write", organisation)
    form, status = NodeForm(request.POST or None), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                node = services.register(actor=actor, organisation=organisation, **form.wanted())  # type: ignore[arg-type]
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect("frontend:node", node.pk)
    context = {"section": "nodes", "form": form}
    return render(request, "frontend/operator/node_new.html", context, status=status)


@require_GET
@page
def node_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one node."""
    return _node(request, access.get(NODES, tenancy.actor_of(request), "nodes.read", pk))


@require_GET
@page
def node_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of a node's page that changes by itself."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.read", pk)
    seen = frozenset(actor.organisations("deployments.read"))
    return live.answer(request, "frontend/operator/node_live.html", (pk, seen), lambda: node_facts(node, actor))


@page
def change_node(request: HttpRequest, pk: Any) -> HttpResponse:
    """Change name, place and labels."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    initial = {
        "name": node.name,
        "latitude": node.latitude,
        "longitude": node.longitude,
        "labels": "\n".join(f"{key}={value}" for key, value in node.labels.items()),
    }
    form, status = PlaceForm(request.POST or None, initial=initial), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                services.change(node, actor=actor, **form.wanted())
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("The node is changed."))
                return redirect("frontend:node", node.pk)
    context = {"section": "nodes", "form": form, "node": node}
    return render(request, "frontend/operator/node_new.html", context, status=status)


@require_POST
@never_cache
@page
def join_node(request: HttpRequest, pk: Any) -> HttpResponse:
    """Make a join string and show it this once."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    join, expires_at = "", None
    with told(request):
        join, expires_at = edge.join_string(node, actor=actor)
    return _node(request, node, join=join, join_expires_at=expires_at)


@require_POST
@sensitive_variables("form")
@sensitive_post_parameters("text")
@page
def import_kubeconfig(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take a kubeconfig in; it is sealed and never sent again, not even when the form is wrong."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    form = KubeconfigForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            services.import_kubeconfig(node, form.cleaned_data["text"], actor=actor)
        except BreakwaterError as error:
            form.blame(error)
        else:
            messages.success(request, _("The kubeconfig is sealed; the connection is being tested."))
            return redirect("frontend:node", node.pk)
    return _node(request, node, status=400, kubeconfig_form=form)


@require_POST
@sensitive_variables("form")
@sensitive_post_parameters("token")
@page
def set_mep(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say where the MEP of a direct node is managed."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    form = MepForm(request.POST)
    if form.is_valid():
        try:
            services.set_mep(node, actor=actor, **form.cleaned_data)
        except BreakwaterError as error:
            form.blame(error)
        else:
            messages.success(request, _("Its MEP is managed there from now on."))
            return redirect("frontend:node", node.pk)
    return _node(request, node, status=400, mep_form=form)


@require_POST
@page
def probe_node(request: HttpRequest, pk: Any) -> HttpResponse:
    """Ask for a test of the connection to a direct node."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    with told(request, _("The connection is being tested.")):
        services.probe(node, actor=actor)
    return redirect("frontend:node", node.pk)


@require_POST
@page
def revoke_node(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take the identity of a node's machine away."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    with told(request, _("The machine of %s is shut out; a new join string lets one in again.") % node.name):
        edge.revoke(node, actor=actor)
    return redirect("frontend:node", pk)


@require_POST
@page
def set_sandbox(request: HttpRequest, pk: Any) -> HttpResponse:
    """Say whether certification may try applications on a node."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    form = SandboxForm(request.POST)
    on = form.is_valid() and form.cleaned_data["on"]
    said = _("The node %s may be used for trials now.") if on else _("The node %s is used for trials no more.")
    with told(request, said % node.name):
        trials.mark_sandbox(node, on=on, actor=actor)
    return redirect("frontend:node", node.pk)


@require_POST
@page
def remove_orphan(request: HttpRequest, pk: Any, namespace: str, name: str) -> HttpResponse:
    """Ask a node to remove a release that nobody wishes for."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    with told(request, _("The node is asked to remove %s; it is gone when the node says so.") % f"{namespace}/{name}"):
        orphans.remove(node, namespace, name, actor=actor)
    return redirect("frontend:node", node.pk)


@require_POST
@page
def remove_node(request: HttpRequest, pk: Any) -> HttpResponse:
    """Forget a node that holds nothing."""
    actor = tenancy.actor_of(request)
    node = access.get(NODES, actor, "nodes.write", pk)
    with told(request, _("The node %s is gone.") % node.name):
        services.remove(node, actor=actor)
        return redirect("frontend:nodes")
    return redirect("frontend:node", pk)


def _node(request: HttpRequest, node: Node, *, status: int = 200, **more: Any) -> HttpResponse:
    actor = tenancy.actor_of(request)
    context = {
        "section": "nodes",
        "may_write": actor.may("nodes.write", node.organisation_id),
        "kubeconfig_form": KubeconfigForm(),
        "mep_form": MepForm(initial={"url": node.mep_url, "ca": node.mep_ca}),
        "orphans": orphans.of(node),
        "is_sandbox": Sandbox.objects.filter(node=node).exists(),
        **node_facts(node, actor),
        "to_copy": to_copy(request, node),
        **more,
    }
    return render(request, "frontend/operator/node.html", context, status=status)
