"""Roles and permissions in words; the scopes of a token are permissions."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

#: In the order in which a person meets them: what one may see, then the store, the fleet, and the organisation.
WORDS: dict[str, Promise] = {
    "packages.read": _("See packages"),
    "nodes.read": _("See nodes and sites"),
    "deployments.read": _("See deployments and rollouts"),
    "mep.read": _("See the MEC platforms of nodes"),
    "operations.read": _("See operations"),
    "packages.write": _("Upload and discard packages"),
    "packages.publish": _("Publish, deprecate and withdraw releases"),
    "packages.review": _("Review releases"),
    "packages.recall": _("Recall releases"),
    "certification.run": _("Certify packages and try them in the sandbox"),
    "certification.decide": _("Decide checks by hand"),
    "certification.manage": _("Manage certificates and laboratories"),
    "trust.manage": _("Manage publishers and keys"),
    "feedback.write": _("Write reviews"),
    "feedback.moderate": _("Moderate reviews"),
    "federation.manage": _("Manage partner stores"),
    "nodes.write": _("Register and change nodes and sites"),
    "deployments.write": _("Deploy, upgrade and remove applications"),
    "operations.write": _("Cancel and repeat operations"),
    "audit.read": _("Read the audit log"),
    "accounts.manage": _("Manage members and sign-in"),
}


ROLES: dict[str, Promise] = {
    "admin": _("administrator"),
    "operator": _("operator"),
    "developer": _("developer"),
    "certifier": _("certifier"),
    "viewer": _("viewer"),
}


def told(names: Iterable[str]) -> str:
    """Write permissions or roles as a list of words; one that we have no words for stays as it is."""
    # Some have commas of their own.
    return "; ".join(str((WORDS if name in WORDS else ROLES).get(name, name)) for name in names)
