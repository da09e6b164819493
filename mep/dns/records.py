"""From rules to sets of records: pure, shared by the responder, the synchroniser and the console."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mep.dns.backends.contract import Key, RecordSet

KINDS = {"IP_V4": "A", "IP_V6": "AAAA"}


class Rule(NamedTuple):
    """One ACTIVE rule."""

    pk: int
    name: str
    family: str
    address: str
    ttl: int | None
    scope: str = ""

    @property
    def key(self) -> Key:
        """The set of records that the rule belongs to."""
        return self.scope, self.name, KINDS[self.family]


def record_sets(rules: Iterable[Rule], default_ttl: int) -> dict[Key, RecordSet]:
    """Return what the rules want to be answered.

    No ttl in a rule means that it never expires, but apps move, so nobody may keep an answer for ever. Rules that
    share a name share its answer; the shortest ttl wins.
    """
    grouped: dict[Key, list[Rule]] = {}
    for rule in rules:
        grouped.setdefault(rule.key, []).append(rule)
    return {
        key: RecordSet(
            key[1],
            key[2],
            min(default_ttl if rule.ttl is None else rule.ttl for rule in of),
            (of[0].address,) if len(of) == 1 else tuple(sorted({rule.address for rule in of})),
            key[0],
        )
        for key, of in grouped.items()
    }


class Wanted:
    """What the rules want, by key, kept up to date name by name."""

    def __init__(self, default_ttl: int) -> None:
        self.sets: dict[Key, RecordSet] = {}
        self._default_ttl = default_ttl
        self._keys: dict[str, tuple[Key, ...]] = {}

    def update(
        self, names: Iterable[str], rules: Callable[[str], Iterable[Rule]]
    ) -> tuple[list[RecordSet], list[RecordSet]]:
        """Look at some names again; return the sets that are new or different, and those that are no longer wanted."""
        put: list[RecordSet] = []
        gone: list[RecordSet] = []
        for name in names:
            now = record_sets(rules(name), self._default_ttl)
            put += [each for key, each in now.items() if self.sets.get(key) != each]
            gone += [self.sets.pop(key) for key in self._keys.pop(name, ()) if key not in now]
            self.sets |= now
            if now:
                self._keys[name] = tuple(now)
        return put, gone
