"""Which roles are for people with a second factor only, and what follows from it for sessions that are open."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from core.accounts.access import Actor
from core.accounts.models import Membership, Organisation, Role, User
from core.audit import services as audit
from core.errors import Invalid
from core.sign_in.models import Policy, Session


def wants_more_of(user: User) -> bool:
    """Return whether somebody has a role for which an organisation wants a second factor."""
    return bool(_under_policy(Membership.objects.filter(user=user)))


def roles_of(organisation: Organisation) -> list[str]:
    """Return the roles for which an organisation wants a second factor."""
    row = Policy.objects.filter(organisation=organisation).first()
    return list(row.roles) if row else []


@transaction.atomic
def set_roles(organisation: Organisation, roles: list[str], *, actor: Actor) -> int:
    """Want a second factor for these roles from now on. Returns how many open sessions ended because they have none.

    Who sets it must be in with a second factor themselves, or would shut themselves out of undoing it; that is asked
    of the session, by the page.
    """
    actor.require("accounts.manage", organisation)
    unknown = sorted(set(roles) - set(Role.values))
    if unknown:
        raise Invalid(_("%s is not a role.") % ", ".join(unknown), field="roles")
    wanted = sorted(set(roles))
    Policy.objects.update_or_create(organisation=organisation, defaults={"roles": wanted})
    audit.record(actor, "sign-in.policy", organisation, organisation=organisation, roles=wanted)
    affected = _under_policy(Membership.objects.filter(organisation=organisation))
    return _end_weak(affected)


def apply_to(user: User) -> None:
    """End the sessions of somebody whose new role wants more than they showed."""
    if wants_more_of(user):
        _end_weak({user.pk})


def _under_policy(memberships: Any) -> set[Any]:
    rows = memberships.filter(organisation__sign_in_policy__isnull=False).values_list(
        "user_id", "role", "organisation__sign_in_policy__roles"
    )
    return {user for user, role, roles in rows if role in roles}


def _end_weak(people: set[Any]) -> int:
    if not people:
        return 0
    ended, _rows = Session.objects.open().filter(user_id__in=people, strong=False).delete()
    return ended
