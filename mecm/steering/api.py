"""Rules of nodes and deployments over HTTP, and the packet tester."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.errors import Missing
from core.http import ApiView
from core.words import say
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from mecm.steering import checking, judging, services, table
from mecm.steering.models import KINDS, TRAFFIC, RuleSet
from mecm.steering.serializers import NewRuleIn, PacketIn, RuleIn, RuleOut, RulesOut, VerdictOut

DEPLOYMENTS = Deployment.objects.ordinary().select_related("node", "package").defer(*table.HEAVY)
KIND = OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=list(KINDS), description="of which rules")


class NodeRules(ApiView):
    """The rules of one kind on a node."""

    permission_required = "nodes.read"

    @extend_schema(operation_id="nodes_rules_list", parameters=[KIND], responses=RulesOut)
    def get(self, request: Request, pk: UUID, kind: str) -> Response:
        """List the rules of a node in the order in which they decide: those wished for, and those it reported."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        told = table.told_by(node.pk)
        held = table.on_node(node).visible_to(self.actor)
        return Response(_list(table.lines(told, held, _kind(kind)), told, node, None))


class DeploymentRules(ApiView):
    """The rules of one kind of a deployment."""

    permission_required = {"GET": "deployments.read", "POST": services.PERMISSION}

    @extend_schema(operation_id="deployments_rules_list", parameters=[KIND], responses=RulesOut)
    def get(self, request: Request, pk: UUID, kind: str) -> Response:
        """List the rules of a deployed application."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        told = table.told_by(found.node_id)
        generation = RuleSet.objects.filter(pk=found.pk).values_list("generation", flat=True).first() or 0
        rows = table.lines(told, [found], _kind(kind), strangers=False)
        return Response(_list(rows, told, found.node, generation))

    @extend_schema(parameters=[KIND], request=NewRuleIn, responses={202: RuleOut})
    def post(self, request: Request, pk: UUID, kind: str) -> Response:
        """Wish for a rule that the package does not have."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        wanted = NewRuleIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        rule_id = asked.pop("id")
        services.add_rule(found, _kind(kind), rule_id, actor=self.actor, **asked)
        return _accepted(found, _kind(kind), rule_id)


class DeploymentRule(ApiView):
    """One rule of a deployment."""

    permission_required = {
        "GET": "deployments.read", "PATCH": services.PERMISSION, "DELETE": services.PERMISSION,
    }  # fmt: skip

    @extend_schema(parameters=[KIND], responses=RuleOut)
    def get(self, request: Request, pk: UUID, kind: str, rule: str) -> Response:
        """Return the rule as it is wished, and what the node made of it."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        return Response(_one(found, _kind(kind), rule))

    @extend_schema(parameters=[KIND], request=RuleIn, responses={202: RuleOut})
    def patch(self, request: Request, pk: UUID, kind: str, rule: str) -> Response:
        """Change what a rule says, switch it on or off, or both."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        wanted = RuleIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.set_rule(found, _kind(kind), rule, actor=self.actor, **wanted.validated_data)
        return _accepted(found, _kind(kind), rule)

    @extend_schema(parameters=[KIND], responses={204: None})
    def delete(self, request: Request, pk: UUID, kind: str, rule: str) -> Response:
        """Take away a rule that was added here; one of the package is switched off or reset instead."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        services.remove_rule(found, _kind(kind), rule, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ResetRule(ApiView):
    """A rule given back to its package."""

    permission_required = services.PERMISSION

    @extend_schema(parameters=[KIND], request=None, responses={202: RulesOut})
    def post(self, request: Request, pk: UUID, kind: str, rule: str) -> Response:
        """Let a rule be as the package says again; a wish that was lost is forgotten. Answers the rules that there are."""
        found = access.get(DEPLOYMENTS, self.actor, self.permission, pk)
        services.reset_rule(found, _kind(kind), rule, actor=self.actor)
        told = table.told_by(found.node_id)
        rows = table.lines(told, [found], _kind(kind), strangers=False)
        return Response(_list(rows, told, found.node, found.rule_set.generation), status=status.HTTP_202_ACCEPTED)


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


def _kind(text: str) -> str:
    if text not in KINDS:
        raise Missing(
            say("There are rules for {kinds}, not for {text}", kinds=" and ".join(KINDS), text=repr(text[:40]))
        )
    return text


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
        raise Missing(say("{name} has no {kind} rule {rule_id}", name=found.name, kind=kind, rule_id=repr(rule_id)))
    return dict(RuleOut(line).data)


def _accepted(found: Deployment, kind: str, rule_id: str) -> Response:
    told = table.told_by(found.node_id)
    line = table.one(told, found, kind, rule_id)
    return Response(dict(RuleOut(line).data), status=status.HTTP_202_ACCEPTED)
