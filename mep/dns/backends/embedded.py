"""The table of the embedded responder as a backend: the only one that tells clients apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mep.dns.backends.contract import Capabilities, DnsBackend, Key, Outcome, RecordSet
from mep.dns.table import Table


class EmbeddedDns(DnsBackend):
    """Writes into the table that a responder of the same process answers from."""

    name = "embedded"

    def __init__(self, options: Any = None, secret: str = "", table: Table | None = None) -> None:
        super().__init__(options, secret)
        self.table = Table() if table is None else table

    def capabilities(self) -> Capabilities:
        """Return what this server can hold."""
        return Capabilities(scopes=True, any_name=True)

    def present(self) -> dict[Key, RecordSet]:
        """Return all sets."""
        return {each.key: each for each in self.table.sets()}

    def apply(self, put: Sequence[RecordSet], delete: Sequence[RecordSet], *, owned: Iterable[Key] = ()) -> Outcome:
        """Change the answers, from the next query on."""
        self.table.change(put, [each.key for each in delete])
        return dict.fromkeys([each.key for each in (*put, *delete)])
