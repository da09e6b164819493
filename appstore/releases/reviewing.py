"""Reviews: whether one is needed, and how it ends. Four eyes: who uploaded or submitted a package does not decide.

Publishing by somebody who may review it and did not upload it is a review in itself. Where nobody else may review, a
rule that nobody can keep would be a wall and no guard: then the package is published, and its history says so.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from appstore.packages import life, services, states
from appstore.packages.models import Package
from appstore.releases import reasons
from appstore.releases.models import ReleasePolicy, Review
from appstore.releases.reasons import Reason
from core.accounts import services as accounts
from core.accounts.access import PERMISSIONS, SYSTEM, Actor
from core.accounts.models import Membership
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing
from core.words import say

_REVIEW = "packages.review"


def policy() -> ReleasePolicy:
    """Return the rules of this store; the usual ones where nobody has set any."""
    try:
        operator = accounts.operator()
    except Missing:
        return ReleasePolicy()
    return ReleasePolicy.objects.filter(organisation=operator).first() or ReleasePolicy(organisation=operator)


@transaction.atomic
def set_policy(*, actor: Actor, review: str, freeze_days: int) -> ReleasePolicy:
    """Change the rules of this store; for those who manage trust in the organisation that runs it."""
    operator = accounts.operator()
    actor.require("trust.manage", operator)
    if review not in ReleasePolicy.Review.values:
        told = say("must be one of {values}", values=", ".join(ReleasePolicy.Review.values))
        raise Invalid(say("review {told}", told=told), errors=[{"field": "review", "detail": told}])
    if not 0 <= freeze_days <= 3650:
        told = say("must be 0 to 3650 days")
        raise Invalid(say("freeze_days {told}", told=told), errors=[{"field": "freeze_days", "detail": told}])
    rules, _ = ReleasePolicy.objects.update_or_create(
        organisation=operator, defaults={"review": review, "freeze_days": freeze_days}
    )
    audit.record(actor, "release_policy.set", rules, organisation=operator, review=review, freeze_days=freeze_days)
    return rules


def ask(package: Package, actor: Actor) -> bool:
    """Open a review when the rules want one and somebody can give it; the port of `packages.reviewing`."""
    rules = policy()
    if actor is SYSTEM or rules.review == ReleasePolicy.Review.OFF:
        return False
    found, previous = reasons.of(package)
    if not found and rules.review == ReleasePolicy.Review.ALWAYS:
        found = [Reason("every-release", say("This store reviews every release."))]
    if not found:
        return False
    by_store = any(reason.store for reason in found)
    involved = {actor.user.pk if actor.user else None, package.uploaded_by_id}
    second_look = package.uploaded_by_id not in (None, actor.user.pk if actor.user else None)
    if (second_look and _may(actor, package.organisation_id, by_store)) or not _somebody_else(
        package, by_store, involved
    ):
        return False
    Review.objects.create(
        package=package,
        organisation_id=package.organisation_id,
        previous=previous,
        reasons=[reason.as_dict() for reason in found],
        by_store=by_store,
        submitted_by=actor.user,
    )
    return True


@transaction.atomic
def approve(review: Review, *, actor: Actor, reason: str = "") -> Package:
    """Publish the package; `Conflict` when a rule of the store stands against it by now."""
    review = _held(review)
    _insist(review, actor)
    package = services.approve(review.package, actor=actor, reason=reason.strip()[:500])
    _close(review, Review.State.APPROVED, actor, reason)
    return package


@transaction.atomic
def decline(review: Review, *, actor: Actor, reason: str) -> Package:
    """Send the package back to its publisher, with a reason; it may be submitted again or discarded."""
    review = _held(review)
    _insist(review, actor)
    said = life.reason_of(reason)
    package = services.turn(services.locked(review.package), "decline", actor=actor, reason=said)
    _close(review, Review.State.DECLINED, actor, said)
    return package


@transaction.atomic
def retract(review: Review, *, actor: Actor, reason: str = "") -> Package:
    """Take a package back before it was decided; for its publishers."""
    review = _held(review)
    actor.require("packages.publish", review.organisation_id)
    package = services.turn(services.locked(review.package), "retract", actor=actor, reason=reason.strip()[:500])
    _close(review, Review.State.RETRACTED, actor, reason)
    return package


def may_decide(review: Review, actor: Actor) -> bool:
    """Return whether the actor may approve or decline this review."""
    return review.state == Review.State.OPEN and not _why_not(review, actor)


def _insist(review: Review, actor: Actor) -> None:
    if not life.of_the_store(actor, _REVIEW):
        actor.require(_REVIEW, review.organisation_id)
    if why := _why_not(review, actor):
        raise Denied(why)


def _why_not(review: Review, actor: Actor) -> str:
    if not _may(actor, review.organisation_id, review.by_store):
        return (
            say("Reviewers of the organisation that runs this store decide here.")
            if review.by_store
            else "Not allowed."
        )
    mine = actor.user.pk if actor.user else None
    if mine is not None and mine in (review.submitted_by_id, review.package.uploaded_by_id):
        return say("Somebody else must look: you have uploaded or submitted it.")
    return ""


def _may(actor: Actor, organisation_id: Any, by_store: bool) -> bool:
    return life.of_the_store(actor, _REVIEW) or (not by_store and actor.may(_REVIEW, organisation_id))


def _somebody_else(package: Package, by_store: bool, involved: set[Any]) -> bool:
    """Return whether anybody who can sign in and is not involved may review it, in one query."""
    organisations = {accounts.operator().pk} | (set() if by_store else {package.organisation_id})
    roles = [role for role, granted in PERMISSIONS.items() if _REVIEW in granted]
    people = Membership.objects.filter(organisation_id__in=organisations, role__in=roles, user__is_active=True)
    return people.exclude(user_id__in=involved - {None}).exists()


def _held(review: Review) -> Review:
    found = Review.objects.select_for_update().filter(pk=review.pk).first()
    if found is None:
        raise Missing(say("There is no such review."))
    if found.state != Review.State.OPEN:
        raise Conflict(say("This review is over: {state}.", state=found.state), state=found.state)
    states.after(found.package.state, "approve")
    return found


def _close(review: Review, state: str, actor: Actor, said: str) -> None:
    review.state, review.decided_at, review.decided_by = state, timezone.now(), actor.user
    review.decision = services.storable(said.strip())[:500]
    review.save(update_fields=["state", "decided_at", "decided_by", "decision"])
