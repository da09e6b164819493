"""The packet tester: which rule of a node decides about a packet, and what happens to it then."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from core.accounts import access
from frontend import tables, tenancy
from frontend.page import page, paged
from frontend.steering.forms import PacketForm
from mecm.nodes.models import Node
from mecm.steering import judging as rules


@require_GET
@page
def try_packet(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the rules that a node reported, by the order in which they decide, and the verdict about a packet."""
    node = access.get(Node.objects.select_related("organisation"), tenancy.actor_of(request), "nodes.read", pk)
    steering = rules.of_node(node.pk)
    form = PacketForm(request.GET) if "src" in request.GET else PacketForm()
    status, tested = 200, {}
    if form.is_bound:
        if form.is_valid():
            verdict = steering.judge(form.packet())
            tested = {"verdict": verdict, "fate": rules.fate(verdict.now), "fate_wished": rules.fate(verdict.wished)}
        else:
            status = 400
    names = {each.rule.id: each for each in steering.rules}
    context = {
        "section": "nodes",
        "node": node,
        "form": form,
        "steering": steering,
        "rows": paged(request, steering.rules, 50, table=tables.TRAFFIC_RULES),
        "oddities": [
            {
                "kind": each.kind,
                "rule": names[each.rule.id],
                "others": [names[one.id] for one in each.others],
                "example": each.example,
            }
            for each in steering.findings
        ],
        **tested,
    }
    return render(request, "frontend/steering/packet.html", context, status=status)
