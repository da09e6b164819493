"""The index of the catalogue: releases, applications, what is listed of them; then what people say and want to hear."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

#: Text of every listing in the full text; made by a migration, because each database has its own kind of table.
FULL_TEXT = "catalog_text"


class Index(models.Model):
    """The one row that writers of the index take in turn; `serial` counts their writes."""

    serial = models.BigIntegerField(default=0)
    built_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"serial {self.serial}"


class Step(models.Model):
    """One write of the index. Whoever has seen this serial with this token has seen everything up to it.

    The token tells two histories apart that count alike: a write that was rolled back, a database that was restored.
    """

    serial = models.BigIntegerField(primary_key=True)
    token = models.UUIDField(default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.serial)


class App(models.Model):
    """One application: all releases with the same `app_key`. Its sums are kept here, so that no list has to count."""

    key = models.CharField(max_length=420, unique=True)
    #: The slug of its organisation, for addresses; empty for applications of another store.
    slug = models.CharField(max_length=40, blank=True)
    organisation_id = models.UUIDField(null=True, blank=True)
    origin = models.CharField(max_length=64, blank=True)
    provider = models.CharField(max_length=128, blank=True)
    name = models.CharField(max_length=128)
    releases_listed = models.PositiveIntegerField(default=0)
    downloads = models.PositiveBigIntegerField(default=0)
    deployments = models.PositiveBigIntegerField(default=0)
    rating_sum = models.PositiveIntegerField(default=0)
    rating_count = models.PositiveIntegerField(default=0)
    favourites = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["slug", "provider", "name"], name="app_by_address")]

    def __str__(self) -> str:
        return self.name

    @property
    def rating(self) -> float:
        """The mean of its ratings, 0.0 without one."""
        return round(self.rating_sum / self.rating_count, 2) if self.rating_count else 0.0


class Release(models.Model):
    """One release as it was told by `services.put`; `data` holds the members of `Entry` that nothing is asked by."""

    key = models.CharField(max_length=180, unique=True)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="releases")
    version = models.CharField(max_length=64)
    state = models.CharField(max_length=12)
    listed = models.BooleanField(default=False)
    visibility = models.CharField(max_length=12, default="public")
    organisation_id = models.UUIDField(null=True, blank=True)
    package_id = models.UUIDField(null=True, blank=True, db_index=True)
    published_at = models.DateTimeField()
    downloads = models.PositiveBigIntegerField(default=0)
    deployments = models.PositiveBigIntegerField(default=0)
    data = models.JSONField(default=dict)
    text = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.app} {self.version}"


class Listing(models.Model):
    """An application as the catalogue lists it: its newest release for everybody, for its organisation, or for both.

    There are two rows only when the organisation sees a newer release than the public does. A row that is for nobody
    stays, so that whoever keeps a copy of the index learns of it by its serial.
    """

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="listings")
    release = models.ForeignKey(Release, on_delete=models.SET_NULL, null=True, related_name="+")
    own = models.BooleanField(help_text="the row for the organisation alone, or the row for everybody")
    for_public = models.BooleanField(default=False)
    for_members = models.BooleanField(default=False)
    facets = models.JSONField(default=list, help_text="ids of `FacetValue`")
    serial = models.BigIntegerField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "own"], name="an_app_is_listed_once_for_each_audience")]

    def __str__(self) -> str:
        return f"{self.app} for {'members' if self.own else 'everybody'}"


class FacetValue(models.Model):
    """A value of a facet, such as the licence MIT; its id stands for it in listings."""

    facet = models.CharField(max_length=16)
    value = models.CharField(max_length=128)
    label = models.CharField(max_length=128)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["facet", "value"], name="a_facet_has_a_value_once")]

    def __str__(self) -> str:
        return f"{self.facet}: {self.label}"


class Word(models.Model):
    """A word of names, keywords, providers and descriptions, for those who mistype it."""

    text = models.CharField(max_length=40, unique=True)
    count = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return self.text


class ReviewQuerySet(models.QuerySet["Review"]):
    """Questions about reviews."""

    def shown(self) -> ReviewQuerySet:
        """Reviews that nobody has hidden."""
        return self.filter(hidden_at=None)


class Review(models.Model):
    """What an organisation that deployed an application says about it; one each, which it may rewrite."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="reviews")
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="reviews")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    rating = models.PositiveSmallIntegerField()
    title = models.CharField(max_length=120, blank=True)
    text = models.TextField(max_length=4000, blank=True)
    version = models.CharField(max_length=64, help_text="the newest version that the organisation has deployed")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    answer = models.TextField(max_length=4000, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    hidden_at = models.DateTimeField(null=True, blank=True)
    hidden_reason = models.CharField(max_length=500, blank=True)
    reports = models.PositiveIntegerField(default=0)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        ordering = ["-changed_at", "id"]
        indexes = [models.Index(fields=["app", "-changed_at"], name="review_by_app")]
        constraints = [
            models.UniqueConstraint(fields=["app", "organisation"], name="an_organisation_reviews_an_app_once"),
            models.CheckConstraint(condition=Q(rating__gte=1, rating__lte=5), name="a_rating_is_one_to_five"),
            models.CheckConstraint(condition=Q(hidden_at=None) | ~Q(hidden_reason=""), name="a_hidden_review_says_why"),
        ]

    def __str__(self) -> str:
        return f"{self.rating} of 5 for {self.app}"


class ReviewReport(models.Model):
    """Somebody finds a review out of place; one report each."""

    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="reported")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["review", "user"], name="a_review_is_reported_once_by_each")]

    def __str__(self) -> str:
        return f"{self.user} on {self.review}"


class Favourite(models.Model):
    """An application that somebody likes to find again."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="favourites")
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "app"], name="an_app_is_a_favourite_once")]

    def __str__(self) -> str:
        return f"{self.user} likes {self.app}"


class Follow(models.Model):
    """Somebody wants to hear of an application, or of everything of a provider."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="follows")
    app = models.ForeignKey(App, on_delete=models.CASCADE, null=True, blank=True, related_name="followers")
    provider = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["provider"], name="follow_by_provider")]
        constraints = [
            models.UniqueConstraint(fields=["user", "app"], name="an_app_is_followed_once"),
            models.UniqueConstraint(
                fields=["user", "provider"], condition=~Q(provider=""), name="a_provider_is_followed_once"
            ),
            models.CheckConstraint(
                condition=Q(app__isnull=True) ^ Q(provider=""), name="one_follows_an_app_or_a_provider"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} follows {self.app or self.provider}"


class Notice(models.Model):
    """One thing that somebody is told. `about` names the event, so that it is told once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=24)
    text = models.CharField(max_length=300)
    url = models.CharField(max_length=400, blank=True)
    about = models.CharField(max_length=220)
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["user", "-created_at"], name="notice_by_person"),
            models.Index(fields=["user"], condition=Q(read_at=None), name="notice_unread"),
        ]
        constraints = [models.UniqueConstraint(fields=["user", "about"], name="a_notice_is_given_once")]

    def __str__(self) -> str:
        return self.text


class Webhook(models.Model):
    """An address that an organisation wants events sent to. The secret is sealed; it is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=80)
    url = models.URLField(max_length=500)
    events = models.JSONField(default=list)
    #: Releases of one's own organisation only, or everything public as well.
    everything = models.BooleanField(default=False)
    sealed_secret = models.BinaryField()
    active = models.BooleanField(default=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def purpose(self) -> str:
        """What its secret was sealed for."""
        return f"webhook:{self.pk}"


class Delivery(models.Model):
    """One event on its way to one webhook, with what came of it. The body is what is signed, to the byte."""

    class State(models.TextChoices):
        """Where it is."""

        WAITING = "waiting"
        DELIVERED = "delivered"
        #: Given up; nothing more will be tried unless somebody asks.
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=24)
    body = models.TextField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    status = models.PositiveIntegerField(null=True, blank=True)
    note = models.CharField(max_length=300, blank=True)
    milliseconds = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["webhook", "-created_at"], name="delivery_by_webhook")]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"
