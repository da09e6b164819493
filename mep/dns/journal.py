"""What is ours on a name server, written down before it is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import transaction

from mep.dns.backends.contract import Key, RecordSet
from mep.dns.models import Published


class Journal:
    """The rows of one server and zone."""

    def __init__(self, server: str) -> None:
        self.server = server[:300]

    def read(self) -> dict[Key, tuple[RecordSet, bool]]:
        """Return each set with whether the server has said that it has it."""
        rows = Published.objects.filter(server=self.server)
        return {
            ("", row.name, row.kind): (RecordSet(row.name, row.kind, row.ttl, tuple(row.addresses)), row.confirmed)
            for row in rows
        }

    def intend(self, sets: Iterable[RecordSet]) -> None:
        """Write down sets that are about to become ours; what is ours already stays as it is."""
        Published.objects.bulk_create([self._row(each, confirmed=False) for each in sets], ignore_conflicts=True)

    @transaction.atomic
    def settle(self, there: Iterable[RecordSet], gone: Collection[Key]) -> None:
        """Write down what the server has now, and forget what it no longer has."""
        Published.objects.bulk_create(
            [self._row(each, confirmed=True) for each in there],
            update_conflicts=True,
            unique_fields=["server", "name", "kind"],
            update_fields=["ttl", "addresses", "confirmed"],
        )
        for kind in ("A", "AAAA"):
            names = [name for _, name, of in gone if of == kind]
            if names:
                Published.objects.filter(server=self.server, kind=kind, name__in=names).delete()

    def _row(self, records: RecordSet, *, confirmed: bool) -> Published:
        return Published(
            server=self.server,
            name=records.name,
            kind=records.kind,
            ttl=records.ttl,
            addresses=list(records.addresses),
            confirmed=confirmed,
        )
