"""Placement with the facts of the database: one release against one node or many, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Count, Q

from engines.contract import Compute
from mecm.deployments.models import Deployment
from mecm.deployments.placement import Allocation, NodeFacts, Placement, Requirement, place
from mecm.deployments.requirements import dns_names
from mecm.edge.models import NodeCert, ReportedObject
from mecm.nodes.models import Node

if TYPE_CHECKING:
    from collections.abc import Callable


def verdicts(
    nodes: Iterable[Node], requirement_for: Callable[[Node], Requirement], *, besides: UUID | None = None
) -> list[tuple[Node, Placement]]:
    """Return for each node whether what `requirement_for` names fits there; `besides` is a deployment not to count."""
    nodes = list(nodes)
    ids = [node.pk for node in nodes]
    taken = allocations(ids, besides=besides)
    offered, shut = services(ids), shut_out(ids)
    needed = [requirement_for(node) for node in nodes]
    named = names(node.pk for node, each in zip(nodes, needed, strict=True) if each.hosts)
    return [
        (
            node,
            place(
                each,
                facts(node, offered.get(node.pk), shut_out=node.pk in shut, names=named.get(node.pk)),
                taken.get(node.pk, ()),
            ),
        )
        for node, each in zip(nodes, needed, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Case:
    """One question of many: does this fit on that node? `besides` is the deployment that it replaces."""

    node: Node
    requirement: Requirement
    besides: UUID | None = None


def judge(cases: Iterable[Case]) -> list[Placement]:
    """Return for each case whether it fits; three queries however many, and a node may be asked about twice."""
    cases = list(cases)
    ids = list({case.node.pk for case in cases})
    held, offered, shut = _held(ids), services(ids), shut_out(ids)
    named = names(case.node.pk for case in cases if case.requirement.hosts)
    return [
        place(
            case.requirement,
            facts(case.node, offered.get(case.node.pk), shut_out=case.node.pk in shut, names=named.get(case.node.pk)),
            [each for pk, each in held.get(case.node.pk, ()) if pk != case.besides],
        )
        for case in cases
    ]


def allocations(node_ids: list[UUID], *, besides: UUID | None = None) -> dict[UUID, list[Allocation]]:
    """Return what holds a place on each node, in one query."""
    return {node_id: [each for pk, each in held if pk != besides] for node_id, held in _held(node_ids).items()}


def _held(node_ids: list[UUID]) -> dict[UUID, list[tuple[UUID, Allocation]]]:
    found: dict[UUID, list[tuple[UUID, Allocation]]] = defaultdict(list)
    # What was given up holds nothing but its name.
    rows = Deployment.objects.not_removed().filter(node_id__in=node_ids)
    for pk, node_id, name, namespace, state, cpu, memory, storage in rows.values_list(
        "pk", "node_id", "name", "namespace", "state", "cpu_millis", "memory_bytes", "storage_bytes"
    ):
        given_up = state == Deployment.State.ABANDONED
        found[node_id].append((pk, Allocation(name, namespace, Compute(cpu, memory, storage), given_up=given_up)))
    return found


def services(node_ids: list[UUID]) -> dict[UUID, frozenset[str]]:
    """Return the names of the active services on each node whose MEP has reported, in one query."""
    rows = ReportedObject.objects.filter(node_id__in=node_ids, kind="mep", key="state")
    # Of all that a MEP reports only this member travels from the database.
    return {node_id: frozenset(_active(listed)) for node_id, listed in rows.values_list("node_id", "status__services")}


def names(node_ids: Iterable[UUID]) -> dict[UUID, frozenset[tuple[str, str]]]:
    """Return namespace and domain name of each DNS rule of the applications on these nodes.

    One query, and none where no node is named: only charts that claim hosts need to know.
    """
    wanted = set(node_ids)
    if not wanted:
        return {}
    found: dict[UUID, set[tuple[str, str]]] = defaultdict(set)
    rows = Deployment.objects.not_removed().filter(node_id__in=wanted)
    for node_id, namespace, rules in rows.values_list("node_id", "namespace", "package__descriptor__appDNSRule"):
        found[node_id].update((namespace, name) for name in dns_names({"appDNSRule": rules}) if name)
    return {node_id: frozenset(listed) for node_id, listed in found.items()}


def shut_out(node_ids: list[UUID]) -> frozenset[UUID]:
    """Return the nodes that hold certificates of which every one was revoked, in one query: they must join again."""
    rows = NodeCert.objects.filter(node_id__in=node_ids).values("node_id").order_by()
    rows = rows.annotate(good=Count("pk", filter=Q(revoked_at=None))).filter(good=0)
    return frozenset(rows.values_list("node_id", flat=True))


def facts(
    node: Node,
    offered: frozenset[str] | None,
    *,
    shut_out: bool = False,
    names: frozenset[tuple[str, str]] | None = None,
) -> NodeFacts:
    """Return what placement needs to know of a node."""
    direct = node.link == Node.Link.DIRECT
    return NodeFacts(
        name=node.name,
        engine=node.engine,
        capacity=Compute(node.cpu_millis, node.memory_bytes, node.storage_bytes),
        state=node.state,
        architecture=str(node.facts.get("architecture", "")),
        reachable=not direct or node.engine != "kubernetes" or bool(node.kubeconfig),
        services=offered,
        has_mep=not direct or bool(node.mep_url),
        shut_out=shut_out and not direct,
        names=names or frozenset(),
    )


def _active(listed: Any) -> Iterable[str]:
    for service in listed if isinstance(listed, list) else []:
        known = isinstance(service, Mapping) and isinstance(service.get("serName"), str)
        if known and service.get("state", "ACTIVE") == "ACTIVE":
            yield service["serName"]
