"""What a certificate says, and how it is judged. Needs neither database nor network, so it works anywhere.

A certificate is a DSSE envelope around an in-toto statement (v1): the subject is the SHA-256 of the package, the
predicate says what was checked, how, where and with which result, and from when to when that counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from core import dsse
from core.errors import Invalid
from core.words import say

PREDICATE: Final = "urn:breakwater:certification:v1"
LEVELS: Final = ("basic", "standard", "telco")


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab whose certificates count: its public key, and until when it is trusted."""

    name: str
    key: dsse.PublicKey
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a certificate that holds says."""

    id: str
    level: str
    levels: tuple[str, ...]
    lab: str
    lab_key: str
    sha256: str
    application: Mapping[str, str]
    suites: tuple[Mapping[str, Any], ...]
    valid_from: datetime
    valid_until: datetime
    simulated: bool
    #: SHA-256 of the signed payload.
    digest: str


def predicate(
    *,
    certificate: str,
    lab: str,
    lab_key: str,
    application: Mapping[str, str],
    suites: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    level: str,
    levels: Sequence[str],
    verdict: str,
    not_before: datetime,
    not_after: datetime,
) -> dict[str, Any]:
    """Return the predicate of a certificate."""
    return {
        "certificate": certificate,
        "lab": {"name": lab, "key": lab_key},
        "application": dict(application),
        "suites": [dict(suite) for suite in suites],
        "checks": [dict(check) for check in checks],
        "environment": dict(environment),
        "verdict": verdict,
        "level": level,
        "levels": list(levels),
        "validity": {"notBefore": moment(not_before), "notAfter": moment(not_after)},
    }


def moment(at: datetime) -> str:
    """Write a time as certificates have it: UTC, to the second (RFC 3339)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def verify(
    envelope: Any,
    labs: Iterable[Lab],
    *,
    sha256: str = "",
    at: datetime | None = None,
    package_name: str = "the package",
) -> Verified:
    """Return what the certificate says when it holds; `Invalid` with the reason when it does not.

    It must be signed by one of `labs` that is trusted at `at` (now), be about the package with that SHA-256 (any one
    when empty), and be valid then.
    """
    now = (at or datetime.now(UTC)).astimezone(UTC)
    known = {dsse.key_id(lab.key): lab for lab in labs}
    said, signer = dsse.open_statement(envelope, PREDICATE, [lab.key for lab in known.values()])
    lab = known[signer]
    if lab.revoked_at is not None:
        raise Invalid(say("The lab {name} is no longer trusted here", name=lab.name))
    if lab.expires_at is not None and lab.expires_at <= now:
        raise Invalid(
            say(
                "The trust in the lab {name} ended on {expires_at}",
                name=lab.name,
                expires_at=format(lab.expires_at, "%Y-%m-%d"),
            )
        )
    try:
        verified = _read(said, lab, signer, envelope)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise Invalid(say("The certificate is signed, but a member of it is missing or cannot be read")) from problem
    if now < verified.valid_from:
        raise Invalid(say("The certificate is not valid before {valid_from}", valid_from=moment(verified.valid_from)))
    if now >= verified.valid_until:
        raise Invalid(say("The certificate expired on {valid_until}", valid_until=moment(verified.valid_until)))
    if sha256 and verified.sha256 != sha256.lower():
        raise Invalid(
            say(
                "The certificate is about another file: SHA-256 {verified_sha256}, and {package_name} has {sha256}",
                verified_sha256=verified.sha256,
                package_name=package_name,
                sha256=sha256,
            )
        )
    return verified


def _read(said: Mapping[str, Any], lab: Lab, signer: str, envelope: Mapping[str, Any]) -> Verified:
    subjects = said["subject"]
    if len(subjects) != 1:
        raise ValueError("a certificate is about one package")
    body = said["predicate"]
    level, levels = body["level"], tuple(body["levels"])
    if level not in LEVELS or not set(levels) <= set(LEVELS) or level not in levels:
        raise ValueError("no level that is known here")
    digest = str(subjects[0]["digest"]["sha256"]).lower()
    if len(digest) != 64:
        raise ValueError("no SHA-256")
    start, end = (_moment(body["validity"][name]) for name in ("notBefore", "notAfter"))
    suites = tuple({name: each[name] for name in ("name", "version", "digest")} for each in body["suites"])
    return Verified(
        id=str(body["certificate"])[:64],
        level=level,
        levels=levels,
        lab=lab.name,
        lab_key=signer,
        sha256=digest,
        application={str(name): str(value)[:200] for name, value in body["application"].items()},
        suites=suites,
        valid_from=start,
        valid_until=end,
        simulated=bool((body["environment"].get("sandbox") or {}).get("simulated")),
        digest=digest_of(envelope),
    )


def digest_of(envelope: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the payload of an envelope: the same certificate has the same, however it is spelled."""
    return hashlib.sha256(dsse.payload_of(envelope)).hexdigest()


def _moment(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC)


def parse(data: bytes | str) -> dict[str, Any]:
    """Read a certificate file; `Invalid` unless it is a JSON object of a bearable size."""
    if len(data) > dsse.LONGEST:
        raise Invalid(say("The certificate is larger than 4 MiB"))
    try:
        envelope = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise Invalid(say("The certificate is no JSON")) from problem
    if not isinstance(envelope, dict):
        raise Invalid(say("The certificate is no DSSE envelope"))
    return envelope
