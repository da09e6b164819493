"""From a certificate to somebody whom one trusts (RFC 5280, 6): pure, and without a network.

`pyhanko-certvalidator` builds and validates the path; revocation is decided here, so that a list that is out of date
still says whom it has revoked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

from asn1crypto import crl, x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import CertificateRevocationList, load_der_x509_certificate, load_der_x509_crl
from pyhanko_certvalidator import CertificateValidator
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import (
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    PathValidationError,
    ValidationError,
)
from pyhanko_certvalidator.policy_decl import DisallowWeakAlgorithmsPolicy

from appstore.packages import cms
from core.words import say

T = TypeVar("T")
_WEAK = frozenset({"md2", "md5", "sha1", "sha224"})
_LONGEST_PATH = 8
#: Revoked for these reasons, a key was in wrong hands: when a signature was made does not matter then.
_COMPROMISED = frozenset({"key_compromise", "ca_compromise", "aa_compromise"})


class NoPath(Exception):
    """There is no path to anybody trusted; the text says why, `remedy` what would help."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A revocation list that could be read: who issued it, until when it counts, and whom it names."""

    der: bytes
    issuer: str
    number: int
    this_update: datetime
    next_update: datetime | None
    #: Serial number to the moment of revocation and the reason.
    revoked: dict[int, tuple[datetime, str]]

    def signed_by(self, certificate: x509.Certificate) -> bool:
        """Return whether that certificate's key signed the list, and may (key usage cRLSign)."""
        usage = certificate.key_usage_value
        if usage is not None and "crl_sign" not in usage.native:
            return False
        return _signed_by(self.der, certificate.public_key.dump())


@lru_cache(maxsize=1024)
def certificate(der: bytes) -> x509.Certificate:
    """Return the certificate; parsed once for each process. `ValueError` when it is none."""
    found = x509.Certificate.load(der, strict=True)
    found.native  # noqa: B018  (asn1crypto reads late; what is wrong shall show here)
    return found


@lru_cache(maxsize=256)
def revocation_list(der: bytes) -> RevocationList:
    """Read a CRL (RFC 5280, 5); `ValueError` when it is none, or of a kind that says less than it seems to."""
    read = crl.CertificateList.load(der, strict=True)
    listed = read["tbs_cert_list"]
    for extension in listed["crl_extensions"]:
        # Delta and indirect lists, and lists of some reasons or certificates only, would have to be read with others.
        if extension["critical"].native:
            raise ValueError(f"the list has the critical extension {extension['extn_id'].native}, which is not read")
    entries: dict[int, tuple[datetime, str]] = {}
    for entry in listed["revoked_certificates"]:
        if any(e["critical"].native and e["extn_id"].native != "crl_reason" for e in entry["crl_entry_extensions"]):
            raise ValueError("an entry of the list has a critical extension, which is not read")
        reason = entry.crl_reason_value.native if entry.crl_reason_value else "unspecified"
        if reason != "remove_from_crl":
            entries[entry["user_certificate"].native] = (_aware(entry["revocation_date"].native), reason)
    following = listed["next_update"].native
    return RevocationList(
        der,
        read.issuer.hashable,
        int(read.crl_number_value.native) if read.crl_number_value else 0,
        _aware(listed["this_update"].native),
        _aware(following) if following else None,
        entries,
    )


@lru_cache(maxsize=1024)
def _signed_by(der: bytes, key: bytes) -> bool:
    try:
        read: CertificateRevocationList = load_der_x509_crl(der)
        return read.is_signature_valid(serialization.load_der_public_key(key))  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False


@lru_cache(maxsize=4096)
def fingerprint(der: bytes) -> str:
    """Return the SHA-256 in lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def path_to(leaf: bytes, others: Iterable[bytes], anchors: Iterable[bytes], moment: datetime) -> list[bytes]:
    """Return the path from `leaf` to one of `anchors`, the leaf first and the anchor last; all DER.

    An anchor that is the leaf itself is a path of one. `NoPath` when none is valid at `moment`.
    """
    trusted = list(anchors)
    if leaf in trusted:
        _in_force(certificate(leaf), moment)
        return [leaf]
    roots = [certificate(der) for der in trusted if _may_certify(certificate(der))]
    if not roots:
        raise NoPath(
            say("nobody on the trust list vouches for the signer"), say("Add the signer or its authority as an anchor")
        )
    known = [certificate(der) for der in others if der != leaf]
    context = ValidationContext(
        trust_roots=roots,
        other_certs=known,
        moment=moment,
        allow_fetching=False,
        revocation_mode="soft-fail",
        algorithm_usage_policy=DisallowWeakAlgorithmsPolicy(_WEAK, rsa_key_size_threshold=cms.SMALLEST_RSA),
    )
    try:
        found = _at_once(CertificateValidator(certificate(leaf), validation_context=context).async_validate_path())
    except ExpiredError as problem:
        raise NoPath(
            say(
                "a certificate on the way was out of force at {moment} UTC: {problem}",
                moment=format(moment, "%Y-%m-%d %H:%M"),
                problem=_short(problem),
            ),
            say("Sign again with a certificate that is in force, or have signatures timestamped"),
        ) from None
    except NotYetValidError as problem:
        raise NoPath(
            say("a certificate on the way is not in force yet: {problem}", problem=_short(problem)),
            say("Wait, or sign again"),
        ) from None
    except PathBuildingError:
        raise NoPath(
            say("nobody on the trust list vouches for the signer"), say("Add the signer or its authority as an anchor")
        ) from None
    except (PathValidationError, ValidationError) as problem:
        raise NoPath(say("the path to a trusted authority does not hold: {problem}", problem=_short(problem))) from None
    except (*cms.UNREADABLE, UnsupportedAlgorithm):
        raise NoPath(say("the certificates cannot be read")) from None
    path = [each.dump() for each in found]
    if path[0] != leaf:
        path.reverse()
    if len(path) > _LONGEST_PATH:
        raise NoPath(say("the path has more than {longest_path} certificates", longest_path=_LONGEST_PATH))
    # RFC 5280 asks nothing of an anchor's own dates; whoever added one expects that they count.
    _in_force(certificate(path[-1]), moment)
    for der in path[1:]:
        weak = cms.certificate_weaknesses(certificate(der)) if der != path[-1] else _weak_key(certificate(der))
        if weak:
            raise NoPath(
                say("the path to a trusted authority is weak: {weak}", weak=weak[0]),
                say("Ask the authority for a stronger one"),
            )
    return path


def revoked(
    path: list[bytes], lists: Iterable[RevocationList], stamped: datetime | None
) -> tuple[str, list[RevocationList]]:
    """Return why one of the path is revoked (empty when none is), and the lists that speak of the path.

    `stamped` is when a trusted timestamp saw the signature: a certificate that was revoked later, and not because
    its key was in wrong hands, was good then.
    """
    known, used = list(lists), []
    for der, above in pairwise(path):
        child, issuer = certificate(der), certificate(above)
        for each in known:
            if each.issuer != child.issuer.hashable or not each.signed_by(issuer):
                continue
            used.append(each)
            entry = each.revoked.get(child.serial_number)
            if entry is None:
                continue
            at, reason = entry
            if stamped is not None and stamped < at and reason not in _COMPROMISED:
                continue
            name = cms.short_name(child.subject)
            moment, why = f"{at:%Y-%m-%d %H:%M}", reason.replace("_", " ")
            return say("{name} was revoked at {moment} UTC ({why})", name=name, moment=moment, why=why), used
    return "", used


@lru_cache(maxsize=1024)
def certified_by(der: bytes, above: bytes) -> bool:
    """Return whether the key of `above` signed the certificate `der`, by name and by signature; dates do not matter."""
    try:
        load_der_x509_certificate(der).verify_directly_issued_by(load_der_x509_certificate(above))
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def validity(der: bytes) -> tuple[datetime, datetime]:
    """Return from when until when the certificate is in force."""
    told = certificate(der)["tbs_certificate"]["validity"]
    return _aware(told["not_before"].native), _aware(told["not_after"].native)


def _in_force(found: x509.Certificate, moment: datetime) -> None:
    start, end = validity(found.dump())
    if not start <= moment <= end:
        name = cms.short_name(found.subject)
        when = f"from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
        raise NoPath(
            say("the certificate of {name} is in force {when} only", name=name, when=when),
            say("Sign again with one that is in force"),
        )


def _may_certify(found: x509.Certificate) -> bool:
    """A single signer's certificate vouches for itself only; a certificate of before X.509v3 may be a root."""
    if found.basic_constraints_value is None:
        return False
    usage = found.key_usage_value
    return bool(found.ca) and (usage is None or "key_cert_sign" in usage.native)


def _weak_key(found: x509.Certificate) -> list[str]:
    return [each for each in cms.certificate_weaknesses(found) if not each.startswith("the certificate is signed")]


def _short(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200].rstrip(".")


def _aware(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits: nothing is fetched, so no event loop is needed, and none may be in the way."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("path validation waits for something, although nothing may be fetched")
