"""The shapes of nodes in our API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mecm.nodes import kubeconfig
from mecm.nodes.models import Node


class CapacityFields(serializers.Serializer[Any]):
    """What placement counts with; null is "as the node reports", 0 is "not known"."""

    cpu_millis = serializers.IntegerField(min_value=0, max_value=2**50, required=False, allow_null=True)
    memory_bytes = serializers.IntegerField(min_value=0, max_value=2**50, required=False, allow_null=True)
    storage_bytes = serializers.IntegerField(min_value=0, max_value=2**50, required=False, allow_null=True)


class NodeChange(CapacityFields):
    """What may be changed of a node."""

    name = serializers.CharField(max_length=63)
    labels = serializers.DictField(child=serializers.CharField(max_length=100, allow_blank=True), required=False)
    latitude = serializers.FloatField(min_value=-90, max_value=90, required=False, allow_null=True)
    longitude = serializers.FloatField(min_value=-180, max_value=180, required=False, allow_null=True)


class NodeIn(NodeChange):
    """A new node."""

    organisation = serializers.CharField(max_length=60, required=False, help_text="slug or id")
    engine = serializers.CharField(max_length=40)
    link = serializers.ChoiceField(choices=Node.Link.choices, default=Node.Link.AGENT)


class KubeconfigIn(serializers.Serializer[Any]):
    """A kubeconfig with inline credentials."""

    kubeconfig = serializers.CharField(max_length=kubeconfig.LARGEST, write_only=True, trim_whitespace=False)


class MepIn(serializers.Serializer[Any]):
    """Where a MEP is managed."""

    url = serializers.CharField(max_length=300)
    token = serializers.CharField(max_length=4096, write_only=True)
    ca = serializers.CharField(max_length=64 * 1024, required=False, allow_blank=True, default="")


class TenantRef(serializers.Serializer[Any]):
    """An organisation, named."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()


class NodeOut(serializers.ModelSerializer[Node]):
    """A node. Of secrets it says only whether they are there."""

    organisation = TenantRef()
    state = serializers.ChoiceField(choices=Node.State.choices)
    has_kubeconfig = serializers.SerializerMethodField()
    has_mep = serializers.SerializerMethodField()
    architecture = serializers.SerializerMethodField()
    isolation = serializers.SerializerMethodField()
    limits = serializers.SerializerMethodField()
    allocated = serializers.SerializerMethodField()
    deployments = serializers.IntegerField(source="deployed")

    class Meta:
        model = Node
        fields = [
            "id",
            "organisation",
            "name",
            "labels",
            "latitude",
            "longitude",
            "engine",
            "engine_version",
            "link",
            "state",
            "simulated",
            "cpu_millis",
            "memory_bytes",
            "storage_bytes",
            "capacity_fixed",
            "allocated",
            "architecture",
            "isolation",
            "limits",
            "deployments",
            "has_kubeconfig",
            "has_mep",
            "mep_url",
            "enrolled_at",
            "last_seen_at",
            "agent_version",
            "created_at",
            "updated_at",
        ]

    def get_has_kubeconfig(self, node: Node) -> bool:
        """Whether a kubeconfig was imported."""
        return bool(node.kubeconfig)

    def get_has_mep(self, node: Node) -> bool:
        """Whether a MEP is known: an agent always brings one."""
        return node.link == Node.Link.AGENT or bool(node.mep_url)

    def get_architecture(self, node: Node) -> str:
        """What the node said its processor is."""
        return str(node.facts.get("architecture", ""))

    def get_isolation(self, node: Node) -> dict[str, str]:
        """Whether the networks of tenants are kept apart (enforced, not-enforced, unknown), and by what."""
        told: dict[str, str] = node.facts.get("isolation") or {"state": "unknown", "by": ""}
        return told

    def get_limits(self, node: Node) -> dict[str, int]:
        """What a container gets there that declares no limits, and the most that may be had; 0 is none."""
        told: dict[str, int] = node.facts.get("limits") or {}
        return told

    def get_allocated(self, node: Node) -> dict[str, int]:
        """What the present deployments ask for in all."""
        return {
            "cpu_millis": getattr(node, "cpu_taken", 0),
            "memory_bytes": getattr(node, "memory_taken", 0),
            "storage_bytes": getattr(node, "storage_taken", 0),
        }


class NodePage(serializers.Serializer[Any]):
    """One page of nodes."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = NodeOut(many=True)


class OperationRef(serializers.Serializer[Any]):
    """The operation that does what was asked for."""

    operation = serializers.UUIDField()


class OrphanOut(serializers.Serializer[Any]):
    """A release in a node's runtime that no wish is about."""

    namespace = serializers.CharField()
    name = serializers.CharField()
    state = serializers.CharField(
        help_text="empty: nobody asked for its removal; pending, progressing, kept, failed; removed: the node said so"
    )
    message = serializers.CharField()
    told_at = serializers.DateTimeField(allow_null=True, help_text="when that state was told")


class EnrolmentTokenOut(serializers.Serializer[Any]):
    """A join string."""

    join = serializers.CharField()
    expires_at = serializers.DateTimeField()


class MepStateOut(serializers.Serializer[Any]):
    """What a MEP last reported of itself, in the member names of MEC 011."""

    reported_at = serializers.DateTimeField(allow_null=True)
    apps = serializers.ListField(child=serializers.DictField())
    services = serializers.ListField(child=serializers.DictField())
    subscriptions = serializers.ListField(child=serializers.DictField())
    dns_rules = serializers.ListField(child=serializers.DictField())
    traffic_rules = serializers.ListField(child=serializers.DictField())
