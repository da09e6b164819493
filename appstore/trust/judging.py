"""What a trust list says of a signature: one pure function, `assess`. No database, no network, no clock of its own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from appstore.packages import cms
from appstore.trust import paths
from appstore.trust.paths import NoPath, RevocationList
from appstore.trust.standing import Standing, State
from core.terms import gettext_noop
from core.words import Said, say

PUBLISHER, TIMESTAMP = "publisher", "timestamp"
#: A judgement is not used for longer than this, whatever was judged.
LONGEST = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Somebody whom one trusts: an authority or a single signer, by certificate, for one purpose."""

    id: str
    name: str
    der: bytes
    purpose: str = PUBLISHER
    expires_at: datetime | None = None
    #: Whether it comes from the list of the whole store.
    store: bool = False


@dataclass(frozen=True, slots=True)
class TrustList:
    """Whom somebody trusts. `version` is another one after each change; `distrusted` are SHA-256 of certificates."""

    version: str
    anchors: tuple[Anchor, ...] = ()
    lists: tuple[RevocationList, ...] = ()
    distrusted: frozenset[str] = frozenset()
    #: Whether a path counts only with a revocation list of each authority that is not out of date.
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One certificate on the way from the signer to the anchor."""

    subject: str
    issuer: str
    fingerprint: str
    not_before: str
    not_after: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A standing with its grounds, for people who want to know why and what to do."""

    standing: Standing
    remedy: str = ""
    path: tuple[Step, ...] = ()
    anchor_id: str = ""
    anchor_is_of_the_store: bool = False
    #: What the moment of the signature rests on: `timestamp` (a trusted third party) or `now`.
    moment: str = "now"
    claimed_at: str = ""
    notes: tuple[str, ...] = ()
    #: Until when this holds at most; then look again.
    until: datetime | None = None


def assess(signature: Mapping[str, Any], trust: TrustList, now: datetime) -> Judgement:
    """Return what `trust` says at `now` of a signature (`appstore.packages.signatures.Signature` as JSON).

    Trusted is what is signed whole, by a strong signature, of which at least one signer leads to an anchor by a path that
    is valid at the moment of signing: the time of a trusted timestamp, else now.
    """
    state = signature.get("state")
    if state == "invalid":
        reason = say(
            "The signature does not hold: {problem}.",
            problem=signature.get("problem") or "it does not fit to the content",
        )
        return _plain(
            State.BROKEN, reason, signature, now, say("Do not use this package; get it again from its publisher.")
        )
    if not state:
        return _plain(
            State.UNSIGNED, say("Its signature has not been read yet."), signature, now, say("Wait for its check.")
        )
    if state != "valid":
        reason = say("It is not signed: anybody could have made it.")
        return _plain(State.UNSIGNED, reason, signature, now, say("Sign it, or ask its publisher to."))
    why = _never(signature)
    if why is not None:
        return _plain(State.UNKNOWN, why[0], signature, now, why[1])
    signers = [each for each in signature.get("signers", ()) if isinstance(each, Mapping)]
    try:
        judged = [_judge(signer, signature, trust, now) for signer in signers]
    except cms.UNREADABLE:
        # asn1crypto reads late: bytes inside a certificate that nobody looked at before may be garbage.
        reason = say("A certificate that it carries cannot be read.")
        return _plain(State.UNKNOWN, reason, signature, now, say("Sign it again with another certificate."))
    best = next((each for each in judged if each.standing.state is State.TRUSTED), judged[0])
    return replace(best, until=_until(signature, trust, now))


def _plain(state: State, reason: str, signature: Mapping[str, Any], now: datetime, remedy: str) -> Judgement:
    standing = Standing(
        state,
        reason,
        signer=str(signature.get("signer", "")),
        fingerprint=str(signature.get("fingerprint", "")),
        checked_at=now.isoformat(),
    )
    claimed = next((str(each.get("signing_time", "")) for each in signature.get("signers", ())), "")
    return Judgement(standing, remedy, claimed_at=claimed, until=now + LONGEST)


def _never(signature: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why nobody can trust this signature, whatever their list says, and what would help."""
    if not signature.get("signers") or not signature.get("certificates"):
        return (
            say("It was checked before signers were kept, so nobody can be asked."),
            say("Upload it as a new package."),
        )
    if signature.get("covers") == "sources":
        reason = say("Only the digests are signed: name, provider and version could be changed unnoticed.")
        return reason, say("Sign the whole manifest, as NFV-SOL 004 has it.")
    if signature.get("uncovered_count"):
        count = signature["uncovered_count"]
        files = ", ".join(str(name) for name in list(signature.get("uncovered", ()))[:3])
        if count == 1:
            reason = say("1 file is not covered by the signature: {files}.", files=files)
        else:
            reason = say("{count} files are not covered by the signature: {files}.", count=count, files=files)
        return reason, say("List every file in the manifest and sign again.")
    if signature.get("loose"):
        reason = say("It could be changed unnoticed: {loose}.", loose=signature["loose"])
        return reason, say("Sign it again with an ordinary tool.")
    return None


def _judge(signer: Mapping[str, Any], signature: Mapping[str, Any], trust: TrustList, now: datetime) -> Judgement:
    claimed = str(signer.get("signing_time", ""))
    standing = Standing(
        State.UNKNOWN,
        "",
        signer=str(signer.get("signer", "")),
        fingerprint=str(signer.get("fingerprint", "")),
        checked_at=now.isoformat(),
    )
    notes: list[str] = []
    try:
        if signer.get("weak"):
            raise NoPath(
                say("it can never be trusted, because {weak}", weak=signer["weak"]),
                say("Sign with ECDSA P-256 and SHA-256."),
            )
        carried = _decoded(signature.get("certificates", ()))
        own = _certificate_of(str(signer.get("fingerprint", "")), carried)
        stamp = _stamped(signer.get("timestamp") or {}, trust, now, notes)
        lists = [*trust.lists, *_lists(signature.get("crls", ()))]
        stamped = stamp.at if stamp else None
        path, anchor, used = _trusted_path(own, carried, trust, PUBLISHER, stamped or now, now, lists, stamped)
        extra = {*carried} - {*path} - {der for der in carried if _is_signer(der, signature)}
        if any(not _belongs(der, carried, trust) for der in extra):
            raise NoPath(
                say("it carries certificates that belong to nobody on the way"), say("Sign again without them.")
            )
        if any(each not in used for each in lists[len(trust.lists) :]):
            raise NoPath(say("it carries revocation lists of nobody on the way"), say("Sign again without them."))
    except NoPath as why:
        reason = _sentence(why.reason)
        return Judgement(replace(standing, reason=reason), why.remedy, claimed_at=claimed, notes=tuple(notes))
    notes += _late(used, now)
    name = f"{anchor.name}, on the list of the store" if anchor.store else anchor.name
    who = cms.short_name(paths.certificate(own).subject)
    reason = say("Signed by {who}, for whom {name} vouches.", who=who, name=name)
    if path == [own]:
        reason = say("Signed by {who}, who is trusted as {name}.", who=who, name=name)
    told = replace(
        standing,
        state=State.TRUSTED,
        reason=reason,
        anchor=anchor.name,
        signed_at=stamp.at.isoformat() if stamp else "",
    )
    return Judgement(
        told,
        path=tuple(_step(der) for der in path),
        anchor_id=anchor.id,
        anchor_is_of_the_store=anchor.store,
        moment="timestamp" if stamp else "now",
        claimed_at=claimed,
        notes=tuple(notes),
    )


def _trusted_path(
    leaf: bytes,
    carried: list[bytes],
    trust: TrustList,
    purpose: str,
    moment: datetime,
    now: datetime,
    lists: list[RevocationList],
    stamped: datetime | None,
) -> tuple[list[bytes], Anchor, list[RevocationList]]:
    anchors = [a for a in trust.anchors if a.purpose == purpose and (a.expires_at is None or a.expires_at > now)]
    usable = [a for a in anchors if paths.fingerprint(a.der) not in trust.distrusted]
    path = paths.path_to(leaf, carried, [a.der for a in usable], moment)
    for der in path:
        if paths.fingerprint(der) in trust.distrusted:
            name = cms.short_name(paths.certificate(der).subject)
            raise NoPath(
                say("{name} is distrusted here", name=name),
                say("Take it from the list of the distrusted if that is wrong."),
            )
    why, used = paths.revoked(path, lists, stamped)
    if why:
        raise NoPath(why, say("Sign again with a certificate that is not revoked."))
    if trust.strict:
        _all_fresh(path, used, now)
    anchor = next(a for a in usable if a.der == path[-1])
    return path, anchor, used


def _all_fresh(path: list[bytes], used: list[RevocationList], now: datetime) -> None:
    for der in path[:-1]:
        issuer = paths.certificate(der).issuer
        fresh = [r for r in used if r.issuer == issuer.hashable and r.next_update is not None and r.next_update > now]
        if not fresh:
            name = cms.printable_name(issuer)
            raise NoPath(
                say("there is no up-to-date revocation list of {name}", name=name),
                say("Add its present revocation list."),
            )


def _late(used: Iterable[RevocationList], now: datetime) -> list[str]:
    late = [r.next_update for r in used if r.next_update is not None and r.next_update <= now]
    if not late:
        return []
    return [say("A revocation list on the way is out of date since {day}.", day=f"{min(late):%Y-%m-%d}")]


@dataclass(frozen=True, slots=True)
class _Stamp:
    at: datetime


def _stamped(told: Mapping[str, Any], trust: TrustList, now: datetime, notes: list[str]) -> _Stamp | None:
    """Return when a trusted authority saw the signature; None when none did. One that is broken refuses everything."""
    if not told:
        return None
    if told.get("problem"):
        raise NoPath(
            say("its timestamp does not hold: {problem}", problem=told["problem"]),
            say("Sign it again, or without a timestamp."),
        )
    carried = _decoded(told.get("certificates", ()))
    own = _certificate_of(str(told.get("fingerprint", "")), carried)
    at = datetime.fromisoformat(str(told["at"]))
    try:
        _trusted_path(own, carried, trust, TIMESTAMP, at, now, list(trust.lists), None)
    except NoPath as why:
        notes.append(
            say(
                "It carries a timestamp of {authority}, which does not count here: {why}.",
                authority=told.get("authority"),
                why=why.reason,
            )
        )
        return None
    if at > now + timedelta(minutes=5):
        raise NoPath(say("its timestamp lies in the future"), say("Look at the clock of this store."))
    return _Stamp(at)


def _decoded(values: Iterable[Any]) -> list[bytes]:
    try:
        return [base64.b64decode(str(value), validate=True) for value in values]
    except (binascii.Error, ValueError):
        raise NoPath(say("its certificates cannot be read"), say("Check the package again.")) from None


def _lists(values: Iterable[Any]) -> list[RevocationList]:
    try:
        return [paths.revocation_list(der) for der in _decoded(values)]
    except cms.UNREADABLE:
        raise NoPath(
            say("it carries a revocation list that cannot be read"), say("Sign it again without it.")
        ) from None


def _certificate_of(fingerprint: str, carried: list[bytes]) -> bytes:
    for der in carried:
        if paths.fingerprint(der) == fingerprint:
            return der
    raise NoPath(say("the signer's certificate is not kept with it"), say("Check the package again."))


def _is_signer(der: bytes, signature: Mapping[str, Any]) -> bool:
    return any(paths.fingerprint(der) == each.get("fingerprint") for each in signature.get("signers", ()))


def _belongs(der: bytes, carried: list[bytes], trust: TrustList) -> bool:
    """Whether a certificate that is not on the way has to do with it: an anchor, or tied to another one at hand."""
    known = [*carried, *(a.der for a in trust.anchors)]
    return any(other == der for other in known[len(carried) :]) or any(
        paths.certified_by(der, other) or (other != der and paths.certified_by(other, der)) for other in known
    )


def _step(der: bytes) -> Step:
    found = paths.certificate(der)
    start, end = paths.validity(der)
    return Step(
        cms.printable_name(found.subject),
        cms.printable_name(found.issuer),
        paths.fingerprint(der),
        start.isoformat(),
        end.isoformat(),
    )


def _until(signature: Mapping[str, Any], trust: TrustList, now: datetime) -> datetime:
    """Return the next moment at which time alone may change the judgement."""
    moments = [now + LONGEST]
    moments += [a.expires_at for a in trust.anchors if a.expires_at is not None]
    try:
        ders = [*_decoded(signature.get("certificates", ())), *(a.der for a in trust.anchors)]
        for signer in signature.get("signers", ()):
            ders += _decoded((signer.get("timestamp") or {}).get("certificates", ()))
        for der in ders:
            moments += paths.validity(der)
    except (NoPath, *cms.UNREADABLE):
        return now
    if trust.strict:
        moments += [r.next_update for r in trust.lists if r.next_update is not None]
    return min(moment for moment in moments if moment > now)


def _sentence(why: str) -> str:
    """Return a reason as a sentence of its own; other languages have it without the capital."""
    whole = why.endswith(".")
    told = why if whole else f"{why}."
    return Said(told[:1].upper() + told[1:], "{why}" if whole else gettext_noop("{why}."), {"why": why})
