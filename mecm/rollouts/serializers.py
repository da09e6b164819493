"""The shapes of rollouts in our API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mecm.deployments import secret_values
from mecm.deployments.serializers import NodeRef, PackageRef
from mecm.rollouts import services
from mecm.rollouts.models import LONGEST, MOST_PARALLEL, Event, Place, Rollout


class WhatIn(serializers.Serializer[Any]):
    """Which release, for which nodes, in which waves."""

    package = serializers.UUIDField()
    organisation = serializers.CharField(max_length=60, required=False, help_text="slug or id")
    name = serializers.CharField(max_length=53, required=False, default="", allow_blank=True, help_text="release name")
    target = serializers.JSONField(
        required=False,
        default=dict,
        help_text='{"kind": "nodes" or "deployments", "labels": {}, "area": [west, south, east, north], "ids": [], '
        '"nodes": [], "q": "", "release": id}; everything given must hold, nothing given is all of the organisation',
    )
    values = serializers.JSONField(
        required=False, default=None, allow_null=True,
        help_text="left out: deployments keep their own; each keeps its own secret where the mark of one is given",
    )  # fmt: skip
    waves = serializers.ListField(
        child=serializers.CharField(max_length=10), required=False, default=list, max_length=50,
        help_text='sizes such as "1", "10%" and "rest"',
    )  # fmt: skip


class RolloutIn(WhatIn):
    """A new rollout. With `dry_run` nothing is written and the plan is told."""

    title = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    max_parallel = serializers.IntegerField(min_value=1, max_value=MOST_PARALLEL, required=False, default=10)
    pause = serializers.IntegerField(
        min_value=0, max_value=LONGEST, required=False, default=0, allow_null=True,
        help_text="seconds between waves; null waits for a person",
    )  # fmt: skip
    stop_over = serializers.IntegerField(
        min_value=0, max_value=20_000, required=False, default=0, allow_null=True,
        help_text="stop when more than this many fail in a wave",
    )  # fmt: skip
    stop_percent = serializers.IntegerField(
        min_value=0, max_value=100, required=False, default=None, allow_null=True,
        help_text="stop when more than this share of a wave fails",
    )  # fmt: skip
    node_timeout = serializers.IntegerField(min_value=10, max_value=LONGEST, required=False, default=600)
    on_stop = serializers.ChoiceField(Rollout.OnStop.values, required=False, default="hold")
    start = serializers.BooleanField(required=False, default=False, help_text="begin at once")
    dry_run = serializers.BooleanField(required=False, default=False)


class AbortIn(serializers.Serializer[Any]):
    """How to end it."""

    rollback = serializers.BooleanField(default=False, help_text="bring back what it has changed")


class CountsOut(serializers.Serializer[Any]):
    """How many places are how far."""

    size = serializers.IntegerField()
    waiting = serializers.IntegerField()
    going = serializers.IntegerField()
    ready = serializers.IntegerField()
    failed = serializers.IntegerField()
    excused = serializers.IntegerField()
    skipped = serializers.IntegerField()
    returning = serializers.IntegerField()
    returned = serializers.IntegerField()
    stuck = serializers.IntegerField()


class RolloutBrief(serializers.ModelSerializer[Rollout]):
    """A rollout in a list."""

    package = PackageRef()
    organisation = serializers.CharField(source="organisation.slug")

    class Meta:
        model = Rollout
        fields = [
            "id", "title", "name", "organisation", "package", "state", "goal", "why", "wave", "wave_count",
            "created_at", "started_at", "finished_at",
        ]  # fmt: skip


class RolloutOut(RolloutBrief):
    """A rollout with its rules and how far each wave is."""

    counts = serializers.SerializerMethodField()
    values = serializers.SerializerMethodField(help_text="null: each keeps its own; a secret is answered as the mark")

    class Meta(RolloutBrief.Meta):
        fields = [
            *RolloutBrief.Meta.fields, "target", "values", "waves", "max_parallel", "pause", "stop_over",
            "stop_percent", "node_timeout", "on_stop", "wave_ready_at", "counts",
        ]  # fmt: skip

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_values(self, rollout: Rollout) -> Any:
        """Without secrets."""
        return secret_values.shown(rollout.values, rollout.package)

    @extend_schema_field(serializers.DictField(child=CountsOut()))
    def get_counts(self, rollout: Rollout) -> Any:
        """By wave; wave 0 is where nothing is to be done."""
        return {str(wave): CountsOut(each).data for wave, each in services.counts(rollout).items()}


class PlaceOut(serializers.ModelSerializer[Place]):
    """One node of a rollout."""

    node = NodeRef()
    deployment_state = serializers.CharField(source="deployment.state", default="")

    class Meta:
        model = Place
        fields = [
            "node", "name", "deployment", "deployment_state", "wave", "action", "state", "excused", "reason",
            "message", "remarks", "before", "generation", "attempts", "began_at", "settled_at",
        ]  # fmt: skip


class PlannedOut(serializers.Serializer[Any]):
    """One node of a plan that is not written down."""

    node = NodeRef(source="preview.node")
    deployment = serializers.UUIDField(source="preview.deployment.pk", default=None, allow_null=True)
    name = serializers.CharField(source="preview.name")
    action = serializers.ChoiceField(Place.Action.values, source="preview.action")
    wave = serializers.IntegerField()
    reason = serializers.CharField()
    message = serializers.CharField()
    remarks = serializers.ListField(child=serializers.CharField())


class SketchOut(serializers.Serializer[Any]):
    """A plan: the numbers are of all nodes, the list shows the first of them."""

    counts = serializers.DictField(child=serializers.IntegerField())
    waves = serializers.ListField(child=serializers.IntegerField())
    shown = serializers.IntegerField()
    total = serializers.IntegerField()
    results = PlannedOut(many=True)


class EventOut(serializers.ModelSerializer[Event]):
    """Something that happened."""

    class Meta:
        model = Event
        fields = ["at", "actor", "what", "text"]
