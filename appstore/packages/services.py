"""Verbs of packages: receive, check, publish, withdraw, discard. Every write goes through one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from appstore.packages import blobs, followers, gates, states
from appstore.packages.checking import Verdict
from appstore.packages.models import Blob, Package
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid, Missing
from core.operations import services as operations
from core.operations.models import Operation

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
        raise Invalid("The file is empty")
    sha256, size = file.keep(expected=expected)
    try:
        return _register(sha256, size, actor=actor, organisation=organisation, filename=clean_name(filename))
    except IntegrityError:
        present = Package.objects.own().filter(organisation=organisation, sha256=sha256).first()
        if present is None:
            raise
        raise Conflict(
            f"This very file is here already, as {present} ({present.state}).", package=str(present.pk)
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
    """Write down what a check found; None when the package is gone or released meanwhile, and nothing is written."""
    package = Package.objects.select_for_update().filter(pk=package_id).exclude(state__in=states.FINAL).first()
    if package is None:
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
def publish(package: Package, *, actor: Actor) -> Package:
    """Make the package a release, visible to everybody and fixed for ever.

    `Conflict` when it has not passed its check, or when the organisation has published this name and version before.
    """
    package = _locked(package)
    actor.require("packages.publish", package.organisation_id)
    package.state, package.published_at = states.after(package.state, "publish"), timezone.now()
    gates.require("publish", package, package.organisation_id)
    same = Package.objects.filter(
        organisation=package.organisation_id,
        origin=package.origin,
        provider=package.provider,
        name=package.name,
        version=package.version,
        state__in=states.FINAL,
    )
    try:
        with transaction.atomic():
            package.save(update_fields=["state", "published_at"])
    except IntegrityError:
        other = same.first()
        known = {"package": str(other.pk)} if other else {}
        raise Conflict(
            f"{package.provider} {package} was published before; a version is given away once.", **known
        ) from None
    audit.record(actor, "package.publish", package, sha256=package.sha256)
    followers.tell("changed", package)
    return package


@transaction.atomic
def withdraw(package: Package, *, actor: Actor, reason: str) -> Package:
    """Take a release out of the catalogue for good; what runs keeps running. A reason is mandatory."""
    package = _locked(package)
    actor.require("packages.publish", package.organisation_id)
    if not reason.strip():
        raise Invalid("Say why it is withdrawn", errors=[{"field": "reason", "detail": "must not be empty"}])
    package.state, package.withdrawn_at = states.after(package.state, "withdraw"), timezone.now()
    package.withdrawn_reason = reason.strip()[:500]
    package.save(update_fields=["state", "withdrawn_at", "withdrawn_reason"])
    audit.record(actor, "package.withdraw", package, reason=package.withdrawn_reason)
    followers.tell("changed", package)
    return package


@transaction.atomic
def discard(package: Package, *, actor: Actor) -> None:
    """Forget a package that never was published; its files go with the next garbage collection."""
    package = _locked(package)
    actor.require("packages.write", package.organisation_id)
    states.after(package.state, "discard")
    audit.record(actor, "package.discard", package, sha256=package.sha256)
    try:
        package.delete()
    except ProtectedError:
        raise Conflict("This package is still deployed somewhere; remove its deployments first.") from None


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


def _locked(package: Package) -> Package:
    """Return the package as it is now, held until the end of the transaction."""
    found = Package.objects.select_for_update().filter(pk=package.pk).first()
    if found is None:
        raise Missing("The package is gone.")
    return found
