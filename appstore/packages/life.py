"""Verbs of a release after its publication: deprecate, yank, quarantine, and back; who sees it; notes.

Each takes a reason, is one transaction, and leaves its line in the history. Recalls have a topic of their own.
"""

from __future__ import annotations

from django.db import transaction

from appstore.packages import followers, gates, services, states
from appstore.packages.models import Package
from core.accounts import services as accounts
from core.accounts.access import ALL_PERMISSIONS, SYSTEM, Actor
from core.errors import Conflict, Denied, Invalid, Missing
from core.words import say

MOST_NOTES = 8000


@transaction.atomic
def deprecate(package: Package, *, actor: Actor, reason: str, successor: Package | None = None) -> Package:
    """Advise against a release, which stays in the catalogue and deployable; `successor` is what to take instead."""
    package = _own(package, actor)
    return services.turn(
        package, "deprecate", actor=actor, reason=reason_of(reason), successor=_fit(package, successor)
    )


@transaction.atomic
def undeprecate(package: Package, *, actor: Actor, reason: str = "") -> Package:
    """Recommend a release again."""
    return services.turn(_own(package, actor), "undeprecate", actor=actor, reason=_short(reason))


@transaction.atomic
def yank(package: Package, *, actor: Actor, reason: str, successor: Package | None = None) -> Package:
    """Take a release out of the catalogue: nobody deploys it anew; who runs it keeps it and may go back to it."""
    package = _own(package, actor)
    return services.turn(package, "yank", actor=actor, reason=reason_of(reason), successor=_fit(package, successor))


@transaction.atomic
def unyank(package: Package, *, actor: Actor, reason: str = "") -> Package:
    """Put a release back to where it was before it was yanked."""
    return services.turn(_own(package, actor), "unyank", actor=actor, reason=_short(reason))


@transaction.atomic
def quarantine(package: Package, *, actor: Actor, reason: str) -> Package:
    """Hold a release while something is looked into: nothing of it is deployed, what runs goes on and is marked.

    For reviewers of its organisation, and of the organisation that runs the store.
    """
    package = services.locked(package)
    standing = stands(actor, "packages.review", package)
    return services.turn(package, "quarantine", actor=actor, reason=reason_of(reason), facts={"as": standing})


@transaction.atomic
def unquarantine(package: Package, *, actor: Actor, reason: str) -> Package:
    """Let a release go back to where it was; what the store has quarantined only the store sets free."""
    package = services.locked(package)
    states.after(package.state, "unquarantine")
    held = package.events.filter(deed="quarantine").first()
    standing = stands(actor, "packages.review", package)
    if held and held.facts.get("as") == "store" and standing != "store":
        raise Denied(say("The operator of the store has quarantined it; only they set it free."))
    return services.turn(package, "unquarantine", actor=actor, reason=reason_of(reason), facts={"as": standing})


@transaction.atomic
def show_to(package: Package, visibility: str, *, actor: Actor, reason: str = "") -> Package:
    """Change who sees a release (public, organisation, partners); the same again changes nothing.

    What runs already runs on, whoever it belongs to; nobody from whom it is hidden now deploys it anew.
    """
    package = _own(package, actor)
    before = package.visibility
    if services.known_visibility(visibility) == before:
        return package
    package.visibility = visibility
    package.save(update_fields=["visibility"])
    services.note(package, "visibility", before, visibility, actor=actor, reason=_short(reason))
    followers.tell("changed", package)
    return package


@transaction.atomic
def annotate(package: Package, notes: str, *, actor: Actor) -> Package:
    """Change the publisher's notes; `Conflict` once the time for late changes is over (the gate `amend`)."""
    package = _own(package, actor)
    text = services.storable(notes.strip())
    if len(text) > MOST_NOTES:
        told = say("must have at most {most_notes} characters", most_notes=MOST_NOTES)
        raise Invalid(say("notes {told}", told=told), errors=[{"field": "notes", "detail": told}])
    if package.state == states.IN_REVIEW:
        raise Conflict(say("It is being reviewed; what a reviewer looks at does not change meanwhile."))
    gates.require("amend", package, package.organisation_id)
    if text == package.notes:
        return package
    package.notes = text
    package.save(update_fields=["notes"])
    services.note(package, "notes", package.state, package.state, actor=actor, facts={"characters": len(text)})
    followers.tell("changed", package)
    return package


def stands(actor: Actor, permission: str, package: Package) -> str:
    """Return as what the actor acts: `store` for the organisation that runs the store, else `owner`.

    `Missing` for strangers, `Denied` for members without the permission, as everywhere.
    """
    if of_the_store(actor, permission):
        return "store"
    actor.require(permission, package.organisation_id)
    return "owner"


def of_the_store(actor: Actor, permission: str) -> bool:
    """Return whether the actor holds the permission in the organisation that runs this store."""
    if actor is not SYSTEM and not actor.organisations(permission):
        return False  # without asking who runs it
    return permission in in_the_store(actor)


def in_the_store(actor: Actor) -> frozenset[str]:
    """Return what the actor may do in the organisation that runs this store."""
    if actor is SYSTEM:
        return ALL_PERMISSIONS
    try:
        return actor.permissions(accounts.operator().pk)
    except Missing:
        return frozenset()


def reason_of(reason: str) -> str:
    """Return a reason as it is kept; `Invalid` when there is none."""
    if not reason.strip():
        raise Invalid(say("Say why"), errors=[{"field": "reason", "detail": say("must not be empty")}])
    return _short(reason)


def _short(reason: str) -> str:
    return str(services.storable(reason.strip()))[:500]


def _own(package: Package, actor: Actor) -> Package:
    package = services.locked(package)
    actor.require("packages.publish", package.organisation_id)
    return package


def _fit(package: Package, successor: Package | None) -> Package | None:
    if successor is None:
        return None
    if successor.pk == package.pk or successor.organisation_id != package.organisation_id:
        told = say("must be another release of the same organisation")
    elif successor.state not in states.LISTED:
        told = say("must be deployable; {successor} is {state}", successor=successor, state=successor.state)
    else:
        return successor
    raise Invalid(say("successor {told}", told=told), errors=[{"field": "successor", "detail": told}])
