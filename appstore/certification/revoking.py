"""Lists of revocations: ours is signed and handed out, those of trusted labs are taken in and followed."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from appstore.certification import followers, revocations
from appstore.certification.certificates import Verified, moment
from appstore.certification.models import Certificate, SignedRevocations, TrustedLab
from appstore.certification.revocations import Entry, Opened, RevocationList
from appstore.keys import services as keys
from appstore.keys.models import SigningKey
from core import dsse
from core.accounts.access import SYSTEM
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.words import say

logger = logging.getLogger("breakwater.certification")

#: For how long a list is good; it is signed anew when half of that is over and somebody asks.
LIFE: Final = timedelta(days=14)
#: Who trusts only a key that we have retired long ago no longer learns of revocations.
_MOST_KEYS: Final = 8
#: The row of our own list.
_OURS: Final = ""


def ours() -> dict[str, Any]:
    """Return the newest list of this store's lab as a DSSE envelope; it is signed anew when it has grown old."""
    row = SignedRevocations.objects.filter(lab_key=_OURS).first()
    if row is None or not row.envelope or timezone.now() > row.issued_at + LIFE / 2 or _outdated(row):
        row = publish()
    return dict(row.envelope)


def lists() -> list[dict[str, Any]]:
    """Return our list and those of the labs that are trusted here, as they signed them: what partners are told."""
    theirs = SignedRevocations.objects.filter(lab_key__in=TrustedLab.objects.trusted().values("key_id"))
    found = {str(row.envelope.get("payload")): dict(row.envelope) for row in theirs.order_by("lab_key")}
    return [ours(), *found.values()]


@transaction.atomic
def publish() -> SignedRevocations:
    """Sign the list of now, with the next serial."""
    now = timezone.now()
    # The row is also the lock under which a list is made, so that no serial is given away twice.
    if not SignedRevocations.objects.filter(lab_key=_OURS).update(serial=F("serial")):
        SignedRevocations.objects.get_or_create(lab_key=_OURS, defaults={"issued_at": now, "expires_at": now})
    row = SignedRevocations.objects.select_for_update().get(lab_key=_OURS)
    wanted = RevocationList(
        lab=settings.STORE_NAME,
        serial=row.serial + 1,
        issued=moment(now),
        expires=moment(now + LIFE),
        entries=tuple(
            Entry(
                certificate=str(each.pk),
                digest=each.digest,
                lab_key=each.lab_key,
                sha256=each.sha256,
                revoked=moment(each.revoked_at or now),
                reason=each.revoked_reason,
            )
            for each in Certificate.objects.filter(own=True).exclude(revoked_at=None).order_by("revoked_at", "id")
        ),
    )
    if len(wanted.payload()) > revocations.LONGEST:
        raise Conflict(say("The list of revocations has become too long to be read by everybody."))
    row.serial, row.envelope = wanted.serial, revocations.sign(wanted, *_signers())
    row.issued_at, row.expires_at = now, now + LIFE
    row.save()
    return row


@transaction.atomic
def take(envelope: Mapping[str, Any]) -> Opened | None:
    """Take over the list of a lab that is trusted here: its certificates that it names count no more.

    None for the list of anybody else, which is of no concern. `Conflict` for one that is older than what is held, or
    contradicts it; `Invalid` for one that cannot be read. The same list again changes nothing.
    """
    trusted = {row.key_id: dsse.load_public(row.public_pem) for row in TrustedLab.objects.trusted()}
    named = {str(each.get("keyid")) for each in _signatures(envelope)}
    if not named & set(trusted):
        return None
    opened = revocations.open_list(envelope, [key for key_id, key in trusted.items() if key_id in named])
    now = timezone.now()
    if datetime.fromisoformat(opened.list.issued) > now + timedelta(hours=1):
        raise Invalid(say("The list of revocations was signed in the future; compare the clocks"))
    for signer in sorted(opened.signers):
        SignedRevocations.objects.get_or_create(lab_key=signer, defaults={"issued_at": now, "expires_at": now})
        row = SignedRevocations.objects.select_for_update().get(lab_key=signer)
        held = read(row)
        revocations.insist_on_newer(held, opened.list)
        if held is not None and held.serial == opened.list.serial:
            continue
        row.serial, row.envelope = opened.list.serial, dict(envelope)
        row.issued_at = datetime.fromisoformat(opened.list.issued)
        row.expires_at = datetime.fromisoformat(opened.list.expires)
        row.save()
        _follow(opened, signer)
    return opened


def take_all(envelopes: list[Mapping[str, Any]], source: str) -> int:
    """Take over what a partner hands on; return how many lists were good.

    The partner need not be the lab, and may hold an older list than we do: one that is refused is written down, keeps
    what is held, and stands in nobody's way.
    """
    taken = 0
    for envelope in envelopes:
        try:
            taken += take(envelope) is not None
        except (Invalid, Conflict) as problem:
            if problem.context.get("reason") != "older":
                logger.warning("a list of revocations from %s was refused: %s", source, problem.detail)
                audit.record(SYSTEM, "revocations.refuse", None, source=source[:120], problem=problem.detail[:300])
    return taken


def reason_against(verified: Verified) -> str:
    """Return why the lab of a certificate took it back, as far as its list is held here; empty when it did not."""
    row = SignedRevocations.objects.filter(lab_key=verified.lab_key).first()
    held = read(row) if row else None
    if held is None:
        return ""
    entry = Opened(held, frozenset([verified.lab_key])).entry_of(verified.digest, verified.lab_key)
    return (entry.reason or "its lab gives no reason") if entry else ""


def with_lists(labs: Iterable[TrustedLab]) -> list[TrustedLab]:
    """Return the labs, each with the row of the list of revocations that is held of it as `held`, or None; one query."""
    found = list(labs)
    rows = SignedRevocations.objects.filter(lab_key__in=[lab.key_id for lab in found]).exclude(envelope={})
    held = {row.lab_key: row for row in rows}
    for lab in found:
        lab.held = held.get(lab.key_id)
    return found


def read(row: SignedRevocations) -> RevocationList | None:
    """Return the list that is kept in a row, which was verified when it was stored."""
    return revocations.parse(base64.b64decode(row.envelope["payload"])) if row.envelope else None


def _follow(opened: Opened, lab_key: str) -> None:
    """Revoke what is here of the certificates that the list names."""
    entries = {each.digest: each for each in opened.list.entries if each.lab_key == lab_key}
    rows = Certificate.objects.select_for_update().filter(own=False, lab_key=lab_key, revoked_at=None)
    changed = []
    for row in rows:
        entry = entries.get(row.digest)
        if entry is None:
            continue
        row.revoked_at = datetime.fromisoformat(entry.revoked)
        row.revoked_reason = f"{row.lab}: {entry.reason}"[:500]
        row.save(update_fields=["revoked_at", "revoked_reason"])
        audit.record(SYSTEM, "certificate.revoked_by_lab", row, lab=row.lab, reason=row.revoked_reason)
        changed.append(row.package_id)
    followers.tell(changed)


def _signers() -> list[dsse.PrivateKey]:
    keys.current(keys.LAB)
    own = SigningKey.objects.filter(purpose=keys.LAB).order_by(F("retired_at").desc(nulls_first=True))[:_MOST_KEYS]
    return [keys.private(each) for each in own]


def _outdated(row: SignedRevocations) -> bool:
    """Return whether the lab has another key since the list was signed."""
    return keys.current(keys.LAB).pk not in {each.get("keyid") for each in _signatures(row.envelope)}


def _signatures(envelope: Any) -> list[Mapping[str, Any]]:
    rows = envelope.get("signatures") if isinstance(envelope, Mapping) else None
    return [each for each in rows[:16] if isinstance(each, Mapping)] if isinstance(rows, list) else []
