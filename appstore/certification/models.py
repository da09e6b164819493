"""Suites, profiles, runs with their results, evidence, certificates, and the labs whose certificates count here."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from appstore.certification.contract import Outcome
from core.errors import Conflict
from core.sealing.fields import SealedJSONField
from core.words import say

if TYPE_CHECKING:
    from core.accounts.access import Actor

#: What a certificate may say, from the least to the most.
LEVELS = ("basic", "standard", "telco")


class Suite(models.Model):
    """A set of checks in a version. It never changes: another set is another version.

    `checks` is a list of what each check said about itself when the suite was made, with its options as they are used
    here; `digest` is the SHA-256 over names, versions, source digests and options.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    title = models.CharField(max_length=200)
    checks = models.JSONField(default=list)
    digest = models.CharField(max_length=64)
    builtin = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "-version"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="a_suite_has_each_version_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new suite; `Conflict` for one that is there, since what certificates name never changes."""
        if not self._state.adding:
            raise Conflict(say("A suite never changes; make its next version."))
        super().save(*args, **kwargs)


class Profile(models.Model):
    """What an organisation demands: which suites run, which levels they give, and which level a deed needs.

    `suites` are names; the newest version of each runs. `levels` says for each level which suites must hold
    (`suites`), which findings stand in the way (`gates`: error or warning) and which checks are left out (`without`).
    `options` are by check. The profile of the store's operator holds for everybody, beside one's own.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.OneToOneField(
        "accounts.Organisation", on_delete=models.CASCADE, related_name="certification_profile"
    )
    suites = models.JSONField(default=list)
    levels = models.JSONField(default=dict)
    options = models.JSONField(default=dict)
    #: Values with which charts are rendered for the checks.
    values = SealedJSONField(default=dict)
    publish_level = models.CharField(max_length=10, blank=True)
    deploy_level = models.CharField(max_length=10, blank=True)
    import_level = models.CharField(max_length=10, blank=True)
    valid_days = models.PositiveIntegerField(default=365)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(publish_level__in=["", *LEVELS])
                & Q(deploy_level__in=["", *LEVELS])
                & Q(import_level__in=["", *LEVELS]),
                name="profile_levels_are_known",
            ),
            models.CheckConstraint(
                condition=Q(valid_days__gte=1, valid_days__lte=3660), name="certificates_end_within_ten_years"
            ),
        ]

    def __str__(self) -> str:
        return f"profile of {self.organisation_id}"


class RunQuerySet(models.QuerySet["Run"]):
    """Questions about runs."""

    def visible_to(self, actor: Actor) -> RunQuerySet:
        """Runs of one's own organisations."""
        return self.filter(organisation_id__in=actor.organisations("packages.read"))

    def open(self) -> RunQuerySet:
        """Runs that a worker or a person still has to do something for."""
        return self.filter(state__in=[Run.State.PENDING, Run.State.RUNNING, Run.State.WAITING])


class Run(models.Model):
    """One certification of one package.

    `wanted` is the plan: name, version and digest of each suite; `profile` a copy of what was demanded; `parts` the
    digest of each part of the package; `environment` and `walls` where and how the checks ran.
    """

    class State(models.TextChoices):
        """Where a run is."""

        PENDING = "pending"
        RUNNING = "running"
        #: Somebody has to decide manual checks.
        WAITING = "waiting"
        FINISHED = "finished"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    package = models.ForeignKey("packages.Package", on_delete=models.CASCADE, related_name="certification_runs")
    #: What was certified, also when the package row is checked again meanwhile.
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    wanted = models.JSONField(default=list)
    profile = SealedJSONField(default=dict)
    node_id = models.CharField(max_length=64, blank=True)
    parts = models.JSONField(default=dict)
    environment = models.JSONField(default=dict)
    walls = models.JSONField(default=dict)
    verdict = models.CharField(max_length=10, blank=True)
    level = models.CharField(max_length=10, blank=True)
    levels = models.JSONField(default=list)
    reasons = models.JSONField(default=list)
    problem = models.CharField(max_length=500, blank=True)
    fresh = models.BooleanField(default=False, help_text="run every check, also those whose result would still hold")
    requested_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [
            models.Index(fields=["package", "-created_at"], name="run_by_package"),
            models.Index(fields=["organisation", "-created_at"], name="run_by_organisation"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(level__in=["", *LEVELS]), name="run_level_is_known"),
            models.CheckConstraint(condition=Q(verdict__in=["", "passed", "failed"]), name="run_verdict_is_known"),
        ]

    def __str__(self) -> str:
        return f"run {str(self.pk)[:8]}"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (self.State.FINISHED, self.State.FAILED, self.State.CANCELLED)


class CheckResult(models.Model):
    """One check of a run: waiting, under way, or with its outcome. `described` is its entry in the suite."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="results")
    check_name = models.CharField(max_length=100)
    position = models.PositiveIntegerField(default=0)
    described = models.JSONField(default=dict)
    options = models.JSONField(default=dict)
    suites = models.JSONField(default=list)
    #: Empty until it has ended.
    outcome = models.CharField(max_length=20, blank=True, choices=[(str(each), str(each)) for each in Outcome])
    findings = models.JSONField(default=list)
    seconds = models.FloatField(default=0)
    note = models.CharField(max_length=1200, blank=True)
    trace = models.TextField(blank=True)
    percent = models.PositiveSmallIntegerField(default=0)
    doing = models.CharField(max_length=200, blank=True)
    carried_from = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    answers = models.JSONField(default=dict)
    decided_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["run", "position", "check_name"]
        constraints = [models.UniqueConstraint(fields=["run", "check_name"], name="a_check_is_once_in_a_run")]

    def __str__(self) -> str:
        return f"{self.check_name}: {self.outcome or 'not ended'}"

    @property
    def organisation_id(self) -> Any:
        """The organisation of its run."""
        return self.run.organisation_id


class Evidence(models.Model):
    """A file that a person gave for the answer to a question of a manual check."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    result = models.ForeignKey(CheckResult, on_delete=models.CASCADE, related_name="evidence")
    field = models.CharField(max_length=100)
    filename = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    blob = models.ForeignKey("packages.Blob", on_delete=models.PROTECT, related_name="evidence")
    size = models.PositiveBigIntegerField()
    uploaded_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["uploaded_at", "id"]

    def __str__(self) -> str:
        return self.filename


class CertificateQuerySet(models.QuerySet["Certificate"]):
    """Questions about certificates."""

    def valid(self) -> CertificateQuerySet:
        """Those that count now: begun, not ended, not revoked, and of a lab that is trusted."""
        now = timezone.now()
        alive = TrustedLab.objects.trusted().values("key_id")
        return self.filter(Q(lab_key__in=alive) | Q(own=True), revoked_at=None, not_before__lte=now, not_after__gt=now)


class Certificate(models.Model):
    """A signed statement that a package has passed: one of our lab, or one that came with a package from a partner."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    run = models.OneToOneField(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="certificate")
    package = models.ForeignKey(
        "packages.Package", on_delete=models.SET_NULL, null=True, blank=True, related_name="certificates"
    )
    own = models.BooleanField(default=True)
    lab = models.CharField(max_length=200, blank=True)
    lab_key = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64, db_index=True)
    level = models.CharField(max_length=10)
    levels = models.JSONField(default=list)
    envelope = models.JSONField()
    #: SHA-256 of the payload, so that the same certificate is kept once.
    digest = models.CharField(max_length=64)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    issued_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=500, blank=True)

    objects = CertificateQuerySet.as_manager()

    class Meta:
        ordering = ["-issued_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "digest"], name="a_certificate_is_kept_once"),
            models.CheckConstraint(condition=Q(level__in=LEVELS), name="a_certificate_has_a_level"),
        ]

    def __str__(self) -> str:
        return f"{self.level} certificate {str(self.pk)[:8]}"

    @property
    def standing(self) -> str:
        """`valid`, `revoked`, `expired` or `not yet valid`; says nothing about whether its lab is trusted."""
        now = timezone.now()
        if self.revoked_at is not None:
            return "revoked"
        if self.not_after <= now:
            return "expired"
        return "valid" if self.not_before <= now else "not yet valid"


class SignedRevocations(models.Model):
    """The newest list of revocations of one lab, as it was signed; that of our own lab has an empty `lab_key`."""

    lab_key = models.CharField(max_length=64, primary_key=True)
    serial = models.PositiveBigIntegerField(default=0)
    envelope = models.JSONField(default=dict)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"revocations {self.serial} of {self.lab_key[:16] or 'this lab'}"

    @property
    def stale(self) -> bool:
        """Whether a newer list should have come by now; what this one says stays in force."""
        return self.expires_at <= timezone.now()


class TrustedLabQuerySet(models.QuerySet["TrustedLab"]):
    """Questions about labs."""

    def trusted(self) -> TrustedLabQuerySet:
        """Those whose certificates count now."""
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


class TrustedLab(models.Model):
    """A lab of somebody else whose certificates count in this store; only its public key is needed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    owner = models.CharField(max_length=200, blank=True)
    public_pem = models.TextField()
    key_id = models.CharField(max_length=64, unique=True)
    added_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=500, blank=True)

    #: Set by `revoking.with_lists`.
    held: SignedRevocations | None = None

    objects = TrustedLabQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name
