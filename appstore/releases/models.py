"""The life of a release: rules of the store, reviews, recalls, and the list of recalls that everybody follows."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.recalls import ACTIONS, SEVERITIES, STOP

if TYPE_CHECKING:
    from core.accounts.access import Actor


class ReleasePolicy(models.Model):
    """The rules of this store about releases; one row, of the organisation that runs the store."""

    class Review(models.TextChoices):
        """Which packages somebody must look at before they are published."""

        OFF = "off"
        CHANGES = "changes"
        ALWAYS = "always"

    organisation = models.OneToOneField(
        "accounts.Organisation", on_delete=models.CASCADE, primary_key=True, related_name="release_policy"
    )
    review = models.CharField(max_length=10, choices=Review.choices, default=Review.CHANGES)
    freeze_days = models.PositiveSmallIntegerField(
        default=14, help_text="days after publication in which notes and pictures may still be changed"
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(review__in=["off", "changes", "always"]), name="review_policy_is_known")
        ]

    def __str__(self) -> str:
        return f"review {self.review}, frozen after {self.freeze_days} days"


class ReleaseReviewQuerySet(models.QuerySet["Review"]):
    """Questions about reviews; they chain."""

    def visible_to(self, actor: Actor) -> ReleaseReviewQuerySet:
        """Reviews of the organisations in which the actor reads packages; all for reviewers of the store."""
        from appstore.packages.life import of_the_store  # apps are loaded by then

        if of_the_store(actor, "packages.review"):
            return self
        return self.filter(organisation_id__in=actor.organisations("packages.read"))

    def open(self) -> ReleaseReviewQuerySet:
        """Reviews that nobody has decided yet."""
        return self.filter(state=Review.State.OPEN)


class Review(models.Model):
    """One package that somebody looks at before it is published: why, and how it was decided.

    `reasons` is a list of `{"code", "words", "store"}`; when one of them concerns the store as a whole, only reviewers
    of the organisation that runs the store decide (`by_store`).
    """

    class State(models.TextChoices):
        """How far it got."""

        OPEN = "open"
        APPROVED = "approved"
        DECLINED = "declined"
        RETRACTED = "retracted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    package = models.ForeignKey("packages.Package", on_delete=models.CASCADE, related_name="reviews")
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    previous = models.ForeignKey("packages.Package", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    reasons = models.JSONField(default=list)
    by_store = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    submitted_by = models.ForeignKey(
        "accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    submitted_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=500, blank=True, help_text="what the reviewer said")

    objects = ReleaseReviewQuerySet.as_manager()

    class Meta:
        ordering = ["-submitted_at", "id"]
        indexes = [models.Index(fields=["state", "-submitted_at"], name="review_by_state")]
        constraints = [
            models.UniqueConstraint(fields=["package"], condition=Q(state="open"), name="one_open_review_of_a_package"),
            models.CheckConstraint(
                condition=Q(state="open") | Q(decided_at__isnull=False), name="a_decided_review_knows_when"
            ),
        ]

    def __str__(self) -> str:
        return f"review of {self.package}"


class RecallQuerySet(models.QuerySet["Recall"]):
    """Questions about recalls; they chain."""

    def active(self) -> RecallQuerySet:
        """Recalls that were not lifted."""
        return self.filter(lifted_at=None)


class Recall(models.Model):
    """One recall: why, how bad, what is to be done. Its packages are `RecalledPackage` rows.

    `origin` and `origin_ref` tell a recall that came from a partner store about packages that were fetched from there.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="recalls")
    reason = models.CharField(max_length=500)
    severity = models.CharField(max_length=10, choices=[(each, each) for each in SEVERITIES], default="high")
    advice = models.CharField(max_length=500, blank=True)
    action = models.CharField(max_length=5, choices=[(each, each) for each in ACTIONS], default=STOP)
    origin = models.CharField(max_length=64, blank=True, default="")
    origin_ref = models.CharField(max_length=64, blank=True, default="")
    serial = models.PositiveBigIntegerField(default=0, help_text="of the list that was the first to tell it")
    issued_by = models.CharField(max_length=250)
    issued_at = models.DateTimeField(default=timezone.now)
    lifted_by = models.CharField(max_length=250, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lift_reason = models.CharField(max_length=500, blank=True)

    objects = RecallQuerySet.as_manager()

    class Meta:
        ordering = ["-issued_at", "id"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="a_recall_says_why"),
            models.CheckConstraint(condition=Q(action__in=["stop", "warn"]), name="recall_action_is_known"),
            models.UniqueConstraint(
                fields=["origin", "origin_ref"], condition=~Q(origin=""), name="a_recall_of_a_partner_is_taken_once"
            ),
        ]

    def __str__(self) -> str:
        return f"recall {str(self.pk)[:8]}: {self.reason}"


class RecalledPackage(models.Model):
    """One package of a recall, by its bytes; `package` is the release of this store that has them, if any."""

    recall = models.ForeignKey(Recall, on_delete=models.CASCADE, related_name="packages")
    package = models.ForeignKey(
        "packages.Package", on_delete=models.PROTECT, null=True, blank=True, related_name="recalls"
    )
    sha256 = models.CharField(max_length=64, db_index=True)
    #: Every package with these bytes is meant, whoever has it; else this release alone.
    by_bytes = models.BooleanField(default=False)
    chart_sha256 = models.CharField(max_length=64, blank=True)
    app_d_id = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=128, blank=True)
    provider = models.CharField(max_length=128, blank=True)
    version = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["recall", "id"]
        constraints = [
            models.UniqueConstraint(fields=["recall", "sha256", "package"], name="a_recall_names_a_package_once")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip() or self.sha256[:16]


class SignedList(models.Model):
    """The newest recall list of one store, as it was signed; ours has an empty `store`.

    The row is also the lock under which a new list is made, so that no serial is given away twice.
    """

    store = models.CharField(max_length=64, primary_key=True)
    serial = models.PositiveBigIntegerField(default=0)
    envelope = models.JSONField(default=dict)
    issued_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(serial__gte=0), name="a_recall_list_counts_up")]

    def __str__(self) -> str:
        return f"recall list {self.serial} of {self.store or 'this store'}"
