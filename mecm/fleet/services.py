"""Verbs of alarms: raise, clear, acknowledge, and the sweep that compares all facts with all alarms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.words import say
from mecm.fleet import causes
from mecm.fleet.models import Alarm, AlarmEvent, AlarmQuerySet, Severity
from mecm.fleet.plan import SAME_AGAIN, Plan, Trouble, key_of, plan, take_over

#: Rows of one statement.
BATCH = 500
#: As many alarms as one person may acknowledge at once.
MOST_AT_ONCE = 1000
LONGEST_NOTE = 500

_SAID = ["severity", "text", "advice", "said", "source_name", "node", "times", "changed_at", "cleared_at"]
_WORSE = [*_SAID, "worst", "acknowledged_at", "acknowledged_by", "note"]


def sweep(now: datetime | None = None) -> Plan:
    """Raise, change and clear every alarm that follows from facts; twice is once, and it may run anywhere.

    The number of queries does not grow with the fleet; what has changed is written in batches.
    """
    now = now or timezone.now()
    wanted = causes.everything(now)
    done = _reconcile(wanted, Alarm.objects.filter(cause__in=causes.SWEPT), now)
    # What a MEP said stands for as long as there is the node that would take it back.
    orphans = Alarm.objects.standing().filter(source_kind=causes.MEP, node=None)
    orphans.update(cleared_at=now, changed_at=now)
    return done


def forget_old(now: datetime | None = None) -> int:
    """Delete alarms that were cleared long ago; returns how many rows went, events included."""
    old = (now or timezone.now()) - timedelta(days=settings.ALARM_KEEP_DAYS)
    return Alarm.objects.filter(cleared_at__lt=old).delete()[0]


def raise_alarm(
    organisation: Organisation | UUID,
    source_kind: str,
    source_id: Any,
    cause: str,
    *,
    severity: str,
    text: str,
    advice: str = "",
    source_name: str = "",
    node_id: UUID | None = None,
) -> None:
    """Raise an alarm of a cause that the sweep does not know, or say it anew while it stands.

    Whoever raises one clears it; both may be called again and again.
    """
    trouble = Trouble(
        _id_of(organisation), source_kind, str(source_id), cause, severity, text, advice,
        source_name, node_id,
    )  # fmt: skip
    if severity not in Severity.values:
        raise Invalid(say("{severity} is no severity", severity=repr(severity)), field="severity")
    if cause in causes.SWEPT:
        raise ValueError(f"the sweep would clear {cause} again")
    _reconcile([trouble], _of_key(trouble), timezone.now())


def clear_alarm(organisation: Organisation | UUID, source_kind: str, source_id: Any, cause: str = "") -> int:
    """Say that the trouble is over, of one cause or of all of that source; returns how many alarms stood."""
    rows = Alarm.objects.filter(organisation=_id_of(organisation), source_kind=source_kind, source_id=str(source_id))
    return len(_reconcile([], rows.filter(cause=cause) if cause else rows, timezone.now()).clear)


def take_from_mep(node_id: UUID, organisation_id: UUID, node_name: str, told: Any) -> None:
    """Take over the alarms that stand on a node's own MEC platform, as it reported them."""
    wanted = causes.of_a_mep(node_id, organisation_id, node_name, told)
    _reconcile(wanted, Alarm.objects.filter(source_kind=causes.MEP, node=node_id), timezone.now())


@transaction.atomic
def acknowledge(alarms: Sequence[Alarm], *, actor: Any, note: str = "") -> int:
    """Write down that somebody looks after these alarms; returns how many were not acknowledged before.

    Saying it again replaces the note. `Conflict` for a single alarm that is over already.
    """
    note = note.replace("\x00", "").strip()
    if len(note) > LONGEST_NOTE:
        raise Invalid(
            say("The note may have {longest_note} characters at most", longest_note=LONGEST_NOTE), field="note"
        )
    now, fresh = timezone.now(), 0
    rows = [alarm for alarm in alarms if alarm.cleared_at is None]
    if not rows and len(alarms) == 1:
        raise Conflict(say("This alarm was cleared already; there is nothing left to acknowledge"))
    for alarm in rows:
        fresh += alarm.acknowledged_at is None
        alarm.acknowledged_at, alarm.acknowledged_by, alarm.note, alarm.changed_at = now, str(actor)[:250], note, now
    Alarm.objects.bulk_update(rows, ["acknowledged_at", "acknowledged_by", "note", "changed_at"], batch_size=BATCH)
    _tell(rows, AlarmEvent.What.ACKNOWLEDGED, now, by=str(actor)[:250], text=note)
    for organisation_id in {alarm.organisation_id for alarm in rows}:
        mine = [alarm for alarm in rows if alarm.organisation_id == organisation_id]
        audit.record(
            actor, "alarm.acknowledge", mine[0] if len(mine) == 1 else None, organisation=organisation_id,
            alarms=len(mine), first=str(mine[0])[:250], note=note,
        )  # fmt: skip
    return fresh


def earlier(alarm: Alarm) -> AlarmQuerySet:
    """Return the earlier times of the same trouble, the latest first; fifty at most."""
    organisation, kind, source, cause = key_of(alarm)
    rows = Alarm.objects.filter(organisation=organisation, source_kind=kind, source_id=source, cause=cause)
    return rows.filter(raised_at__lt=alarm.raised_at).order_by("-raised_at")[:50]


# --- writing ----------------------------------------------------------------------------------------------------------
def _id_of(organisation: Organisation | UUID) -> UUID:
    return organisation.pk if isinstance(organisation, Organisation) else organisation


def _of_key(trouble: Trouble) -> AlarmQuerySet:
    organisation, kind, source, cause = trouble.key
    return Alarm.objects.filter(organisation=organisation, source_kind=kind, source_id=source, cause=cause)


def _reconcile(wanted: Iterable[Trouble], about: AlarmQuerySet, now: datetime) -> Plan:
    """Make the standing alarms among `about` those that are wanted; a second one at the same time does no harm."""
    standing, lately = [], {}
    rows = about.filter(cleared_at=None) | about.filter(cleared_at__gte=now - SAME_AGAIN)
    for alarm in rows.order_by("raised_at"):
        if alarm.cleared_at is None:
            standing.append(alarm)
        else:
            lately[key_of(alarm)] = alarm
    made = plan(wanted, standing, lately)
    if made:
        with transaction.atomic():
            _write(made, now)
    return made


def _write(made: Plan, now: datetime) -> None:
    fresh = [_row(trouble, now) for trouble in made.put]
    # A sweep that ran at the same time may have raised it: then the row is there, which is all that is wanted.
    Alarm.objects.bulk_create(fresh, batch_size=BATCH, ignore_conflicts=True)
    if fresh:
        ours = set(Alarm.objects.filter(changed_at=now, raised_at=now).values_list("pk", flat=True))
        _tell([alarm for alarm in fresh if alarm.pk in ours], AlarmEvent.What.RAISED, now)
    # Whoever cleared or raised it at the same time wins; looked at again with the next sweep.
    taken = {
        *_unless_another_stands([alarm for alarm, _ in made.again]),
        *(alarm.pk for alarm, _ in made.changed),
    }
    worse = [
        (alarm, take_over(alarm, trouble, now, again=again))
        for pairs, again in ((made.again, True), (made.changed, False))
        for alarm, trouble in pairs
        if alarm.pk in taken
    ]
    # What a person wrote in the meantime is only overwritten where it became worse.
    for columns, rows in (
        (_SAID, [alarm for alarm, is_worse in worse if not is_worse]),
        (_WORSE, [alarm for alarm, is_worse in worse if is_worse]),
    ):
        if rows:
            Alarm.objects.bulk_update(rows, columns, batch_size=BATCH)
    _tell([alarm for alarm, is_worse in worse if is_worse], AlarmEvent.What.WORSE, now)
    for first in range(0, len(made.clear), BATCH):
        some = [alarm.pk for alarm in made.clear[first : first + BATCH]]
        Alarm.objects.filter(pk__in=some, cleared_at=None).update(cleared_at=now, changed_at=now)


def _unless_another_stands(again: Sequence[Alarm]) -> set[UUID]:
    """Return those of the rows that may stand again: no other row of their key does, asked in the transaction."""
    if not again:
        return set()
    sources = {alarm.source_id for alarm in again}
    found = Alarm.objects.standing()
    if len(sources) <= BATCH:
        found = found.filter(source_id__in=sources)
    keys = {key_of(alarm) for alarm in found}
    return {alarm.pk for alarm in again if key_of(alarm) not in keys}


def _row(trouble: Trouble, now: datetime) -> Alarm:
    organisation, kind, source, cause = trouble.key
    return Alarm(
        organisation_id=organisation, source_kind=kind, source_id=source[:300], cause=cause[:80],
        worst=trouble.severity, raised_at=now, changed_at=now, **trouble.words(),
    )  # fmt: skip


def _tell(alarms: Sequence[Alarm], what: str, now: datetime, *, by: str = "", text: str = "") -> None:
    AlarmEvent.objects.bulk_create(
        (
            AlarmEvent(alarm=alarm, at=now, what=what, by=by, severity=alarm.severity, text=text or alarm.text)
            for alarm in alarms
        ),
        batch_size=BATCH,
    )
