"""Sessions that people see and end, their second factors, who vouches for them from outside, and invitations."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.utils import timezone

from core.accounts.models import Membership, Organisation, Role, User


class SessionQuerySet(models.QuerySet["Session"]):
    """Questions about sessions."""

    def open(self) -> SessionQuerySet:
        """Return the sessions in which somebody is signed in."""
        return self.filter(user__isnull=False, expire_date__gt=timezone.now())


class Session(AbstractBaseSession):
    """A browser session, the row that Django reads at each request anyway: without the row nobody is in.

    `ref` names it to people; the key itself opens the door and is shown to nobody.
    """

    ref = models.UUIDField(unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="sessions")
    how = models.CharField(max_length=80, blank=True)
    strong = models.BooleanField(default=False, help_text="a second factor or a passkey was shown")
    device = models.CharField(max_length=120, blank=True)
    address = models.CharField(max_length=45, blank=True)
    began_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)

    # The manager of the base class has the verb that Django's own store needs.
    objects = BaseSessionManager.from_queryset(SessionQuerySet)()  # type: ignore[misc]

    class Meta(AbstractBaseSession.Meta):
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return f"{self.device or 'unknown device'} from {self.address or 'an unknown address'}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        """Return the store that reads and writes these rows."""
        from core.sign_in.sessions import SessionStore  # the store names this model

        return SessionStore


class Totp(models.Model):
    """An authenticator application. `last_step` is the newest code that was taken: none is taken twice."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="totp")
    sealed_secret = models.BinaryField()
    last_step = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"authenticator application of {self.user}"


class RecoveryCode(models.Model):
    """A code on paper that replaces the second factor once. The codes are long, so a plain digest keeps them."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "sha256"], name="a_recovery_code_is_there_once")]

    def __str__(self) -> str:
        return f"recovery code of {self.user}"


class Passkey(models.Model):
    """A WebAuthn credential; `public_key` is its attested credential data as it was registered."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="passkeys")
    name = models.CharField(max_length=80)
    credential_id = models.CharField(max_length=1400, unique=True, help_text="base64url")
    public_key = models.BinaryField()
    sign_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.name


class Policy(models.Model):
    """Which roles of an organisation are for people with a second factor only."""

    organisation = models.OneToOneField(Organisation, on_delete=models.CASCADE, related_name="sign_in_policy")
    roles = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"sign-in policy of {self.organisation}"


class Provider(models.Model):
    """An OpenID Connect provider that people may sign in by. `issuer` is compared letter by letter."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    issuer = models.CharField(max_length=300, unique=True)
    client_id = models.CharField(max_length=250)
    sealed_secret = models.BinaryField()
    scopes = models.CharField(max_length=250, default="openid profile email")
    groups_claim = models.CharField(max_length=120, default="groups")
    strong = models.BooleanField(default=False, help_text="it asks for a second factor itself")
    admits_all = models.BooleanField(default=False, help_text="also people to whom it gives no role")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "slug"]

    def __str__(self) -> str:
        return self.name


class RoleRule(models.Model):
    """Who is in `group` at the provider has `role` in the organisation."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="rules")
    group = models.CharField(max_length=200)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    role = models.CharField(max_length=10, choices=Role.choices)

    class Meta:
        ordering = ["group", "organisation__slug", "role"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "group", "organisation", "role"], name="a_role_rule_is_given_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.group}={self.organisation.slug}:{self.role}"


class Identity(models.Model):
    """Somebody as the provider knows them. `subject` never changes there; an e-mail address may, and links nothing."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="identities")
    subject = models.CharField(max_length=255)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="identities")
    label = models.CharField(max_length=250, blank=True, help_text="what the provider calls them, for people")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["provider", "subject"], name="a_subject_is_one_person"),
            models.UniqueConstraint(fields=["provider", "user"], name="one_identity_a_person_at_a_provider"),
        ]

    def __str__(self) -> str:
        return f"{self.label or self.subject} at {self.provider}"


class ClaimedRole(models.Model):
    """A role that is there because the provider said so; only these are taken away when it says so no more."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="claimed")
    membership = models.OneToOneField(Membership, on_delete=models.CASCADE, related_name="claimed")

    def __str__(self) -> str:
        return str(self.membership)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Questions about invitations."""

    def waiting(self, now: datetime | None = None) -> InvitationQuerySet:
        """Return those that can still be accepted."""
        return self.filter(accepted_at=None, withdrawn_at=None, expires_at__gt=now or timezone.now())


class Invitation(models.Model):
    """A link that gives one person one role, once. Only the digest of its secret is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=Role.choices)
    email = models.EmailField(blank=True)
    sha256 = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.role} in {self.organisation}" + (f" for {self.email}" if self.email else "")

    @property
    def state(self) -> str:
        """Return `waiting`, `accepted`, `withdrawn` or `expired`."""
        if self.accepted_at:
            return "accepted"
        if self.withdrawn_at:
            return "withdrawn"
        return "waiting" if self.expires_at > timezone.now() else "expired"
