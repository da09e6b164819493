"""A simulated name server: it keeps records and answers nobody. For tests and for nodes without names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core.errors import BreakwaterError, Conflict, Unavailable
from mep.dns.backends.contract import Capabilities, DnsBackend, Key, Outcome, RecordSet


class MemoryDns(DnsBackend):
    """Holds what it is given. `foreign` are sets of others, `away` simulates an outage."""

    name = "memory"
    simulated = True
    exclusive = False

    def __init__(self, options: Any = None, secret: str = "") -> None:
        super().__init__(options, secret)
        self.records: dict[Key, RecordSet] = {}
        self.away = False
        #: How many sets each call of `apply` was given.
        self.calls: list[int] = []

    def capabilities(self) -> Capabilities:
        """Return what this server can hold."""
        return Capabilities(any_name=True, notes=("Simulated: no name is really answered.",))

    def present(self) -> dict[Key, RecordSet]:
        """Return all sets."""
        self.probe()
        return dict(self.records)

    def apply(self, put: Sequence[RecordSet], delete: Sequence[RecordSet], *, owned: Iterable[Key] = ()) -> Outcome:
        """Take over the changes."""
        self.probe()
        self.calls.append(len(put) + len(delete))
        ours, outcome = set(owned), dict[Key, BreakwaterError | None]()
        for each in delete:
            self.records.pop(each.key, None)
            outcome[each.key] = None
        for each in put:
            taken = each.key not in ours and each.key in self.records
            outcome[each.key] = Conflict(f"{each.name} has {each.kind} records already, not ours") if taken else None
            if not taken:
                self.records[each.key] = each
        return outcome

    def probe(self) -> None:
        """Raise when told to be away."""
        if self.away:
            raise Unavailable("The simulated name server is away")
