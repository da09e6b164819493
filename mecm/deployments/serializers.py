"""The shapes of deployments in our API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mecm.deployments import secrecy, secret_values
from mecm.deployments.models import Deployment, DeploymentRevision

_VALUES = f"values of the chart; `{secrecy.HIDDEN}` stands for a secret and, given back, keeps it as it is"


class NodeRef(serializers.Serializer[Any]):
    """A node, named."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.CharField()
    engine = serializers.CharField()
    link = serializers.CharField()


class PackageRef(serializers.Serializer[Any]):
    """A package, named."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    version = serializers.CharField()
    provider = serializers.CharField()
    state = serializers.CharField(
        help_text="of the release now: deprecated, yanked, quarantined and recalled are marks"
    )
    state_reason = serializers.CharField()
    successor = serializers.UUIDField(source="successor_id", allow_null=True)


class DeploymentIn(serializers.Serializer[Any]):
    """A new deployment."""

    package = serializers.UUIDField()
    node = serializers.UUIDField()
    name = serializers.CharField(max_length=53, help_text="the release name, a DNS label")
    values = serializers.JSONField(required=False, default=dict, help_text="values of the chart")
    organisation = serializers.CharField(max_length=60, required=False, help_text="slug or id")


class DeploymentChange(serializers.Serializer[Any]):
    """What an upgrade changes; `values` replace the present ones, but a secret that is given as the mark is kept."""

    package = serializers.UUIDField(required=False)
    values = serializers.JSONField(required=False, help_text=_VALUES)


class RollbackIn(serializers.Serializer[Any]):
    """Which generation to go back to; by default the last one that was ready and differs."""

    revision = serializers.IntegerField(min_value=1, max_value=2**31 - 1, required=False, allow_null=True)


class PlanIn(serializers.Serializer[Any]):
    """A question: where would this fit?"""

    package = serializers.UUIDField()
    nodes = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=200)
    name = serializers.CharField(max_length=53, required=False, default="plan")
    values = serializers.JSONField(required=False, default=dict)
    organisation = serializers.CharField(max_length=60, required=False, help_text="slug or id")


class ReasonOut(serializers.Serializer[Any]):
    """One reason, for people and for programs."""

    code = serializers.CharField()
    message = serializers.CharField()


class VerdictOut(serializers.Serializer[Any]):
    """Whether it fits on one node."""

    node = NodeRef()
    fits = serializers.BooleanField()
    reasons = ReasonOut(many=True)
    remarks = ReasonOut(many=True)


class PlanOut(serializers.Serializer[Any]):
    """Where it fits, and why not elsewhere."""

    fits = serializers.IntegerField(help_text="on how many of the nodes it fits")
    results = VerdictOut(many=True)


class DeploymentBrief(serializers.ModelSerializer[Deployment]):
    """A deployment in a list."""

    organisation = serializers.CharField(source="organisation.slug", read_only=True)
    node = NodeRef()
    package = PackageRef()

    class Meta:
        model = Deployment
        fields = [
            "id",
            "organisation",
            "node",
            "package",
            "name",
            "namespace",
            "generation",
            "observed_generation",
            "wish",
            "state",
            "reason",
            "message",
            "app_instance_id",
            "cpu_millis",
            "memory_bytes",
            "storage_bytes",
            "created_at",
            "updated_at",
            "reported_at",
            "removed_at",
            "abandoned_at",
        ]


class DeploymentOut(DeploymentBrief):
    """A deployment with all that was observed. Secrets in `values` are answered as the mark."""

    values = serializers.SerializerMethodField(help_text=_VALUES)
    abandoned_by = serializers.CharField(source="abandoned_by.username", default=None, allow_null=True, read_only=True)

    class Meta(DeploymentBrief.Meta):
        fields = [*DeploymentBrief.Meta.fields, "abandoned_by", "values", "revision", "workloads", "endpoints"]

    @extend_schema_field(serializers.DictField())
    def get_values(self, deployment: Deployment) -> Any:
        """Without secrets."""
        return secret_values.shown_of(deployment)


class RevisionOut(serializers.ModelSerializer[DeploymentRevision]):
    """One generation of a deployment. `schemas` in the context say which of its values are secret."""

    package = PackageRef()
    values = serializers.SerializerMethodField(help_text=_VALUES)
    requested_by = serializers.CharField(source="requested_by.username", default=None, read_only=True)

    class Meta:
        model = DeploymentRevision
        fields = [
            "generation",
            "action",
            "package",
            "values",
            "restores",
            "outcome",
            "message",
            "requested_by",
            "created_at",
            "settled_at",
        ]

    @extend_schema_field(serializers.DictField())
    def get_values(self, revision: DeploymentRevision) -> Any:
        """Without secrets."""
        return secrecy.hidden(revision.values, *self.context["schemas"])


class DeploymentPage(serializers.Serializer[Any]):
    """One page of deployments."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = DeploymentBrief(many=True)


class RevisionPage(serializers.Serializer[Any]):
    """One page of generations."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = RevisionOut(many=True)


class EventsOut(serializers.Serializer[Any]):
    """What happened to a deployment, newest first."""

    events = serializers.ListField(child=serializers.DictField())
    reported_at = serializers.DateTimeField(allow_null=True)


class LogsOut(serializers.Serializer[Any]):
    """What its containers wrote, oldest first; an agent goes on sending until `watching_until` (epoch seconds)."""

    lines = serializers.ListField(child=serializers.DictField())
    reported_at = serializers.DateTimeField(allow_null=True)
    watching_until = serializers.FloatField(allow_null=True)
