"""Rules of nodes and deployments over HTTP, and the packet tester."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.errors import Missing
from core.http import ApiView
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.steering import checking, judging, services, table
from mecm.steering.models import DNS, TRAFFIC, RuleSet
from mecm.steering.serializers import NewRuleIn, PacketIn, RuleIn, RuleOut, RulesOut, VerdictOut

DEPLOYMENTS = Deployment.objects.ordinary().select_related("node", "package").defer(*table.HEAVY)


class NodeRules(ApiView):
    """The rules of one kind on a node."""

    permission_required = "nodes.read"
    kind = TRAFFIC

    @extend_schema(responses=RulesOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """List the rules of a node in the order in which they decide: those wished for, and those it reported."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        told = table.told_by(node.pk)
        held = table.on_node(node).visible_to(self.actor)
        return Response(_list(table.lines(told, held, self.kind), told, node, None))


class NodeDnsRules(NodeRules):
    """The DNS rules of a node."""

    kind = DNS


class DeploymentRules(ApiView):
    """The rules of one kind of a deployment."""

    permission_required = {"GET": "deployments.read", "POST": services.PERMISSION}
    kind = TRAFFIC

    @extend_schema(responses=RulesOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """List the rules of a deployed application."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        return Response(self.listed(found))

    @extend_schema(request=NewRuleIn, responses={202: RuleOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Wish for a rule that the package does not have."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        wanted = NewRuleIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        rule_id = asked.pop("id")
        services.add_rule(found, self.kind, rule_id, actor=self.actor, **asked)
        return _accepted(found, self.kind, rule_id)

    def listed(self, found: Deployment) -> dict[str, Any]:
        """Return the list with the generation of its wish."""
        told = table.told_by(found.node_id)
        generation = RuleSet.objects.filter(pk=found.pk).values_list("generation", flat=True).first() or 0
        return _list(table.lines(told, [found], self.kind, strangers=False), told, found.node, generation)


class DeploymentDnsRules(DeploymentRules):
    """The DNS rules of a deployment."""

    kind = DNS


class DeploymentRule(ApiView):
    """One rule of a deployment."""

    permission_required = {
        "GET": "deployments.read", "PATCH": services.PERMISSION, "DELETE": services.PERMISSION,
    }  # fmt: skip
    kind = TRAFFIC

    @extend_schema(responses=RuleOut)
    def get(self, request: Request, pk: UUID, rule: str) -> Response:
        """Return the rule as it is wished, and what the node made of it."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        return Response(_one(found, self.kind, rule))

    @extend_schema(request=RuleIn, responses={202: RuleOut})
    def patch(self, request: Request, pk: UUID, rule: str) -> Response:
        """Change what a rule says, switch it on or off, or both."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        wanted = RuleIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.set_rule(found, self.kind, rule, actor=self.actor, **wanted.validated_data)
        return _accepted(found, self.kind, rule)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID, rule: str) -> Response:
        """Take away a rule that was added here; one of the package is switched off or reset instead."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        services.remove_rule(found, self.kind, rule, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeploymentDnsRule(DeploymentRule):
    """One DNS rule of a deployment."""

    kind = DNS


class ResetRule(ApiView):
    """A rule given back to its package."""

    permission_required = services.PERMISSION
    kind = TRAFFIC

    @extend_schema(request=None, responses={202: RulesOut})
    def post(self, request: Request, pk: UUID, rule: str) -> Response:
        """Let a rule be as the package says again; a wish that was lost is forgotten. Answers the rules that there are."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        services.reset_rule(found, self.kind, rule, actor=self.actor)
        told = table.told_by(found.node_id)
        rows = table.lines(told, [found], self.kind, strangers=False)
        return Response(_list(rows, told, found.node, found.rule_set.generation), status=status.HTTP_202_ACCEPTED)


class ResetDnsRule(ResetRule):
    """A DNS rule given back to its package."""

    kind = DNS


class PacketTest(ApiView):
    """The packet tester."""

    permission_required = "nodes.read"

    @extend_schema(request=PacketIn, responses=VerdictOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Say which rule of a node decides about a packet; with `draft` as if that rule were in force. Nothing is sent."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        asked = PacketIn(data=request.data)
        asked.is_valid(raise_exception=True)
        steering = judging.of_node(node.pk)
        if draft := asked.validated_data.get("draft"):
            rows = DEPLOYMENTS.filter(node=node)
            found = access.get(rows, self.actor, "deployments.read", draft["deployment"])
            rule = checking.as_rule(f"{found.app_instance_id}/{draft['id']}", checking.content(TRAFFIC, draft["rule"]))
            checking.expressible(rule, services.user_plane(node.pk))
            steering = judging.drafted(steering, rule, name=draft["id"], app=found.name).steering
        verdict = steering.judge(asked.packet())
        return Response({**VerdictOut(verdict).data, "simulated": steering.simulated})


def _list(rows: list[table.Line], told: table.Told, node: Node, generation: int | None) -> dict[str, Any]:
    whole = {
        "count": len(rows),
        "reported_at": told.at,
        "generation": generation,
        "unsupported": services.unsupported(node),
        "results": rows,
    }
    return dict(RulesOut(whole).data)


def _one(found: Deployment, kind: str, rule_id: str) -> dict[str, Any]:
    line = table.one(table.told_by(found.node_id), found, kind, rule_id)
    if line is None:
        raise Missing(f"{found.name} has no {kind} rule {rule_id!r}")
    return dict(RuleOut(line).data)


def _accepted(found: Deployment, kind: str, rule_id: str) -> Response:
    told = table.told_by(found.node_id)
    line = table.one(told, found, kind, rule_id)
    return Response(dict(RuleOut(line).data), status=status.HTTP_202_ACCEPTED)
