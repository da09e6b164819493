"""What has to be done to a name server: a pure comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mep.dns.backends.contract import Key, RecordSet

FOREIGN = "The name has other {kind} records on the server already, and they are not ours"


@dataclass(frozen=True, slots=True)
class Plan:
    """First what goes, then what comes; `refused` would overwrite what belongs to others."""

    delete: tuple[RecordSet, ...] = ()
    put: tuple[RecordSet, ...] = ()
    refused: Mapping[Key, str] = field(default_factory=dict)


def plan(wanted: Mapping[Key, RecordSet], present: Mapping[Key, RecordSet], ours: Collection[Key]) -> Plan:
    """Compare what should be on the server with what is; never touch sets that are not ours.

    A set of others that says what we want is left alone and will do.
    """
    put, refused = [], {}
    for key, each in wanted.items():
        there = present.get(key)
        if there == each:
            continue
        if there is None or key in ours:
            put.append(each)
        else:
            refused[key] = FOREIGN.format(kind=each.kind)
    delete = tuple(there for key, there in present.items() if key in ours and key not in wanted)
    return Plan(delete, tuple(put), refused)


def owned(
    journal: Mapping[Key, tuple[RecordSet, bool]], present: Mapping[Key, RecordSet], *, exclusive: bool
) -> set[Key]:
    """Return which of the present sets are ours.

    What was sent but never confirmed is ours when it says what was sent; else somebody else was first.
    """
    if exclusive:
        return set(present)
    return {
        key
        for key, (records, confirmed) in journal.items()
        if key in present and (confirmed or present[key] == records)
    }
