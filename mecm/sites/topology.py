"""What a site is made of, from what its nodes reported: radio side, user plane, MEP, applications, services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.accounts.access import Actor
from mecm.deployments.models import Deployment
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node
from mecm.sites.models import Site, SiteLink

#: Parts of each kind that are drawn; of more, only how many. Nodes that are listed at most.
NODES, APPS, SERVICES = 12, 6, 8
LISTED = 200
#: Kinds from which traffic comes.
_ACCESS = (Site.Kind.RADIO, Site.Kind.UE_POOL)


@dataclass(frozen=True)
class Part:
    """One thing of the picture; `look` is ok, warn, bad, info or quiet, and `word` says the same."""

    name: str
    more: str = ""
    look: str = "quiet"
    word: str = ""
    site: Any = None
    node: Any = None
    deployment: Any = None
    #: Application instance: the one that it is, or that offers it.
    instance: str = ""


@dataclass(frozen=True)
class Stand:
    """A node with the user plane before it and what runs on it."""

    plane: Part
    steering: Part
    mep: Part
    apps: list[Part]
    services: list[Part]


@dataclass(frozen=True)
class Topology:
    """A site from the radio side to the services."""

    access: list[Part]
    stands: list[Stand]
    here: list[Node]
    left_out: int = 0
    links: list[SiteLink] = field(default_factory=list)


def of(site: Site, actor: Actor) -> Topology:
    """Return the topology round a site, in four queries."""
    ends = SiteLink.objects.select_related("source", "target")
    links = list((ends.filter(source=site) | ends.filter(target=site))[:200])
    radio = site.kind in _ACCESS
    served = [link.target_id for link in links if link.source_id == site.pk] if radio else []
    placed = Node.objects.filter(placement__site_id__in=[site.pk, *served]).select_related("placement")
    known = list(placed.defer("kubeconfig", "mep_token", "mep_ca", "facts")[:LISTED])
    nodes = known[:NODES]
    here = [node for node in known if node.placement.site_id == site.pk]
    told = {
        row.node_id: row.status if isinstance(row.status, dict) else {}
        for row in ReportedObject.objects.filter(node__in=nodes, kind="mep", key="state")
    }
    held: dict[Any, list[Deployment]] = {}
    for each in Deployment.objects.visible_to(actor).present().filter(node__in=nodes).select_related("package"):
        held.setdefault(each.node_id, []).append(each)
    stands = [_stand(node, told.get(node.pk), held.get(node.pk, [])) for node in nodes]
    return Topology(_access(site, links, radio), stands, here, len(known) - len(nodes), links)


def _access(site: Site, links: list[SiteLink], radio: bool) -> list[Part]:
    if radio:
        reach = [link for link in links if link.source_id == site.pk]
        worst = max(reach, key=lambda link: _WORST.index(link.state), default=None)
        look, word = _of_link(worst.state) if worst else ("quiet", _("no link is told"))
        return [Part(site.name, str(site.get_kind_display()), look, word, site=site.pk)]
    found = []
    for link in links:
        if link.target_id == site.pk:
            look, word = _of_link(link.state)
            source = link.source
            found.append(Part(source.name, str(source.get_kind_display()), look, word, site=source.pk))
    return found


_WORST = ["up", "unknown", "degraded", "down"]


def _of_link(state: str) -> tuple[str, str]:
    look = {"up": "ok", "degraded": "warn", "down": "bad"}.get(state, "quiet")
    return look, _("link {state}").format(state=SiteLink.State(state).label)


def _stand(node: Node, told: Mapping[str, Any] | None, deployments: list[Deployment]) -> Stand:
    state = node.state
    looks = {"online": "ok", "offline": "bad", "enrolled": "info", "new": "quiet"}
    words = {
        "online": _("online"),
        "offline": _("offline"),
        "enrolled": _("not seen yet"),
        "new": _("not enrolled"),
    }
    mep = Part(node.name, f"MEP · {node.engine}", looks[state], words[state], node=node.pk)
    # What an offline node said last is history, not the present.
    fresh = state == Node.State.ONLINE
    return Stand(
        plane=_plane(told or {}, fresh),
        steering=_steering(told or {}, fresh),
        mep=mep,
        apps=_shortened([_app(each, fresh) for each in deployments], APPS),
        services=_shortened([_service(each, fresh) for each in _dicts(told or {}, "services")], SERVICES),
    )


def _plane(told: Mapping[str, Any], fresh: bool) -> Part:
    plane = told.get("user_plane")
    adapter = str(plane.get("adapter", ""))[:40] if isinstance(plane, Mapping) else ""
    if not adapter:
        return Part("UPF", _("nothing reported"), "quiet", _("not known"))
    away = any(str(alarm.get("subject", "")) == f"user-plane={adapter}" for alarm in _dicts(told, "alarms"))
    if not fresh:
        return Part("UPF", adapter, "quiet", _("not known now"))
    if away:
        return Part("UPF", adapter, "bad", _("does not answer"))
    if isinstance(plane, Mapping) and plane.get("simulated") is True:
        return Part("UPF", adapter, "warn", _("simulated"))
    return Part("UPF", adapter, "ok", _("in service"))


def _steering(told: Mapping[str, Any], fresh: bool) -> Part:
    rules = [rule for rule in _dicts(told, "traffic_rules") if rule.get("state") == "ACTIVE"]
    refused = sum(1 for rule in rules if rule.get("enforcement") == "refused")
    pending = sum(1 for rule in rules if rule.get("enforcement") == "pending")
    name = ngettext("{n} rule", "{n} rules", len(rules)).format(n=len(rules))
    if not fresh:
        return Part(name, "", "quiet", _("not known now"))
    if refused:
        return Part(name, "", "bad", _("{n} not in force").format(n=refused))
    if pending:
        return Part(name, "", "warn", _("{n} not in force yet").format(n=pending))
    return Part(name, "", "ok" if rules else "quiet", _("steered") if rules else _("nothing steered"))


def _app(deployment: Deployment, fresh: bool) -> Part:
    looks = {"ready": "ok", "failed": "bad"}
    words = {"ready": _("ready"), "failed": _("failed"), "removing": _("being removed")}
    look = looks.get(deployment.state, "info") if fresh else "quiet"
    word = words.get(deployment.state, _("in progress")) if fresh else _("not known now")
    version = str(deployment.package.version)
    about = f"{deployment.package.name} {version}"
    instance = str(deployment.app_instance_id)
    return Part(deployment.name, about, look, word, deployment=deployment.pk, instance=instance)


def _service(told: Mapping[str, Any], fresh: bool) -> Part:
    state = str(told.get("state", ""))[:20]
    look = {"ACTIVE": "ok", "SUSPENDED": "warn"}.get(state, "quiet") if fresh else "quiet"
    words = {"ACTIVE": _("active"), "SUSPENDED": _("suspended"), "INACTIVE": _("inactive")}
    word = words.get(state, state) if fresh else _("not known now")
    name, version = str(told.get("serName", ""))[:60], str(told.get("version", ""))[:20]
    return Part(name, version, look, word, instance=str(told.get("appInstanceId", ""))[:60])


def _dicts(told: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = told.get(name)
    return [each for each in found[:500] if isinstance(each, Mapping)] if isinstance(found, list) else []


def _shortened(parts: list[Part], most: int) -> list[Part]:
    if len(parts) <= most:
        return parts
    return [*parts[: most - 1], Part(_("and {n} more").format(n=len(parts) - most + 1))]
