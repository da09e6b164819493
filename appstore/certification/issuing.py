"""Certificates: issued by our lab, revoked, taken over from partners, and judged."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from appstore.certification import certificates, followers, revoking
from appstore.certification.certificates import Lab, Verified
from appstore.certification.models import LEVELS, Certificate, CheckResult, Run, TrustedLab
from appstore.keys import services as keys
from appstore.packages.models import Package
from core import dsse
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.words import say

#: Clocks differ; a certificate that begins a moment ago is valid at the partner's at once.
_SKEW = timedelta(minutes=5)


@transaction.atomic
def issue(run: Run, rows: Sequence[CheckResult]) -> Certificate:
    """Sign the certificate of a finished run; one for each run."""
    present = Certificate.objects.filter(run=run).first()
    if present is not None:
        return present
    package = run.package
    pk, now = uuid.uuid4(), timezone.now().replace(microsecond=0)
    start, end = now - _SKEW, now + timedelta(days=int(run.profile.get("valid_days", 365)))
    key = keys.current(keys.LAB)
    body = certificates.predicate(
        certificate=str(pk),
        lab=settings.STORE_NAME,
        lab_key=key.pk,
        application={"name": package.name, "provider": package.provider, "version": package.version},
        suites=run.wanted,
        checks=[
            {
                "name": row.check_name,
                "version": row.described["version"],
                "digest": row.described["digest"],
                "kind": row.described["kind"],
                "suites": row.suites,
                "options": row.options,
                "outcome": row.outcome,
                "carried": row.carried_from_id is not None,
            }
            for row in rows
        ],
        environment={**run.environment, "walls": run.walls},
        level=run.level,
        levels=run.levels,
        verdict=run.verdict,
        not_before=start,
        not_after=end,
    )
    name = f"{package.provider}/{package.name}:{package.version}"
    envelope = dsse.statement({name: run.sha256}, certificates.PREDICATE, body, keys.private(key))
    made = Certificate.objects.create(
        id=pk,
        organisation_id=run.organisation_id,
        run=run,
        package=package,
        lab=settings.STORE_NAME,
        lab_key=key.pk,
        sha256=run.sha256,
        level=run.level,
        levels=run.levels,
        envelope=envelope,
        digest=certificates.digest_of(envelope),
        not_before=start,
        not_after=end,
    )
    audit.record(SYSTEM, "certificate.issue", made, level=made.level, package=str(package.pk))
    followers.tell([package.pk])
    return made


@transaction.atomic
def revoke(certificate: Certificate, *, actor: Actor, reason: str) -> Certificate:
    """Take a certificate back, with a reason; from now on it counts for nothing where this store is asked."""
    actor.require("certification.manage", certificate.organisation_id)
    if not reason.strip():
        raise Invalid(say("Say why it is revoked"), errors=[{"field": "reason", "detail": say("must not be empty")}])
    certificate = Certificate.objects.select_for_update().get(pk=certificate.pk)
    if certificate.revoked_at is not None:
        raise Conflict(say("It is revoked already."))
    certificate.revoked_at, certificate.revoked_reason = timezone.now(), reason.strip()[:500]
    certificate.save(update_fields=["revoked_at", "revoked_reason"])
    audit.record(actor, "certificate.revoke", certificate, reason=certificate.revoked_reason)
    if certificate.own:
        revoking.publish()
    followers.tell([certificate.package_id])
    return certificate


def labs() -> list[Lab]:
    """Return every lab that this store knows: its own, by all keys it ever had, and those it trusts or once trusted.

    `certificates.verify` tells which of them still count; so a reason can be given for those that do not.
    """
    ours = [Lab(settings.STORE_NAME, key) for key in keys.known(keys.LAB)]
    theirs = [
        Lab(row.name, dsse.load_public(row.public_pem), row.expires_at, row.revoked_at)
        for row in TrustedLab.objects.all()
    ]
    return ours + theirs


def verify(envelope: Any, sha256: str = "", *, at: datetime | None = None) -> Verified:
    """Return what a certificate says when it holds here and now; `Invalid` says why it does not.

    Signature, lab, validity and package as in `certificates.verify`, and it must not be revoked, as far as is known here.
    """
    verified = certificates.verify(envelope, labs(), sha256=sha256, at=at)
    revoked = Certificate.objects.filter(digest=verified.digest).exclude(revoked_at=None).first()
    if revoked is not None:
        raise Invalid(say("The certificate was revoked: {revoked_reason}", revoked_reason=revoked.revoked_reason))
    against = revoking.reason_against(verified)
    if against:
        raise Invalid(say("The certificate was revoked by its lab: {against}", against=against))
    return verified


@transaction.atomic
def accept(package: Package, envelope: Mapping[str, Any]) -> Certificate:
    """Keep the certificate that came with a package from elsewhere; `Invalid` unless it holds and is about this file."""
    verified = verify(envelope, package.sha256)
    same = Certificate.objects.filter(organisation=package.organisation_id, digest=verified.digest)
    present = same.first()
    if present is None:
        try:
            with transaction.atomic():
                present = Certificate.objects.create(
                    organisation_id=package.organisation_id,
                    package=package,
                    own=False,
                    lab=verified.lab,
                    lab_key=verified.lab_key,
                    sha256=verified.sha256,
                    level=verified.level,
                    levels=list(verified.levels),
                    envelope=dsse.bare(envelope),
                    digest=verified.digest,
                    not_before=verified.valid_from,
                    not_after=verified.valid_until,
                )
        except IntegrityError:
            present = same.get()
        audit.record(SYSTEM, "certificate.accept", present, lab=verified.lab, level=verified.level)
        followers.tell([package.pk])
    return present


def levels_of(package_ids: Iterable[Any]) -> dict[Any, str]:
    """Return the highest level that a valid certificate gives each package; those without one are left out. Two queries."""
    return levels_by_digest(dict(Package.objects.filter(pk__in=list(package_ids)).values_list("pk", "sha256")))


def levels_by_digest(digests: Mapping[Any, str]) -> dict[Any, str]:
    """As `levels_of`, for packages of which the digest is known, by id; one query."""
    found: dict[str, str] = {}
    rows = Certificate.objects.valid().filter(sha256__in=set(digests.values())).values_list("sha256", "level")
    for sha256, level in rows:
        if sha256 not in found or LEVELS.index(level) > LEVELS.index(found[sha256]):
            found[sha256] = level
    return {pk: found[sha256] for pk, sha256 in digests.items() if sha256 in found}


@transaction.atomic
def trust_lab(
    *, actor: Actor, name: str, public_pem: str, owner: str = "", expires_at: datetime | None = None
) -> TrustedLab:
    """Let the certificates of a lab count in this store; for the operator. `Conflict` when its key is known already."""
    operator = accounts.operator()
    actor.require("certification.manage", operator)
    if not name.strip():
        raise Invalid(say("Give the lab a name"), field="name")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid(say("The trust must end in the future"), field="expires_at")
    try:
        key = dsse.load_public(public_pem[:10_000])
    except Invalid as problem:
        raise Invalid(problem.detail, field="public_pem") from None
    if any(dsse.key_id(ours) == dsse.key_id(key) for ours in keys.known(keys.LAB)):
        raise Conflict(say("That is the key of this store's own lab, which counts anyway."), field="public_pem")
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    present = TrustedLab.objects.filter(key_id=dsse.key_id(key)).first()
    if present is not None and present.revoked_at is None:
        raise Conflict(say("That key is known already, as {name}.", name=present.name), field="public_pem")
    fields: dict[str, Any] = {
        "name": name.strip()[:120], "owner": owner.strip()[:200], "public_pem": pem, "expires_at": expires_at,
        "organisation": operator, "revoked_at": None, "revoked_reason": "",
    }  # fmt: skip
    lab, _ = TrustedLab.objects.update_or_create(key_id=dsse.key_id(key), defaults=fields)
    audit.record(actor, "lab.trust", lab, organisation=operator, key=lab.key_id)
    _tell(lab)
    return lab


@transaction.atomic
def distrust_lab(lab: TrustedLab, *, actor: Actor, reason: str) -> TrustedLab:
    """Let the certificates of a lab count for nothing from now on, also those that are here already."""
    actor.require("certification.manage", lab.organisation_id)
    if not reason.strip():
        raise Invalid(
            say("Say why it is no longer trusted"), errors=[{"field": "reason", "detail": say("must not be empty")}]
        )
    lab.revoked_at, lab.revoked_reason = timezone.now(), reason.strip()[:500]
    lab.save(update_fields=["revoked_at", "revoked_reason"])
    audit.record(actor, "lab.distrust", lab, reason=lab.revoked_reason)
    _tell(lab)
    return lab


def _tell(lab: TrustedLab) -> None:
    rows = Certificate.objects.filter(lab_key=lab.key_id).exclude(package=None)
    followers.tell(rows.values_list("package_id", flat=True).distinct())
