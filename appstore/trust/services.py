"""Verbs of trust: add, expire and revoke anchors, take revocation lists, set policies; and what a package's signature is worth.

Entry points for other topics: `standing`, `standings`, `judgement`, `trusted_publishers`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from asn1crypto import pem
from django.db import IntegrityError, transaction
from django.utils import timezone

from appstore.packages import cms
from appstore.packages.models import Package
from appstore.trust import cataloguing, judging, paths, trustlists
from appstore.trust.judging import Judgement
from appstore.trust.models import Anchor, Crl, Distrust, PublisherClaim, TrustPolicy
from appstore.trust.names import key_of
from appstore.trust.standing import Standing, State
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.words import say

MANAGE = "trust.manage"
_LARGEST_PEM, _LARGEST_CRL, _MOST_AT_ONCE = 256 << 10, 1 << 20, 50
_POLICY = ("publish_least", "deploy_least", "import_least", "inherits", "strict_revocation", "domain_proofs")

_judged: trustlists.Kept[Judgement] = trustlists.Kept(20_000)


# What a signature is worth.


def standing(package: Package, organisation: Organisation | UUID) -> Standing:
    """Return what the trust list of the organisation says of the package now."""
    return standings([package], organisation)[package.pk]


def standings(packages: Iterable[Package], organisation: Organisation | UUID) -> dict[Any, Standing]:
    """Return the standing of each package by its id; a fixed number of queries, however many packages."""
    return _standings(list(packages), trustlists.policies(_id_of(organisation)))


def standings_in_store(packages: Iterable[Package]) -> dict[Any, Standing]:
    """Return the standing of each package by its id as the store itself has it; three queries."""
    return _standings(list(packages), trustlists.policies_of_store())


def _standings(rows: list[Package], both: trustlists.Policies) -> dict[Any, Standing]:
    names = trusted_publishers(rows)
    found = _judgements(rows, both)
    return {
        row.pk: replace(found[row.pk].standing, publisher=names[row.pk]) if row.pk in names else found[row.pk].standing
        for row in rows
    }


def judgement(package: Package, organisation: Organisation | UUID) -> Judgement:
    """Return the standing with its grounds: the path, the moment it rests on, what would help."""
    return judgements([package], organisation)[package.pk]


def judgements(packages: Iterable[Package], organisation: Organisation | UUID) -> dict[Any, Judgement]:
    """Return the judgement of each package by its id; what was judged by the same list before is not judged again."""
    return _judgements(packages, trustlists.policies(_id_of(organisation)))


def _id_of(organisation: Organisation | UUID) -> UUID:
    return organisation.pk if isinstance(organisation, Organisation) else organisation


def _judgements(packages: Iterable[Package], both: trustlists.Policies) -> dict[Any, Judgement]:
    trust = trustlists.load(both)
    now = timezone.now()
    found = {}
    for row in packages:
        key = (row.pk, row.checked_at, row.signature.get("fingerprint"), row.signature.get("state"), trust.version)
        known = _judged.get(key)
        if known is None or known.until is None or known.until <= now or not row.pk:
            known = _judged.put(key, judging.assess(row.signature, trust, now))
        found[row.pk] = known
    return found


def trusted_publishers(packages: Iterable[Package]) -> dict[Any, str]:
    """Return the verified publisher of each package that has one, by the package's id; one query."""
    rows = [row for row in packages if not row.origin and row.provider]
    keys = {key_of(row.provider) for row in rows}
    if not keys:
        return {}
    claims = PublisherClaim.objects.verified().filter(provider_key__in=keys)
    owners = {
        key: (owner, name) for key, owner, name in claims.values_list("provider_key", "organisation_id", "provider")
    }
    verified = {}
    for row in rows:
        owner, name = owners.get(key_of(row.provider), (None, ""))
        if owner is not None and owner == row.organisation_id:
            verified[row.pk] = name
    return verified


# Policy.


@transaction.atomic
def set_policy(organisation: Organisation, *, actor: Actor, **changes: Any) -> TrustPolicy:
    """Change what the organisation demands; `Invalid` for a state or a member that there is not."""
    actor.require(MANAGE, organisation)
    unknown = sorted(set(changes) - set(_POLICY))
    if unknown:
        raise Invalid(say("A policy has no {unknown}", unknown=unknown[0]), field=unknown[0])
    states = [str(State.UNSIGNED), str(State.UNKNOWN), str(State.TRUSTED)]
    for name, value in changes.items():
        if name.endswith("_least") and value not in states:
            raise Invalid(say("{name} must be one of {states}", name=name, states=", ".join(states)), field=name)
        if not name.endswith("_least") and not isinstance(value, bool):
            raise Invalid(say("{name} must be true or false", name=name), field=name)
    policy = _touch(organisation)
    for name, value in changes.items():
        setattr(policy, name, value)
    policy.save()
    audit.record(actor, "trust.policy", policy, organisation=organisation, **changes)
    return policy


# Anchors.


@transaction.atomic
def add_anchors(
    organisation: Organisation,
    *,
    actor: Actor,
    text: str,
    name: str = "",
    purpose: str = judging.PUBLISHER,
    expires_at: datetime | None = None,
    note: str = "",
) -> list[Anchor]:
    """Trust each certificate in `text` (PEM); what is trusted for that purpose already stays as it is.

    `Invalid` when there is none, when one can never be trusted (RSA under 2048 bits), or is out of force.
    """
    actor.require(MANAGE, organisation)
    if purpose not in Anchor.Purpose.values:
        raise Invalid(say("purpose must be one of {values}", values=", ".join(Anchor.Purpose.values)), field="purpose")
    now = timezone.now()
    if expires_at is not None and expires_at <= now:
        raise Invalid(say("The end of an anchor must lie in the future"), field="expires_at")
    ders = certificates_in(text)
    kept, made = [], []
    for der in ders:
        _fit_for_anchor(der, now)
        mark = paths.fingerprint(der)
        present = Anchor.objects.filter(
            organisation=organisation, fingerprint=mark, purpose=purpose, revoked_at=None
        ).first()
        if present is not None:
            kept.append(present)
            continue
        anchor = _anchor(der, organisation, name if len(ders) == 1 else "", purpose)
        anchor.expires_at, anchor.note, anchor.added_by = expires_at, note.strip()[:500], str(actor)[:250]
        anchor.save(force_insert=True)
        made.append(anchor)
        audit.record(actor, "trust.add", anchor, fingerprint=mark, purpose=purpose)
    if made:
        _touch(organisation)
    return [*kept, *made]


@transaction.atomic
def expire(anchor: Anchor, *, actor: Actor, at: datetime | None) -> Anchor:
    """Let an anchor end at that moment, or as late as its certificate when None; `Conflict` when it is revoked."""
    actor.require(MANAGE, anchor.organisation_id)
    if anchor.revoked_at is not None:
        raise Conflict(say("This anchor is revoked; add the certificate again to trust it again."))
    anchor.expires_at = at
    anchor.save(update_fields=["expires_at"])
    _touch(anchor.organisation, again=at)
    audit.record(actor, "trust.expire", anchor, at=at.isoformat() if at else "")
    return anchor


@transaction.atomic
def revoke(anchor: Anchor, *, actor: Actor, reason: str) -> Anchor:
    """Trust it no more, at once; it stays in the list to be seen. A reason is mandatory; twice is once."""
    actor.require(MANAGE, anchor.organisation_id)
    if anchor.revoked_at is not None:
        return anchor
    if not reason.strip():
        raise Invalid(say("Say why it is not trusted any more"), field="reason")
    anchor.revoked_at, anchor.revoked_reason = timezone.now(), reason.strip()[:500]
    anchor.save(update_fields=["revoked_at", "revoked_reason"])
    _touch(anchor.organisation)
    audit.record(actor, "trust.revoke", anchor, reason=anchor.revoked_reason)
    return anchor


def export(organisation: Organisation) -> str:
    """Return the anchors that count now as PEM, each under its name."""
    parts = []
    for anchor in Anchor.objects.filter(organisation=organisation).present():
        body = pem.armor("CERTIFICATE", bytes(anchor.der)).decode()
        parts.append(f"# {anchor.name} ({anchor.purpose})\n{body}")
    return "\n".join(parts)


@transaction.atomic
def distrust(organisation: Organisation, *, actor: Actor, fingerprint: str, reason: str, subject: str = "") -> Distrust:
    """Count no path on which that certificate lies, whoever else trusts it. Saying it twice is saying it once."""
    actor.require(MANAGE, organisation)
    mark = fingerprint.strip().lower().replace(":", "")
    if len(mark) != 64 or set(mark) - set("0123456789abcdef"):
        raise Invalid(say("A fingerprint is a SHA-256 in 64 hex digits"), field="fingerprint")
    if not reason.strip():
        raise Invalid(say("Say why it is not trusted"), field="reason")
    known = Anchor.objects.filter(fingerprint=mark).values_list("subject", flat=True).first()
    row, fresh = Distrust.objects.get_or_create(
        organisation=organisation,
        fingerprint=mark,
        defaults={
            "reason": reason.strip()[:500],
            "subject": (subject or known or "")[:200],
            "added_by": str(actor)[:250],
        },
    )
    if fresh:
        _touch(organisation)
        audit.record(actor, "trust.distrust", row, fingerprint=mark, reason=row.reason)
    return row


@transaction.atomic
def trust_again(row: Distrust, *, actor: Actor) -> None:
    """Take a certificate off the list of the distrusted."""
    actor.require(MANAGE, row.organisation_id)
    audit.record(actor, "trust.again", row, fingerprint=row.fingerprint)
    organisation = row.organisation
    row.delete()
    _touch(organisation)


# Revocation lists.


@transaction.atomic
def add_crl(organisation: Organisation, *, actor: Actor, content: bytes) -> Crl:
    """Take the revocation list of an authority that is trusted here, PEM or DER, instead of the one before.

    Certificates of authorities in between may stand in the same PEM. `Invalid` when it is none, or not signed by
    an authority on the list; `Conflict` when there is a newer one already (RFC 5280, 5.2.3: numbers only grow).
    """
    actor.require(MANAGE, organisation)
    return take_crl(organisation, actor=actor, content=content)


@transaction.atomic
def take_crl(organisation: Organisation, *, actor: Actor, content: bytes) -> Crl:
    """Take a revocation list without asking who brings it: our own authority publishes when a member revokes."""
    der, between = _crl_in(content)
    try:
        told = paths.revocation_list(der)
    except cms.UNREADABLE as problem:
        raise Invalid(
            say("That is no revocation list that can be read: {problem}", problem=str(problem)[:200]), field="crl"
        ) from None
    now = timezone.now()
    if told.this_update > now:
        raise Invalid(
            say(
                "This list is of the future: {this_update} UTC", this_update=format(told.this_update, "%Y-%m-%d %H:%M")
            ),
            field="crl",
        )
    issuer = _issuer_of(told, between, trustlists.load(trustlists.policies(organisation.pk)), now)
    mark = paths.fingerprint(issuer)
    present = Crl.objects.select_for_update().filter(organisation=organisation, issuer_fingerprint=mark).first()
    if present is not None and bytes(present.der) == der:
        return present
    if present is not None and (told.number, told.this_update) <= (int(present.number), present.this_update):
        raise Conflict(
            say(
                "The list of {issuer} here has number {present_number}; this one has {told_number}. "
                "A list is only replaced by a newer one.",
                issuer=present.issuer,
                present_number=present.number,
                told_number=told.number,
            ),
            field="crl",
        )
    row = present or Crl(organisation=organisation, issuer_fingerprint=mark)
    row.issuer = cms.printable_name(paths.certificate(issuer).subject)
    row.number, row.der, row.entries = str(told.number), der, len(told.revoked)
    row.this_update, row.next_update, row.added_by = told.this_update, told.next_update, str(actor)[:250]
    row.save()
    _touch(organisation)
    audit.record(actor, "trust.crl", row, organisation=organisation, number=row.number, entries=row.entries)
    return row


def certificates_in(text: str, field: str = "certificate") -> list[bytes]:
    """Return the certificates of a PEM text, DER, each once; `Invalid` when there is none or one cannot be read."""
    if len(text) > _LARGEST_PEM:
        raise Invalid(
            say("That is longer than the {largest_pem} characters that are read", largest_pem=_LARGEST_PEM), field=field
        )
    found: list[bytes] = []
    try:
        for kind, _, der in pem.unarmor(text.encode(), multiple=True):
            if kind == "CERTIFICATE":
                paths.certificate(der)
                found.append(der)
            elif "PRIVATE KEY" in kind:
                raise Invalid(
                    say("There is a private key in the text; send certificates only, and replace that key"), field=field
                )
    except cms.UNREADABLE:
        found = []
    if not found:
        raise Invalid(say("There is no certificate in PEM that can be read"), field=field)
    if len(found) > _MOST_AT_ONCE:
        raise Invalid(
            say("More than {most_at_once} certificates at once are not taken", most_at_once=_MOST_AT_ONCE), field=field
        )
    return list(dict.fromkeys(found))


def _fit_for_anchor(der: bytes, now: datetime) -> None:
    found = paths.certificate(der)
    name = cms.printable_name(found.subject)
    weak = [each for each in cms.certificate_weaknesses(found) if found.self_signed == "no" or "key" in each]
    if weak:
        raise Invalid(say("{name} can never be trusted: {weak}", name=name, weak=weak[0]), field="certificate")
    end = paths.validity(der)[1]
    if end <= now:
        raise Invalid(
            say("The certificate of {name} ran out at {end}", name=name, end=format(end, "%Y-%m-%d")),
            field="certificate",
        )


def _anchor(der: bytes, organisation: Organisation, name: str, purpose: str) -> Anchor:
    found = paths.certificate(der)
    start, end = paths.validity(der)
    subject = cms.printable_name(found.subject)
    return Anchor(
        organisation=organisation,
        name=(name.strip() or common_name(found) or subject)[:120],
        purpose=purpose,
        der=der,
        fingerprint=paths.fingerprint(der),
        subject=subject,
        is_authority=bool(found.ca),
        not_before=start,
        not_after=end,
    )


def common_name(found: Any) -> str:
    """Return the common name of an asn1crypto certificate, else its organisation's; fit for one line."""
    told: Mapping[str, Any] = found.subject.native
    value = told.get("common_name") or told.get("organization_name") or ""
    return "".join(c for c in str(value) if c.isprintable())[:120]


def _crl_in(content: bytes) -> tuple[bytes, list[bytes]]:
    if len(content) > _LARGEST_CRL:
        raise Invalid(
            say("A revocation list of more than {largest_crl} bytes is not taken", largest_crl=_LARGEST_CRL),
            field="crl",
        )
    if content[:1] == b"\x30":
        return content, []
    try:
        parts = [(kind, der) for kind, _, der in pem.unarmor(content, multiple=True)]
    except cms.UNREADABLE:
        parts = []
    lists = [der for kind, der in parts if kind == "X509 CRL"]
    if len(lists) != 1:
        raise Invalid(say("There must be one revocation list, in PEM (`X509 CRL`) or DER"), field="crl")
    return lists[0], [der for kind, der in parts if kind == "CERTIFICATE"]


def _issuer_of(told: paths.RevocationList, between: list[bytes], trust: judging.TrustList, now: datetime) -> bytes:
    """Return the certificate of the authority that signed the list and leads to an anchor."""
    anchors = [anchor.der for anchor in trust.anchors]
    for der in [*anchors, *between]:
        try:
            fits = told.issuer == paths.certificate(der).subject.hashable and told.signed_by(paths.certificate(der))
            if fits and der not in anchors:
                paths.path_to(der, between, anchors, now)
        except (paths.NoPath, *cms.UNREADABLE):
            continue
        if fits:
            return der
    raise Invalid(
        say("This list is not signed by an authority that is trusted here; add the authority first"), field="crl"
    )


def _touch(organisation: Organisation, *, again: datetime | None = None) -> TrustPolicy:
    """Give the trust list another number, so that what was judged by the old one is judged again; once more at `again`."""
    cataloguing.changed(organisation, again=again)
    policy = TrustPolicy.objects.select_for_update().filter(pk=organisation.pk).first()
    if policy is None:
        try:
            with transaction.atomic():
                return TrustPolicy.objects.create(organisation=organisation, version=secrets.randbits(52))
        except IntegrityError:
            policy = TrustPolicy.objects.select_for_update().get(pk=organisation.pk)
    policy.version = secrets.randbits(52)
    policy.save(update_fields=["version"])
    return policy
