"""What becomes of alarms. Decisions only: no database, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mecm.fleet.models import RANKS
from mecm.fleet.words import Sentence

if TYPE_CHECKING:
    from mecm.fleet.models import Alarm

#: Trouble that comes back within this time is the same trouble.
SAME_AGAIN = timedelta(minutes=10)

#: Organisation, kind and id of the source, cause.
Key = tuple[UUID, str, str, str]

TEXT = 600


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now."""

    organisation_id: UUID
    source_kind: str
    source_id: str
    cause: str
    severity: str
    text: str
    advice: str = ""
    source_name: str = ""
    node_id: UUID | None = None

    @property
    def key(self) -> Key:
        """The same trouble has the same key, whatever it says."""
        return (self.organisation_id, self.source_kind, self.source_id, self.cause)

    def words(self) -> dict[str, Any]:
        """The columns that may change while it stands, cut to what they hold."""
        return {
            "severity": self.severity,
            "text": self.text[:TEXT],
            "advice": self.advice[:TEXT],
            "said": {
                name: sentence.parts()
                for name, sentence in (("text", self.text), ("advice", self.advice))
                if isinstance(sentence, Sentence)
            },
            "source_name": self.source_name[:250],
            "node_id": self.node_id,
        }


@dataclass(slots=True)
class Plan:
    """What has to be written."""

    #: New rows.
    put: list[Trouble] = field(default_factory=list)
    #: Rows that were cleared a moment ago and stand again.
    again: list[tuple[Alarm, Trouble]] = field(default_factory=list)
    #: Rows that stand and say something else now.
    changed: list[tuple[Alarm, Trouble]] = field(default_factory=list)
    clear: list[Alarm] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.put or self.again or self.changed or self.clear)


def key_of(alarm: Alarm) -> Key:
    """Return the key of a row."""
    return (alarm.organisation_id, alarm.source_kind, alarm.source_id, alarm.cause)


def plan(wanted: Iterable[Trouble], standing: Iterable[Alarm], lately: Mapping[Key, Alarm]) -> Plan:
    """Compare what is wrong with the alarms that stand, and with those that were cleared lately."""
    made = Plan()
    there = {key_of(alarm): alarm for alarm in standing}
    seen: set[Key] = set()
    for trouble in wanted:
        if trouble.key in seen:
            continue
        seen.add(trouble.key)
        present = there.get(trouble.key)
        if present is None:
            before = lately.get(trouble.key)
            if before is None:
                made.put.append(trouble)
            else:
                made.again.append((before, trouble))
        elif any(getattr(present, name) != value for name, value in trouble.words().items()):
            made.changed.append((present, trouble))
    made.clear = [alarm for key, alarm in there.items() if key not in seen]
    return made


def take_over(alarm: Alarm, trouble: Trouble, now: datetime, *, again: bool) -> bool:
    """Write onto a row what is wrong now; returns whether it is worse than it ever was since it was raised.

    What became worse needs another look, so nobody has acknowledged it yet.
    """
    worse = RANKS[trouble.severity] < RANKS[alarm.worst]
    for name, value in trouble.words().items():
        setattr(alarm, name, value)
    alarm.changed_at = now
    if again:
        alarm.cleared_at = None
        alarm.times += 1
    if worse:
        alarm.worst = trouble.severity
        alarm.acknowledged_at, alarm.acknowledged_by, alarm.note = None, "", ""
    return worse
