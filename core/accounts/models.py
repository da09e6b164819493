"""Organisations are tenants; people belong to several of them, each time with roles."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

SLUG = RegexValidator(r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$", "use 2 to 40 small letters, digits and dashes")


class Organisation(models.Model):
    """A tenant. Its slug is part of Kubernetes namespaces, so it never changes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=40, unique=True, validators=[SLUG])
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person who signs in, or a service that uses tokens only."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisations = models.ManyToManyField(Organisation, through="Membership", related_name="people")

    def __str__(self) -> str:
        return self.username


class Role(models.TextChoices):
    """What somebody is to an organisation; `access.PERMISSIONS` says what each may do."""

    ADMIN = "admin"
    OPERATOR = "operator"
    DEVELOPER = "developer"
    CERTIFIER = "certifier"
    VIEWER = "viewer"


class Membership(models.Model):
    """One role of one person in one organisation; several roles are several rows."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["organisation__slug", "role"]
        constraints = [
            models.UniqueConstraint(fields=["user", "organisation", "role"], name="a_role_is_given_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="role_is_a_known_one"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.organisation}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Questions about tokens."""

    def alive(self) -> ApiTokenQuerySet:
        """Return the tokens that still open a door."""
        return self.filter(revoked_at=None).filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now()), user__is_active=True
        )


class ApiToken(models.Model):
    """A token for programs. Only its SHA-256 is kept; the token itself is shown once.

    `scopes` are permissions; the token may do what its owner may do and its scopes name. An
    empty list means all that the owner may do. With `organisation` it is bound to that tenant.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="tokens", null=True, blank=True
    )
    name = models.CharField(max_length=80)
    hint = models.CharField(max_length=12, help_text="the first characters, to tell tokens apart")
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    made_with = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", help_text="revoked with it"
    )

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"


class LoginAttempt(models.Model):
    """One failed sign-in, kept as long as it counts against the rate limit."""

    name = models.CharField(max_length=150, db_index=True)
    address = models.CharField(max_length=45, db_index=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.address} at {self.at:%F %T}"
