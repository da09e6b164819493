"""What operators want of the rules of a deployed application, and what its node made of it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.mecrules import RuleState

TRAFFIC, DNS = "traffic", "dns"
KINDS = (TRAFFIC, DNS)
#: The member that names a rule of each kind in MEC 011.
ID_OF = {TRAFFIC: "trafficRuleId", DNS: "dnsRuleId"}
#: The member of an application descriptor that holds the rules of each kind (MEC 010-2, 6.2.1.2).
DESCRIBED_AS = {TRAFFIC: "appTrafficRule", DNS: "appDNSRule"}


class RuleSet(models.Model):
    """The wish for the rules of one deployment: a generation of its own, so that changing a rule restarts nothing."""

    class State(models.TextChoices):
        """What the node has said about the present generation."""

        NONE = ""
        PENDING = "pending"
        WAITING = "waiting", "the application is not on the node yet"
        APPLIED = "applied"
        REFUSED = "refused", "some rules could not be heeded"
        FAILED = "failed"

    deployment = models.OneToOneField(
        "deployments.Deployment", on_delete=models.CASCADE, primary_key=True, related_name="rule_set"
    )
    generation = models.PositiveIntegerField(default=0)
    observed_generation = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices, blank=True, default=State.NONE)
    message = models.CharField(max_length=500, blank=True)
    outcomes = models.JSONField(default=list, blank=True, help_text="of each rule: kind, id, outcome, reason")
    reported_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(observed_generation__lte=F("generation")), name="rule_set_observes_no_future_wish"
            ),
        ]

    def __str__(self) -> str:
        return f"rules of {self.deployment_id} at {self.generation}"


class RuleWish(models.Model):
    """What an operator wants of one rule: another content, a state, or a rule that the package does not have."""

    rule_set = models.ForeignKey(RuleSet, on_delete=models.CASCADE, related_name="wishes")
    kind = models.CharField(max_length=7, choices=[(TRAFFIC, TRAFFIC), (DNS, DNS)])
    rule_id = models.CharField(max_length=255)
    rule = models.JSONField(null=True, help_text="the members of MEC 011; null: as the package says")
    state = models.CharField(max_length=8, choices=RuleState.choices(), blank=True, help_text="empty: follows the app")
    made = models.BooleanField(default=False, help_text="the operator added this rule")
    base = models.JSONField(null=True, help_text="what the package said when the content was changed")
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["kind", "rule_id"]
        constraints = [
            models.UniqueConstraint(fields=["rule_set", "kind", "rule_id"], name="one_wish_per_rule"),
            models.CheckConstraint(condition=Q(made=False) | Q(rule__isnull=False), name="an_added_rule_has_a_content"),
            models.CheckConstraint(condition=Q(rule__isnull=False) | ~Q(state=""), name="a_rule_wish_wishes_something"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} rule {self.rule_id}"
