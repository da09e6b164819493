"""Packages that were uploaded, and the files of the store that hold them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from appstore.packages import states

if TYPE_CHECKING:
    from core.accounts.access import Actor


class Blob(models.Model):
    """A file of the store, known by the SHA-256 of its content (see `blobs`)."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.sha256


class PackageQuerySet(models.QuerySet["Package"]):
    """Questions about packages; they chain."""

    def visible_to(self, actor: Actor) -> PackageQuerySet:
        """All packages of one's own organisations, and what others have published."""
        if not actor.authenticated:
            return self if actor.organisations("packages.read") else self.none()
        mine = Q(organisation_id__in=actor.organisations("packages.read"))
        return self.filter(mine | Q(state__in=states.LISTED, visibility="public"))

    def within_reach_of(self, actor: Actor) -> PackageQuerySet:
        """What the actor may look at who knows where it is: beside the visible, for reviewers of the store every
        release and everything in review, whoever's and whatever became of it."""
        from appstore.packages.life import of_the_store  # it needs the models

        if actor.authenticated and of_the_store(actor, "packages.review"):
            mine = Q(organisation_id__in=actor.organisations("packages.read"))
            return self.filter(mine | Q(state__in=(states.IN_REVIEW, *states.FINAL)))
        return self.visible_to(actor)

    def published(self) -> PackageQuerySet:
        """Releases that everybody may see and deploy."""
        return self.filter(state__in=states.LISTED, visibility="public")

    def listed(self) -> PackageQuerySet:
        """Releases that the catalogue shows to those who may see them."""
        return self.filter(state__in=states.LISTED)

    def own(self) -> PackageQuerySet:
        """What was uploaded here, not fetched from another store."""
        return self.filter(origin="")

    def matching(self, words: str) -> PackageQuerySet:
        """Packages in whose name, provider, description or file name each of the words occurs."""
        found = self
        for word in words.split()[:8]:
            found = found.filter(
                Q(name__icontains=word)
                | Q(provider__icontains=word)
                | Q(description__icontains=word)
                | Q(filename__icontains=word)
            )
        return found


class Package(models.Model):
    """One uploaded package: a draft, then checked or rejected, then perhaps a release that never changes.

    `descriptor` is an `AppDescriptor` as JSON, `findings` a list of `Finding` as JSON, `images` a list of
    `{"name", "sha256", "size"}` of the images that the package carries.
    """

    class Visibility(models.TextChoices):
        """Who may see a release, beside its own organisation."""

        PUBLIC = "public"
        ORGANISATION = "organisation"
        #: Its own organisation, and the partner stores that it was granted to (`federation.ReleaseGrant`).
        PARTNERS = "partners"

    class State(models.TextChoices):
        """Where a package is in its life."""

        DRAFT = states.DRAFT
        CHECKED = states.CHECKED
        REJECTED = states.REJECTED
        IN_REVIEW = states.IN_REVIEW
        PUBLISHED = states.PUBLISHED
        DEPRECATED = states.DEPRECATED
        YANKED = states.YANKED
        QUARANTINED = states.QUARANTINED
        RECALLED = states.RECALLED

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="packages")
    uploaded_by = models.ForeignKey(
        "accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="packages"
    )
    filename = models.CharField(max_length=200, blank=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    format = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.DRAFT)
    state_at = models.DateTimeField(null=True, blank=True, help_text="when a deed of its life led to the present state")
    state_reason = models.CharField(max_length=500, blank=True, help_text="why it is deprecated, yanked and so on")
    #: What a release that is set aside (yanked, quarantined, recalled) goes back to when that is undone.
    resumes = models.CharField(max_length=12, blank=True, default="")
    #: What those who run it should change to.
    successor = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    visibility = models.CharField(max_length=12, choices=Visibility.choices, default=Visibility.PUBLIC)
    #: The id of the store that a package was fetched from (SHA-256 of its public key); empty for our own.
    origin = models.CharField(max_length=64, blank=True, default="")
    #: The id that the package has there.
    origin_ref = models.CharField(max_length=64, blank=True, default="")
    name = models.CharField(max_length=128, blank=True)
    provider = models.CharField(max_length=128, blank=True)
    version = models.CharField(max_length=64, blank=True)
    app_d_id = models.CharField(max_length=255, blank=True)
    description = models.CharField(max_length=4000, blank=True)
    descriptor = models.JSONField(default=dict)
    findings = models.JSONField(default=list)
    signature = models.JSONField(default=dict)
    chart_sha256 = models.CharField(max_length=64, blank=True)
    images = models.JSONField(default=list)
    compute = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    notes = models.TextField(blank=True, help_text="notes of the publisher; open for a while after publication")
    #: Every file of the store that this package needs: itself, its chart, its images.
    blobs = models.ManyToManyField(Blob, related_name="packages")

    objects = PackageQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [
            models.Index(fields=["organisation", "-created_at"], name="package_by_organisation"),
            models.Index(fields=["state", "-published_at"], name="package_by_state"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "origin", "sha256"], name="the_same_bytes_are_one_package"),
            models.UniqueConstraint(
                fields=["organisation", "origin", "provider", "name", "version"],
                condition=Q(state__in=states.FINAL),
                name="a_release_is_published_once",
            ),
            models.CheckConstraint(condition=Q(state__in=states.STATES), name="package_state_is_known"),
            models.CheckConstraint(
                condition=Q(visibility__in=["public", "organisation", "partners"]), name="package_visibility_is_known"
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=False) | ~Q(state__in=states.FINAL), name="a_release_knows_its_day"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=states.FINAL) | (~Q(name="") & ~Q(version="")),
                name="a_release_has_name_and_version",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip() or self.filename or str(self.pk)

    @property
    def released(self) -> bool:
        """Whether the content is fixed for ever."""
        return self.state in states.FINAL

    @property
    def fixed(self) -> bool:
        """Whether the content stays as it is now: of a release for ever, in review until that is over."""
        return self.released or self.state == states.IN_REVIEW

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete a package that was never published; `Conflict` for a release."""
        states.after(self.state, "discard")
        return super().delete(*args, **kwargs)


class ReleaseEvent(models.Model):
    """One deed in the life of a package: what it changed, who did it, when and why. Rows are only ever added."""

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="events")
    deed = models.CharField(max_length=20)
    before = models.CharField(max_length=12, help_text="state, or visibility when that was changed")
    after = models.CharField(max_length=12)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=250)
    by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    facts = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["package", "-at"], name="event_by_package")]

    def __str__(self) -> str:
        return f"{self.deed} of {self.package_id}"


# Django finds the models of an app by this module; they stand in a file of their own.
from appstore.packages.models_upload import Upload  # noqa: E402, F401
