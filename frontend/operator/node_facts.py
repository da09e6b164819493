"""What a node's page shows, read in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from core.accounts.access import Actor
from core.operations.models import Operation
from mecm.deployments.models import Deployment
from mecm.edge.models import NodeSync, ReportedObject
from mecm.nodes.models import Node

MOST = 200
MEP_PARTS = ("services", "apps", "dns_rules", "traffic_rules", "subscriptions", "alarms")


@dataclass(frozen=True)
class Use:
    """One resource of a node: how much is taken of how much; a total of 0 is "not known"."""

    name: str
    kind: str
    taken: int
    total: int

    @property
    def percent(self) -> int:
        """Return how full it is, at most 100."""
        return min(100, round(100 * self.taken / self.total)) if self.total else 0

    @property
    def look(self) -> str:
        """Return the look of its bar."""
        return "bad" if self.percent >= 90 else "warn" if self.percent >= 75 else ""


def node_facts(node: Node, actor: Actor) -> dict[str, Any]:
    """Return the template context of one node: use, deployments, MEP as last reported, recent work."""
    held = node.deployments.present()
    taken = held.aggregate(cpu=Sum("cpu_millis"), memory=Sum("memory_bytes"), storage=Sum("storage_bytes"))
    # A node's deployments may be of other tenants some day: show those that the person may see.
    deployments = Deployment.objects.visible_to(actor).present().filter(node=node)
    reported = ReportedObject.objects.filter(node=node, kind="mep", key="state").first()
    sync = NodeSync.objects.filter(node=node).first()
    return {
        "node": node,
        "use": [
            Use("CPU", "cpu", taken["cpu"] or 0, node.cpu_millis),
            Use(_("Memory"), "size", taken["memory"] or 0, node.memory_bytes),
            Use(_("Storage"), "size", taken["storage"] or 0, node.storage_bytes),
        ],
        "deployments": list(deployments.select_related("package")[:MOST]),
        "sync": sync,
        "behind": sync.last_rev - sync.acked_rev if sync else 0,
        "mep": mep_state(reported),
        "mep_reported_at": reported.reported_at if reported else None,
        "operations": list(Operation.objects.about(f"node:{node.pk}")[:5]),
    }


def to_copy(request: HttpRequest, node: Node) -> list[tuple[str, str, str]]:
    """Return what people put into tickets and commands: a name, words, and the text; what is not known is left out.

    What the page shows as short words (state, engine, place) can be copied there, and would stand here a second time.
    """
    joined = _("joined on %(when)s UTC") % {"when": f"{node.enrolled_at:%Y-%m-%d %H:%M}"} if node.enrolled_at else ""
    rows = [
        ("id", _("Node id"), str(node.pk)),
        ("name", _("Name"), f"{node.organisation.slug}/{node.name}"),
        ("address", _("This page"), request.build_absolute_uri(reverse("frontend:node", args=[node.pk]))),
        ("join", _("Join"), joined or (_("not joined yet") if node.link == Node.Link.AGENT else "")),
        ("mep", _("MEC platform"), node.mep_url),
        ("command", _("On the command line"), f"breakwater nodes show {node.name}"),
    ]
    return [row for row in rows if row[2]]


def mep_state(reported: ReportedObject | None) -> dict[str, Any]:
    """Return what a MEP reported: its lists, and `user_plane`; shown, never trusted to have our shape."""
    status = reported.status if reported and isinstance(reported.status, dict) else {}
    plane = status.get("user_plane")
    lists = {
        part: [item for item in status.get(part, []) if isinstance(item, dict)][:MOST]
        if isinstance(status.get(part), list)
        else []
        for part in MEP_PARTS
    }
    rules = [{**rule, "dstInterface": _listed(rule.get("dstInterface"))} for rule in lists["traffic_rules"]]
    return {**lists, "traffic_rules": rules, "user_plane": plane if isinstance(plane, dict) else {}}


def _listed(targets: Any) -> list[Any]:
    # MEC 011's OpenAPI files have one object where its text has a list; a MEP answers one for one.
    return targets if isinstance(targets, list) else [targets] if isinstance(targets, dict) else []
