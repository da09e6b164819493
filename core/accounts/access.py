"""Who may do what, and the one place where access to an object is decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

from django.db import models

from core.accounts.models import ApiToken, Membership, Organisation, Role, User
from core.errors import Denied, Missing, Unauthenticated
from core.words import say

Row = TypeVar("Row", bound=models.Model)

_READ = {"packages.read", "nodes.read", "deployments.read", "mep.read", "operations.read"}
_ALL = {
    *_READ,
    "packages.write",
    "packages.publish",
    "packages.review",
    "packages.recall",
    "trust.manage",
    "certification.run",
    "certification.decide",
    "certification.manage",
    "federation.manage",
    "feedback.write",
    "feedback.moderate",
    "nodes.write",
    "deployments.write",
    "operations.write",
    "audit.read",
    "accounts.manage",
}

#: What each role may do inside its organisation. Token scopes use the same words.
PERMISSIONS: dict[str, frozenset[str]] = {
    Role.ADMIN: frozenset(_ALL),
    Role.OPERATOR: frozenset(_ALL - {"accounts.manage", "packages.write", "certification.decide"}),
    Role.DEVELOPER: frozenset(
        _READ
        | {"packages.write", "packages.publish", "deployments.write", "operations.write"}
        | {"certification.run", "feedback.write"}
    ),
    Role.CERTIFIER: frozenset(
        _READ
        | {"packages.publish", "packages.review", "audit.read", "feedback.moderate"}
        | {"certification.run", "certification.decide", "certification.manage"}
    ),
    Role.VIEWER: frozenset(_READ),
}
ALL_PERMISSIONS = frozenset(_ALL)


class Actor:
    """Somebody who acts: a person in a session, or a token of theirs.

    Roles are read once, in one query, when the first question is asked.
    """

    def __init__(self, user: User | None, token: ApiToken | None = None) -> None:
        self.user = user
        self.token = token

    def __str__(self) -> str:
        if self.user is None:
            return "anonymous"
        return f"{self.user.username} (token {self.token.name})" if self.token else self.user.username

    @property
    def authenticated(self) -> bool:
        """Whether we know who this is."""
        return self.user is not None

    @cached_property
    def roles(self) -> dict[UUID, frozenset[str]]:
        """The roles by organisation id."""
        if self.user is None:
            return {}
        rows = Membership.objects.filter(user=self.user)
        if self.token is not None and self.token.organisation_id is not None:
            rows = rows.filter(organisation_id=self.token.organisation_id)
        found: dict[UUID, set[str]] = defaultdict(set)
        for organisation_id, role in rows.values_list("organisation_id", "role"):
            found[organisation_id].add(role)
        return {organisation_id: frozenset(roles) for organisation_id, roles in found.items()}

    def permissions(self, organisation_id: UUID) -> frozenset[str]:
        """Return what this actor may do in that organisation."""
        granted: set[str] = set()
        for role in self.roles.get(organisation_id, ()):
            granted |= PERMISSIONS[role]
        if self.token is not None and self.token.scopes:
            granted &= set(self.token.scopes)
        return frozenset(granted)

    def may(self, permission: str, organisation_id: UUID | None) -> bool:
        """Return whether this actor holds `permission` in that organisation."""
        _known(permission)
        return organisation_id is not None and permission in self.permissions(organisation_id)

    def organisations(self, permission: str) -> set[UUID]:
        """Return the ids of the organisations in which this actor holds `permission`."""
        _known(permission)
        return {organisation_id for organisation_id in self.roles if permission in self.permissions(organisation_id)}

    def require(self, permission: str, organisation: Organisation | UUID | None) -> None:
        """Pass when allowed; `Missing` for strangers, so that they learn nothing, and `Denied` for members."""
        _known(permission)
        if not self.authenticated:
            raise Unauthenticated(say("Sign in, or send an API token as a bearer token."))
        organisation_id = organisation.pk if isinstance(organisation, Organisation) else organisation
        if organisation_id is None or organisation_id not in self.roles:
            raise Missing(say("There is no such object, or you may not see it."))
        if permission not in self.permissions(organisation_id):
            raise Denied(
                say(
                    "This needs the permission {permission}, which your roles or this token do not give.",
                    permission=repr(permission),
                )
            )


class System(Actor):
    """The platform itself: workers, commands, rules that an administrator wrote. It may do everything everywhere.

    `name` is what the audit trail says.
    """

    def __init__(self, name: str = "system") -> None:
        super().__init__(None)
        self.name = name

    def __str__(self) -> str:
        return self.name

    def may(self, permission: str, organisation_id: UUID | None) -> bool:
        _known(permission)
        return True

    def organisations(self, permission: str) -> set[UUID]:
        return set(Organisation.objects.values_list("id", flat=True))

    def require(self, permission: str, organisation: Organisation | UUID | None) -> None:
        _known(permission)


#: The actor of workers and of commands run on the server.
SYSTEM = System()
ANONYMOUS = Actor(None)


def get(queryset: models.QuerySet[Row], actor: Actor, permission: str, pk: Any) -> Row:
    """Return the object with that key if `actor` may do `permission` to it.

    The one place where access to an object is decided: an object of somebody else's organisation
    is `Missing`, exactly like one that does not exist; one of an own organisation is `Denied`
    when the role is not enough. The model has an `organisation_id`.
    """
    if not actor.authenticated and actor is not SYSTEM:
        raise Unauthenticated(say("Sign in, or send an API token as a bearer token."))
    try:
        found = queryset.filter(pk=pk).first()
    except (ValueError, TypeError):
        found = None
    if found is None:
        raise Missing(say("There is no such object, or you may not see it."))
    actor.require(permission, found.organisation_id)  # type: ignore[attr-defined]
    return found


def scoped(queryset: models.QuerySet[Row], actor: Actor, permission: str) -> models.QuerySet[Row]:
    """Return the rows of the organisations in which `actor` holds `permission`."""
    if actor is SYSTEM:
        return queryset
    return queryset.filter(organisation_id__in=actor.organisations(permission))


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Return those of `scopes` that are no permission."""
    return sorted(set(scopes) - ALL_PERMISSIONS)


def _known(permission: str) -> None:
    if permission not in ALL_PERMISSIONS:
        raise ValueError(f"{permission!r} is not a permission")
