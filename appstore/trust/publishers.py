"""Proving to be a publisher: by the key of a certificate, or by a domain; proofs end, and are looked at again."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from appstore.packages import cms, signatures, signing
from appstore.trust import authority, judging, paths, proofs, services, trustlists
from appstore.trust.models import PublisherClaim, SignerCertificate
from appstore.trust.names import key_of
from appstore.trust.standing import State
from core.accounts import access
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid, Missing
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

RECHECK = "publisher.recheck"
LIFE, LOOK_AGAIN = timedelta(days=365), timedelta(days=7)
#: A look that fails is repeated for so long before the proof lapses: servers have bad days.
_PATIENCE = timedelta(days=2)
_MOST_OPEN = 50


def visible(pk: Any, actor: Actor) -> PublisherClaim:
    """Return any claim to who runs the store, and to others one of their own organisations."""
    rows = PublisherClaim.objects.select_related("organisation")
    if actor.may(services.MANAGE, accounts.operator().pk):
        found = rows.filter(pk=pk).first()
        if found is None:
            raise Missing(say("There is no such object, or you may not see it."))
        return found
    return access.get(rows, actor, services.MANAGE, pk)


def challenge_text(claim: PublisherClaim) -> bytes:
    """Return the bytes that a key proof signs: they name this store's question, so no other signature fits."""
    return (
        f"breakwater publisher proof\norganisation: {claim.organisation.slug}\nprovider: {claim.provider}\n"
        f"challenge: {claim.challenge}\n"
    ).encode()


@transaction.atomic
def claim(organisation: Organisation, *, actor: Actor, provider: str, method: str, domain: str = "") -> PublisherClaim:
    """Begin to prove that the organisation is `provider`; the answer has the challenge.

    `Conflict` when somebody else has proved it, or when looks at domains are off here.
    """
    actor.require(services.MANAGE, organisation)
    provider = " ".join(provider.split())
    if not key_of(provider) or len(provider) > 128 or not provider.isprintable():
        raise Invalid(say("A provider is a name of 1 to 128 characters, as packages write it"), field="provider")
    if method not in PublisherClaim.Method.values:
        raise Invalid(
            say("method must be one of {values}", values=", ".join(PublisherClaim.Method.values)), field="method"
        )
    if method == PublisherClaim.Method.KEY:
        domain = ""
    else:
        domain = proofs.clean_domain(domain)
        _may_look()
    _free(provider, organisation)
    if (
        PublisherClaim.objects.filter(organisation=organisation, state=PublisherClaim.State.PENDING).count()
        >= _MOST_OPEN
    ):
        raise Conflict(
            say("There are {most_open} open claims already; prove or withdraw them first.", most_open=_MOST_OPEN)
        )
    made = PublisherClaim.objects.create(
        organisation=organisation,
        provider=provider,
        provider_key=key_of(provider),
        method=method,
        domain=domain,
        challenge=secrets.token_urlsafe(24),
    )
    audit.record(actor, "publisher.claim", made, method=method, domain=domain)
    return made


@transaction.atomic
def prove_by_key(claim: PublisherClaim, *, actor: Actor, signature: str) -> PublisherClaim:
    """Take a detached CMS (PEM) over `challenge_text`, with the signer's certificate in it, as the proof.

    The certificate must be trusted by the list of the store, and its subject (O or CN) must be the provider's name.
    """
    actor.require(services.MANAGE, claim.organisation_id)
    if claim.method != PublisherClaim.Method.KEY or claim.state == PublisherClaim.State.WITHDRAWN:
        raise Conflict(say("This claim is not to be proved by a key."))
    found, _ = signatures.verify(signature, {"manifest": challenge_text(claim)}, "proof")
    if found.state != "valid":
        raise Invalid(say("The signature does not prove it: {problem}", problem=found.problem), field="signature")
    return _take_certificate(claim, found, actor)


@transaction.atomic
def prove_here(claim: PublisherClaim, certificate: SignerCertificate, *, actor: Actor) -> PublisherClaim:
    """Prove it with a certificate of the organisation whose key lies sealed here: we sign the challenge for them."""
    actor.require(services.MANAGE, claim.organisation_id)
    if certificate.organisation_id != claim.organisation_id:
        raise Invalid(say("This certificate belongs to another organisation"), field="certificate")
    signed = signing.sign_text(
        challenge_text(claim),
        authority.private_key(certificate),
        x509.load_pem_x509_certificate(certificate.pem.encode()),
    )
    return prove_by_key(claim, actor=actor, signature=signed.decode())


def prove_by_domain(claim: PublisherClaim, *, actor: Actor, looker: proofs.Looker | None = None) -> PublisherClaim:
    """Look at the domain now. What is found proves the domain; the operator then says that the name is theirs.

    Where the provider is called like the domain itself, nobody needs to say so.
    """
    actor.require(services.MANAGE, claim.organisation_id)
    if claim.method == PublisherClaim.Method.KEY or claim.state == PublisherClaim.State.WITHDRAWN:
        raise Conflict(say("This claim is not to be proved by a domain."))
    _may_look()
    try:
        _look(claim, looker or proofs.looker())
    except BreakwaterError as problem:
        now = timezone.now()
        PublisherClaim.objects.filter(pk=claim.pk).update(problem=problem.detail[:500], checked_at=now)
        raise
    with transaction.atomic():
        claim.checked_at, claim.problem = timezone.now(), ""
        if claim.state == PublisherClaim.State.VERIFIED or claim.provider_key == key_of(claim.domain):
            return _verify(claim, actor)
        claim.state = PublisherClaim.State.PROVED
        claim.save()
        audit.record(actor, "publisher.prove", claim, domain=claim.domain)
        return claim


@transaction.atomic
def confirm(claim: PublisherClaim, *, actor: Actor) -> PublisherClaim:
    """Say for the store that a proved domain stands for this provider's name; only who runs the store may."""
    actor.require(services.MANAGE, accounts.operator())
    if claim.state != PublisherClaim.State.PROVED:
        raise Conflict(say("Only a claim whose domain is proved can be confirmed."))
    return _verify(claim, actor)


@transaction.atomic
def withdraw(claim: PublisherClaim, *, actor: Actor) -> PublisherClaim:
    """Give the name back; the organisation itself may, and who runs the store."""
    if not actor.may(services.MANAGE, accounts.operator().pk):
        actor.require(services.MANAGE, claim.organisation_id)
    claim.state = PublisherClaim.State.WITHDRAWN
    claim.save(update_fields=["state"])
    audit.record(actor, "publisher.withdraw", claim)
    return claim


def recheck_due(now: datetime | None = None) -> int:
    """Ask for a look at every proof that has not been looked at for a week; return how many. Call it daily."""
    before = (now or timezone.now()) - LOOK_AGAIN
    due = PublisherClaim.objects.reserving().filter(Q(checked_at__lt=before) | Q(checked_at=None))
    for row in due.only("pk", "organisation_id")[:500]:
        operations.request(
            RECHECK, f"publisher:{row.pk}", organisation=row.organisation_id, actor=SYSTEM, claim=str(row.pk)
        )
    return len(due[:500])


@operations.handles(RECHECK)
def recheck(operation: Operation) -> None:
    """Look at one proof again; twice is once."""
    claim = PublisherClaim.objects.select_related("organisation").filter(pk=operation.payload["claim"]).first()
    if claim is not None:
        look_again(claim)


def look_again(claim: PublisherClaim, *, looker: proofs.Looker | None = None) -> PublisherClaim:
    """Look whether a proof still holds: a domain that is lost, or a certificate that is trusted no more, lets it lapse.

    A domain that cannot be reached has two days; one that answers without the line lapses at once.
    """
    if claim.state not in (PublisherClaim.State.VERIFIED, PublisherClaim.State.LAPSED):
        return claim
    now = timezone.now()
    problem = ""
    try:
        if claim.method == PublisherClaim.Method.KEY:
            _still_trusted(claim)
        else:
            _may_look()
            _look(claim, looker or proofs.looker())
    except BreakwaterError as why:
        problem = why.detail[:500]
        last = claim.checked_at or claim.verified_at or now
        if why.retryable and claim.state == PublisherClaim.State.VERIFIED and now - last < LOOK_AGAIN + _PATIENCE:
            PublisherClaim.objects.filter(pk=claim.pk).update(problem=problem)
            raise
    with transaction.atomic():
        claim = PublisherClaim.objects.select_for_update().get(pk=claim.pk)
        expired = claim.expires_at is not None and claim.expires_at <= now
        if problem or expired:
            claim.state = PublisherClaim.State.LAPSED
        elif claim.state == PublisherClaim.State.LAPSED:
            return _verify(claim, SYSTEM)
        claim.problem, claim.checked_at = (
            problem or (say("the proof has ended; prove it again") if expired else ""),
            now,
        )
        claim.save(update_fields=["state", "problem", "checked_at"])
        if claim.state == PublisherClaim.State.LAPSED:
            audit.record(SYSTEM, "publisher.lapse", claim, reason=claim.problem)
    return claim


def _look(claim: PublisherClaim, looker: proofs.Looker) -> None:
    if claim.method == PublisherClaim.Method.WEB:
        looker.web(claim.domain, claim.challenge)
    else:
        looker.dns(claim.domain, claim.challenge)


def _take_certificate(claim: PublisherClaim, found: signatures.Signature, actor: Actor) -> PublisherClaim:
    operator = accounts.operator()
    trust = trustlists.load(trustlists.policies(operator.pk))
    judged = judging.assess(found.as_dict(), trust, timezone.now()).standing
    if judged.state is not State.TRUSTED:
        raise Invalid(say("The certificate proves nothing here: {reason}", reason=judged.reason), field="signature")
    der = next(each for each in _ders(found) if paths.fingerprint(each) == judged.fingerprint)
    if claim.provider_key not in _names_of(der):
        subject = cms.printable_name(paths.certificate(der).subject)
        raise Invalid(
            say("The certificate is for {subject}, not for {provider}", subject=subject, provider=claim.provider),
            field="signature",
        )
    claim.certificate, claim.certificate_fingerprint = der, judged.fingerprint
    claim.chain = list(found.certificates)
    claim.certificate_subject = judged.signer[:200]
    claim.checked_at, claim.problem = timezone.now(), ""
    return _verify(claim, actor)


def _ders(found: signatures.Signature) -> list[bytes]:
    return [base64.b64decode(each) for each in found.certificates]


def _names_of(der: bytes) -> set[str]:
    told = paths.certificate(der).subject.native
    names = [told.get("organization_name"), told.get("common_name")]
    return {key_of(str(name)) for name in names if name}


def _still_trusted(claim: PublisherClaim) -> None:
    trust = trustlists.load(trustlists.policies(accounts.operator().pk))
    anchors = [a.der for a in trust.anchors if a.purpose == judging.PUBLISHER]
    der = bytes(claim.certificate or b"")
    try:
        between = [base64.b64decode(each) for each in claim.chain]
        path = paths.path_to(der, between, anchors, timezone.now())
    except (paths.NoPath, *cms.UNREADABLE) as why:
        raise Invalid(say("its certificate is not trusted any more: {why}", why=why)) from None
    revoked, _ = paths.revoked(path, trust.lists, None)
    if revoked or any(paths.fingerprint(each) in trust.distrusted for each in path):
        raise Invalid(revoked or say("its certificate is distrusted"))


def _verify(claim: PublisherClaim, actor: Actor) -> PublisherClaim:
    now = timezone.now()
    # Proofs of others that have run out keep the name only until somebody proves it anew.
    others = PublisherClaim.objects.filter(provider_key=claim.provider_key, state=PublisherClaim.State.VERIFIED)
    others = others.exclude(pk=claim.pk)
    others.filter(Q(expires_at__lte=now) | Q(organisation=claim.organisation_id)).update(
        state=PublisherClaim.State.LAPSED, problem=say("a newer proof took its place")
    )
    claim.state, claim.verified_at, claim.expires_at = PublisherClaim.State.VERIFIED, now, now + LIFE
    if claim.certificate:
        claim.expires_at = min(claim.expires_at, paths.validity(bytes(claim.certificate))[1])
    try:
        with transaction.atomic():
            claim.save()
    except IntegrityError:
        raise Conflict(
            say("Another organisation has proved to be {provider}.", provider=claim.provider), field="provider"
        ) from None
    audit.record(actor, "publisher.verify", claim, method=claim.method, until=claim.expires_at.isoformat())
    return claim


def _free(provider: str, organisation: Organisation) -> None:
    taken = PublisherClaim.objects.verified().filter(provider_key=key_of(provider)).exclude(organisation=organisation)
    if taken.exists():
        raise Conflict(say("Another organisation has proved to be {provider}.", provider=provider), field="provider")


def _may_look() -> None:
    store = trustlists.policies(accounts.operator().pk).store
    if not (proofs.MAY_LOOK_OUTSIDE and store.domain_proofs):
        raise Conflict(
            say("This store does not look at domains outside. Prove it by a key, or ask the operator to allow it."),
            field="method",
        )
