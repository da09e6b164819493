"""The shapes of rules in our API."""

from __future__ import annotations

import ipaddress
from typing import Any

from rest_framework import serializers

from core.errors import BreakwaterError
from core.words import say
from mecm.steering.judging import Reported, fate
from upf_adapter import flows


class RuleOut(serializers.Serializer[Any]):
    """One rule: as it is wished, where it comes from, and what the node made of it."""

    id = serializers.CharField(source="rule_id")
    app = serializers.CharField()
    app_instance_id = serializers.CharField(source="instance")
    deployment = serializers.UUIDField(source="deployment.pk", default=None, allow_null=True)
    source = serializers.ChoiceField(  # type: ignore[assignment]  # DRF's fields have a member of this name
        ["package", "changed", "added", "lost", "node"],
        help_text="`lost`: changed here, but the present release has no such rule; `node`: made on the node",
    )
    rule = serializers.JSONField(help_text="the members of MEC 011 as they are wished")
    package_rule = serializers.JSONField(source="own", allow_null=True, help_text="what the package says")
    wished_state = serializers.CharField(help_text="ACTIVE, INACTIVE, or empty: it follows from the application")
    state = serializers.CharField(help_text="on the node; empty when it has no such rule")
    enforcement = serializers.CharField(help_text="in-force, pending, refused or withdrawn")
    outcome = serializers.CharField(help_text="of the wish: applied, pending, refused, lost, failed; empty without one")
    reason = serializers.CharField()
    packets = serializers.IntegerField(allow_null=True)
    octets = serializers.IntegerField(allow_null=True)


class RulesOut(serializers.Serializer[Any]):
    """Rules in the order in which they decide."""

    count = serializers.IntegerField()
    reported_at = serializers.DateTimeField(allow_null=True, help_text="when the node last told")
    generation = serializers.IntegerField(allow_null=True, help_text="of the wish of one deployment; null for a node")
    unsupported = serializers.CharField(help_text="why rules cannot be changed from here; empty when they can")
    results = RuleOut(many=True)


class RuleIn(serializers.Serializer[Any]):
    """A change; what is left out stays as it is."""

    rule = serializers.JSONField(required=False, help_text="TrafficRule or DnsRule of MEC 011, without its id")
    state = serializers.ChoiceField(
        ["ACTIVE", "INACTIVE", ""], required=False, help_text="empty: it follows from the application"
    )
    expected = serializers.IntegerField(
        required=False, min_value=0, help_text="the generation that was read; 412 when it changed meanwhile"
    )


class NewRuleIn(RuleIn):
    """A rule that the package does not have."""

    id = serializers.CharField(max_length=255)
    rule = serializers.JSONField(help_text="TrafficRule or DnsRule of MEC 011, without its id")


class DraftIn(serializers.Serializer[Any]):
    """A rule that is tried before it is wished for."""

    deployment = serializers.UUIDField()
    id = serializers.CharField(max_length=255, required=False, default="draft")
    rule = serializers.JSONField(help_text="TrafficRule of MEC 011, without its id")


class PacketIn(serializers.Serializer[Any]):
    """A packet of a UE, after its tunnel header was taken off."""

    src = serializers.IPAddressField()
    dst = serializers.IPAddressField()
    protocol = serializers.CharField(max_length=20, required=False, default="UDP", help_text="a name or a number")
    src_port = serializers.IntegerField(min_value=0, max_value=65535, required=False, default=0)
    dst_port = serializers.IntegerField(min_value=0, max_value=65535, required=False, default=0)
    dscp = serializers.IntegerField(min_value=0, max_value=63, required=False, default=0)
    draft = DraftIn(required=False)

    def validate_protocol(self, value: str) -> int:
        """Return the protocol's number."""
        try:
            return flows.protocol(value.strip())
        except BreakwaterError as error:
            raise serializers.ValidationError(error.detail) from error

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Both ends are of one family."""
        src, dst = ipaddress.ip_address(attrs["src"]), ipaddress.ip_address(attrs["dst"])
        if src.version != dst.version:
            raise serializers.ValidationError(
                {"dst": say("is no IPv{version} address as the source is", version=src.version)}
            )
        return {**attrs, "src": src, "dst": dst}

    def packet(self) -> flows.Packet:
        """Return the packet; ports count only where the protocol has some."""
        found = self.validated_data
        ported = found["protocol"] in flows.WITH_PORTS
        return flows.Packet(
            found["src"],
            found["dst"],
            found["protocol"],
            found["src_port"] if ported else 0,
            found["dst_port"] if ported else 0,
            found["dscp"],
        )


class DeciderOut(serializers.Serializer[Any]):
    """A rule that has to do with a packet."""

    id = serializers.CharField(source="name")
    app = serializers.CharField()
    priority = serializers.IntegerField(source="rule.priority")
    action = serializers.CharField(source="rule.action")
    enforcement = serializers.CharField()


class VerdictOut(serializers.Serializer[Any]):
    """What happens to a packet: now, and once every active rule is in force."""

    decides = DeciderOut(source="now", allow_null=True)
    fate = serializers.SerializerMethodField()
    should_decide = DeciderOut(source="wished", allow_null=True)
    later = DeciderOut(many=True)
    sleeping = DeciderOut(many=True)
    simulated = serializers.BooleanField(default=False)

    def get_fate(self, verdict: Any) -> str:
        """What happens to it, in words."""
        now: Reported | None = verdict.now
        return fate(now)
