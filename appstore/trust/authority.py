"""The small certificate authority of a store, for organisations that have none: make it, issue, revoke, list what is revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appstore.trust import services
from appstore.trust.models import Anchor, Authority, Crl, SignerCertificate
from core.accounts import access
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid, Missing
from core.vault import Vault
from core.words import say

NAME = "Store authority"
ROOT_LIFE, SIGNER_LIFE, CRL_LIFE = timedelta(days=3650), timedelta(days=397), timedelta(days=30)
#: Clocks of others may be behind ours by this much.
_SKEW = timedelta(minutes=5)
REASONS = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
}
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def present(name: str = NAME) -> Authority:
    """Return the authority of this store; `Missing` while nobody has made one."""
    found = Authority.objects.filter(name=name, retired_at=None).first()
    if found is None:
        raise Missing(say("This store has no authority of its own yet; its operator makes one."))
    return found


@transaction.atomic
def create(*, actor: Actor, name: str = NAME) -> Authority:
    """Make the authority, and an anchor of it on the trust list of the store; `Conflict` when there is one already."""
    operator = accounts.operator()
    actor.require(services.MANAGE, operator)
    if Authority.objects.filter(name=name, retired_at=None).exists():
        raise Conflict(say("This store has an authority already."))
    key = ec.generate_private_key(ec.SECP256R1())
    now = _now()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, operator.name[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{operator.name} {name}"[:64]),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    made = Authority(name=name, pem=pem)
    made.sealed = _seal(key, f"store-ca:{made.pk}")
    made.save(force_insert=True)
    services.add_anchors(operator, actor=actor, text=pem, name=name, note="The authority of this store")
    audit.record(actor, "authority.create", made, organisation=operator)
    _publish(made, actor=actor)
    return made


@transaction.atomic
def issue(
    organisation: Organisation, *, actor: Actor, csr: str = "", name: str = "", authority: Authority | None = None
) -> SignerCertificate:
    """Give the organisation a certificate to sign packages with, for 397 days.

    With `csr` (PEM, ECDSA P-256 or RSA from 3072 bits) the key stays where it was made; without, one is made and kept
    here sealed, to sign on pages. Names in the request are ignored: the organisation is who it is here. Who runs the
    store vouches by this for the organisation's name, so only they issue.
    """
    actor.require(services.MANAGE, accounts.operator())
    authority = authority or present()
    key = None if csr else ec.generate_private_key(ec.SECP256R1())
    public = _requested(csr) if key is None else key.public_key()
    root, signing_key = _loaded(authority)
    now = _now()
    if (
        SignerCertificate.objects.filter(organisation=organisation, created_at__gt=now - timedelta(days=1)).count()
        >= 20
    ):
        raise Conflict(
            say("This organisation was given 20 certificates today; use one of them, or try again tomorrow.")
        )
    end = min(now + SIGNER_LIFE, root.not_valid_after_utc)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation.name[:64]),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organisation.slug[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, (_plain(name) or f"{organisation.name} packages")[:64]),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(root.subject)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)  # type: ignore[arg-type]
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    row = SignerCertificate(
        authority=authority,
        organisation=organisation,
        subject=subject.rfc4514_string()[:200],
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        issued_by=str(actor)[:250],
        not_after=end,
    )
    if key is not None:
        row.sealed = _seal(key, f"signer:{row.pk}")
    row.save(force_insert=True)
    audit.record(actor, "certificate.issue", row, serial=row.serial, kept_here=key is not None)
    return row


@transaction.atomic
def revoke(row: SignerCertificate, *, actor: Actor, reason: str = "unspecified") -> SignerCertificate:
    """Revoke a certificate and publish the list that says so; its sealed key is forgotten. Twice is once."""
    operator = accounts.operator()
    if not actor.may(services.MANAGE, operator.pk):
        actor.require(services.MANAGE, row.organisation_id)
    if reason not in REASONS:
        raise Invalid(say("reason must be one of {reasons}", reasons=", ".join(REASONS)), field="reason")
    row = SignerCertificate.objects.select_for_update().get(pk=row.pk)
    if row.revoked_at is not None:
        return row
    row.revoked_at, row.revoked_reason, row.sealed = timezone.now(), reason, None
    row.save(update_fields=["revoked_at", "revoked_reason", "sealed"])
    audit.record(actor, "certificate.revoke", row, serial=row.serial, reason=reason)
    _publish(row.authority, actor=actor)
    return row


@transaction.atomic
def refresh(*, actor: Actor, name: str = NAME) -> Crl:
    """Publish the revocation list anew, with the next number and a new end."""
    actor.require(services.MANAGE, accounts.operator())
    return _publish(present(name), actor=actor)


def refresh_due(within: timedelta = CRL_LIFE / 3) -> int:
    """Publish the revocation list of each authority anew that ends within that time; return how many. Call it daily."""
    done = 0
    for authority in Authority.objects.filter(retired_at=None):
        root, _ = _loaded(authority)
        held = Crl.objects.filter(issuer_fingerprint=root.fingerprint(hashes.SHA256()).hex())
        if not held.filter(next_update__gt=timezone.now() + within).exists():
            with transaction.atomic():
                _publish(authority, actor=SYSTEM)
            done += 1
    return done


def visible(pk: Any, actor: Actor) -> SignerCertificate:
    """Return any certificate to who runs the store, and to others one of their own organisations."""
    rows = SignerCertificate.objects.select_related("organisation", "authority")
    if actor.may(services.MANAGE, accounts.operator().pk):
        found = rows.filter(pk=pk).first()
        if found is None:
            raise Missing(say("There is no such object, or you may not see it."))
        return found
    return access.get(rows, actor, services.MANAGE, pk)


def crl_pem(authority: Authority) -> str:
    """Return the revocation list that holds now, in PEM, for stores and operators who trust this authority."""
    mark = x509.load_pem_x509_certificate(authority.pem.encode()).fingerprint(hashes.SHA256()).hex()
    row = Crl.objects.filter(issuer_fingerprint=mark).order_by("-this_update").first()
    if row is None:
        raise Missing(say("There is no revocation list of this authority."))
    return x509.load_der_x509_crl(bytes(row.der)).public_bytes(serialization.Encoding.PEM).decode()


def private_key(row: SignerCertificate) -> ec.EllipticCurvePrivateKey:
    """Return the sealed key of a certificate, to sign with; `Conflict` when it is not here or may not be used."""
    if not row.usable or row.sealed is None:
        raise Conflict(say("This certificate cannot sign: it is revoked, out of force, or its key is not kept here."))
    return _open(bytes(row.sealed), f"signer:{row.pk}")


def _publish(authority: Authority, *, actor: Actor) -> Crl:
    """Write the next revocation list and put it on the trust list of the store."""
    authority = Authority.objects.select_for_update().get(pk=authority.pk)
    authority.crl_number += 1
    authority.save(update_fields=["crl_number"])
    root, key = _loaded(authority)
    now = _now()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.subject)
        .last_update(now)
        .next_update(now + CRL_LIFE)
        .add_extension(x509.CRLNumber(authority.crl_number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for row in authority.certificates.exclude(revoked_at=None):
        assert row.revoked_at is not None
        entry = x509.RevokedCertificateBuilder().serial_number(int(row.serial, 16)).revocation_date(row.revoked_at)
        if row.revoked_reason != "unspecified":
            entry = entry.add_extension(x509.CRLReason(REASONS[row.revoked_reason]), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return services.take_crl(accounts.operator(), actor=actor, content=der)


def is_trusted_here(authority: Authority) -> bool:
    """Return whether the operator still trusts their own authority: they may have revoked its anchor."""
    mark = x509.load_pem_x509_certificate(authority.pem.encode()).fingerprint(hashes.SHA256()).hex()
    return Anchor.objects.present().filter(fingerprint=mark, organisation=accounts.operator()).exists()


def _loaded(authority: Authority) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return x509.load_pem_x509_certificate(authority.pem.encode()), _open(
        bytes(authority.sealed), f"store-ca:{authority.pk}"
    )


def _requested(csr: str) -> object:
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        proved, key = request.is_signature_valid, request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise Invalid(say("csr is no certificate request in PEM that we can read"), field="csr") from None
    if not proved:
        raise Invalid(say("csr is not signed by the key that it is for"), field="csr")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256:
        return key
    if getattr(key, "key_size", 0) >= 3072:
        return key
    raise Invalid(say("csr must be for an ECDSA key from P-256, or RSA from 3072 bits"), field="csr")


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**dict.fromkeys(_USAGES, False), **dict.fromkeys(names, True)})


def _seal(key: ec.EllipticCurvePrivateKey, purpose: str) -> bytes:
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Vault(settings.VAULT_KEY).seal(der, purpose)


def _open(sealed: bytes, purpose: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_der_private_key(Vault(settings.VAULT_KEY).open(sealed, purpose), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _plain(text: str) -> str:
    return "".join(c for c in text.strip() if c.isprintable())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
