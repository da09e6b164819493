"""Verbs of packages until they are releases: receive, check, publish, discard; and the one door for changes of state.

What is done to a release afterwards is in `life`. Every write goes through one of the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from appstore.packages import blobs, followers, gates, reviewing, states
from appstore.packages.checking import Verdict
from appstore.packages.models import Blob, Package, ReleaseEvent
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid, Missing
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

CHECK = "package.check"
#: Columns that repeat a member of the descriptor, to be searched and sorted by.
_COLUMNS = {
    "name": "appName",
    "provider": "appProvider",
    "version": "appSoftVersion",
    "app_d_id": "appDId",
    "description": "appDescription",
}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def receive(
    chunks: Iterable[bytes], *, actor: Actor, organisation: Organisation, filename: str, expected: str = ""
) -> Package:
    """Store an upload as it streams in and ask for its check; return the new draft.

    `TooLarge` beyond the limit of the store, `Invalid` when it is empty or not what the sender expected (SHA-256),
    `Conflict` with the id of the present package when the organisation has the same bytes already.
    """
    actor.require("packages.write", organisation)
    with blobs.incoming(settings.MAX_PACKAGE_BYTES) as file:
        for chunk in chunks:
            file.write(chunk)
        return take_in(file, actor=actor, organisation=organisation, filename=filename, expected=expected)


def take_in(
    file: blobs.Incoming, *, actor: Actor, organisation: Organisation, filename: str, expected: str = ""
) -> Package:
    """Make a package of a file that has arrived whole; see `receive`."""
    actor.require("packages.write", organisation)
    if not file.size:
        raise Invalid(say("The file is empty"))
    sha256, size = file.keep(expected=expected)
    return admit(sha256, size, actor=actor, organisation=organisation, filename=filename)


def admit(sha256: str, size: int, *, actor: Actor, organisation: Organisation, filename: str) -> Package:
    """Make a package of a file that is in the store; `Conflict` when the organisation has the same bytes already."""
    actor.require("packages.write", organisation)
    try:
        return _register(sha256, size, actor=actor, organisation=organisation, filename=clean_name(filename))
    except IntegrityError:
        present = Package.objects.own().filter(organisation=organisation, sha256=sha256).first()
        if present is None:
            raise
        raise Conflict(
            say("This very file is here already, as {present} ({state}).", present=present, state=present.state),
            package=str(present.pk),
        ) from None


@transaction.atomic
def _register(sha256: str, size: int, *, actor: Actor, organisation: Organisation, filename: str) -> Package:
    blob, _ = Blob.objects.get_or_create(sha256=sha256, defaults={"size": size})
    package = Package.objects.create(
        organisation=organisation, uploaded_by=actor.user, filename=filename, sha256=sha256, size=size
    )
    package.blobs.add(blob)
    audit.record(actor, "package.upload", package, sha256=sha256, size=size, filename=filename)
    request_check(package, actor=actor)
    return package


def request_check(package: Package, *, actor: Actor | None = None) -> Operation:
    """Ask a worker to check the package; `Conflict` for a release, whose verdict is final."""
    states.after(package.state, "pass")
    return operations.request(
        CHECK, target_of(package), organisation=package.organisation_id, actor=actor, package=str(package.pk)
    )


@transaction.atomic
def record_check(package_id: Any, verdict: Verdict, *, actor: Actor) -> Package | None:
    """Write down what a check found; None when the package is gone or fixed meanwhile, and nothing is written."""
    package = Package.objects.select_for_update().filter(pk=package_id).first()
    if package is None or package.fixed:
        return None
    package.state = states.after(package.state, "pass" if verdict.passed else "fail")
    package.format, package.chart_sha256 = verdict.format, verdict.chart_sha256
    package.signature, package.images = storable(verdict.signature), storable(verdict.images)
    package.findings = storable([finding.as_dict() for finding in verdict.findings])
    described = storable(verdict.descriptor.to_dict()) if verdict.descriptor else {}
    package.descriptor, package.compute = described, described.get("compute", {})
    for field, member in _COLUMNS.items():
        longest = getattr(Package._meta.get_field(field), "max_length", None)
        setattr(package, field, described.get(member, "")[:longest])
    package.checked_at = timezone.now()
    package.save()
    present = {package.sha256: package.size, **verdict.stored}
    Blob.objects.bulk_create([Blob(sha256=d, size=s) for d, s in present.items()], ignore_conflicts=True)
    package.blobs.set(Blob.objects.filter(pk__in=present))
    audit.record(actor, f"package.{'pass' if verdict.passed else 'reject'}", package, findings=len(package.findings))
    followers.tell("checked", package)
    return package


@transaction.atomic
def publish(package: Package, *, actor: Actor, visibility: str = "") -> Package:
    """Make the package a release that is fixed for ever; or, where somebody must look first, put it in review.

    The state of what is returned says which. `Conflict` when it has not passed its check, when a rule of the store
    says no, or when the organisation has published this name and version before.
    """
    package = locked(package)
    actor.require("packages.publish", package.organisation_id)
    states.after(package.state, "publish")
    if visibility:
        package.visibility = known_visibility(visibility)
    gates.require("publish", package, package.organisation_id)
    _insist_on_a_new_version(package)
    deed = "submit" if reviewing.asked(package, actor) else "publish"
    return turn(package, deed, actor=actor, published_at=None if deed == "submit" else timezone.now())


@transaction.atomic
def approve(package: Package, *, actor: Actor, reason: str = "") -> Package:
    """Make a release of a package in review. The topic of reviews has decided that the actor may say so."""
    package = locked(package)
    states.after(package.state, "approve")
    gates.require("publish", package, package.organisation_id)
    _insist_on_a_new_version(package)
    return turn(package, "approve", actor=actor, reason=reason, published_at=timezone.now())


def turn(
    package: Package,
    deed: str,
    *,
    actor: Actor,
    reason: str = "",
    facts: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Package:
    """Do one deed of the table to a package that the caller has locked and is allowed to change.

    Writes state and history together, leaves an audit entry and tells the followers. `changes` are further columns.
    """
    before, resumes = package.state, package.resumes
    package.state = states.after(before, deed, resumes)
    package.resumes = states.resuming(before, deed, resumes)
    package.state_at = timezone.now()
    marked = package.state in states.MARKED
    package.state_reason, successor = (reason, changes.pop("successor", None)) if marked else ("", None)
    if marked and deed in states.RETURNS:
        # It is again deprecated or yanked, for the reason that was given then.
        then = package.events.filter(after=package.state).first()
        package.state_reason = then.reason if then else ""
        named = then.facts.get("successor") if then else None
        successor = Package.objects.filter(pk=named).first() if named else None
    package.successor = successor
    for column, value in changes.items():
        setattr(package, column, value)
    columns = ["state", "resumes", "state_at", "state_reason", "successor", "visibility", *changes]
    try:
        with transaction.atomic():
            package.save(update_fields=columns)
    except IntegrityError:
        _insist_on_a_new_version(package)
        raise
    told = dict(facts or {}) | ({"successor": str(successor.pk)} if successor else {})
    note(package, deed, before, package.state, actor=actor, reason=reason, facts=told)
    followers.tell("changed", package)
    return package


def note(
    package: Package,
    deed: str,
    before: str,
    after: str,
    *,
    actor: Actor,
    reason: str = "",
    facts: Mapping[str, Any] | None = None,
) -> ReleaseEvent:
    """Add a deed to the history of the package and to the audit trail."""
    about = dict(facts or {})
    audit.record(actor, f"package.{deed}", package, before=before, after=after, reason=reason, **about)
    return ReleaseEvent.objects.create(
        package=package,
        deed=deed,
        before=before,
        after=after,
        reason=reason,
        actor=str(actor)[:250],
        by=actor.user,
        facts=about,
    )


def known_visibility(visibility: str) -> str:
    """Return the visibility; `Invalid` names those that there are."""
    if visibility not in Package.Visibility.values:
        told = say("must be one of {values}", values=", ".join(Package.Visibility.values))
        raise Invalid(say("visibility {told}", told=told), errors=[{"field": "visibility", "detail": told}])
    return visibility


def _insist_on_a_new_version(package: Package) -> None:
    other = Package.objects.filter(
        organisation=package.organisation_id,
        origin=package.origin,
        provider=package.provider,
        name=package.name,
        version=package.version,
        state__in=states.FINAL,
    ).exclude(pk=package.pk)
    if present := other.first():
        raise Conflict(
            say(
                "{provider} {package} was published before; a version is given away once.",
                provider=package.provider,
                package=package,
            ),
            package=str(present.pk),
        )


def withdraw(package: Package, *, actor: Actor, reason: str) -> Package:
    """Yank a release: the older name of `life.yank`."""
    from appstore.packages import life  # it stands on this module

    return life.yank(package, actor=actor, reason=reason)


@transaction.atomic
def discard(package: Package, *, actor: Actor) -> None:
    """Forget a package that never was published; its files go with the next garbage collection."""
    package = locked(package)
    actor.require("packages.write", package.organisation_id)
    states.after(package.state, "discard")
    audit.record(actor, "package.discard", package, sha256=package.sha256)
    try:
        package.delete()
    except ProtectedError:
        raise Conflict(say("This package is still deployed somewhere; remove its deployments first.")) from None


def collect_garbage() -> int:
    """Remove files of the store that no package needs any more; return how many."""
    return blobs.collect_garbage()


def target_of(package: Package) -> str:
    """Return how operations name this package."""
    return f"package:{package.pk}"


def storable(value: Any) -> Any:
    """Return JSON in whose texts nothing is that a database or UTF-8 cannot hold (NUL, lone surrogates)."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(inner) for key, inner in value.items()}
    return [storable(inner) for inner in value] if isinstance(value, list | tuple) else value


def clean_name(filename: str) -> str:
    """Return the last step of a path from any system, fit to be shown and to be offered for download."""
    name = PureWindowsPath(PurePosixPath(filename).name).name
    name = re.sub(r"[^\w.()+ -]", "_", name).strip(" .")
    return name[-200:] or "package"


def locked(package: Package) -> Package:
    """Return the package as it is now, held until the end of the transaction."""
    found = Package.objects.select_for_update().filter(pk=package.pk).first()
    if found is None:
        raise Missing(say("The package is gone."))
    return found
