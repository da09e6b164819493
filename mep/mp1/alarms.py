"""What a person has to know about this node: raised, counted, cleared, and forgotten after a while.

An alarm is one row per kind and subject, so that trouble that comes again is the same trouble and fills no disk.
Whoever raises one clears it; both may be called again and again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from django.db import transaction
from django.db.models import Q

from mep.mp1.models import Alarm, Counter
from mep.mp1.states import Severity

#: Seconds that cleared alarms are kept, and how many of them at most.
KEEP, MOST_CLEARED = 7 * 86400.0, 1000


def raise_alarm(kind: str, subject: str, severity: Severity, text: str, *, now: float | None = None) -> None:
    """Raise an alarm, or count it once more while it stands."""
    raise_many(kind, {subject: text}, severity, now=now)


@transaction.atomic
def raise_many(kind: str, texts: Mapping[str, str], severity: Severity, *, now: float | None = None) -> None:
    """Raise one alarm of a kind per subject, a hundred in a statement."""
    if not texts:
        return
    now = time.time() if now is None else now
    known = {each.subject: each for each in Alarm.objects.filter(kind=kind, subject__in=list(texts))}
    rows = []
    for subject, text in texts.items():
        row = known.get(subject) or Alarm(kind=kind, subject=subject, raised_at=now, count=0)
        if row.cleared_at is not None:
            row.raised_at, row.cleared_at, row.count = now, None, 0
        row.severity, row.text, row.updated_at, row.count = severity, text[:500], now, row.count + 1
        rows.append(row)
    Alarm.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["kind", "subject"],
        update_fields=["severity", "text", "updated_at", "count", "raised_at", "cleared_at"],
    )
    Counter.bump("alarms")


def clear(kind: str, subjects: str | Collection[str], *, now: float | None = None) -> int:
    """Say that the trouble is over; returns how many alarms stood."""
    names = [subjects] if isinstance(subjects, str) else list(subjects)
    standing = Alarm.objects.filter(kind=kind, subject__in=names, cleared_at=None)
    # Ask before writing: mostly there is none, and then nobody has to look at a new version.
    if not names or not standing.exists():
        return 0
    with transaction.atomic():
        now = time.time() if now is None else now
        count = standing.update(cleared_at=now, updated_at=now)
        Counter.bump("alarms")
    return count


@transaction.atomic
def forget_old(now: float | None = None) -> int:
    """Delete what was cleared long ago, and what is too much of it; returns how many."""
    now = time.time() if now is None else now
    cleared = Alarm.objects.filter(cleared_at__isnull=False)
    surplus = list(cleared.order_by("-cleared_at").values_list("pk", flat=True)[MOST_CLEARED:])
    count, _ = cleared.filter(Q(cleared_at__lt=now - KEEP) | Q(pk__in=surplus)).delete()
    return count


def standing() -> list[dict[str, object]]:
    """Return the alarms that stand, the latest first, as JSON values."""
    return [
        {
            "kind": each.kind,
            "subject": each.subject,
            "severity": each.severity,
            "text": each.text,
            "count": each.count,
            "raisedAt": each.raised_at,
            "updatedAt": each.updated_at,
        }
        for each in Alarm.objects.filter(cleared_at=None)
    ]
