"""Notes what a request writes into the database and keeps; what is rolled back was not written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

_WRITES = re.compile(r'\s*(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM|REPLACE INTO)\s+"?(\w+)', re.IGNORECASE)
_SAVEPOINT = re.compile(r'\s*(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT)\s+"?(\w+)', re.IGNORECASE)


class Ledger:
    """The tables that were written, and not rolled back."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._marks: dict[str, int] = {}

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """See what a statement does, and let it."""
        if found := _SAVEPOINT.match(sql):
            verb, name = found[1].upper(), found[2]
            if verb == "SAVEPOINT":
                self._marks[name] = len(self.written)
            elif verb.startswith("ROLLBACK"):
                del self.written[self._marks.get(name, 0) :]
        done = execute(sql, params, many, context)
        if (found := _WRITES.match(sql)) and context["cursor"].rowcount:
            self.written.append(found[1])
        return done


@contextmanager
def undone() -> Iterator[Ledger]:
    """Let the block write, note what it wrote, and take all of it back."""
    ledger = Ledger()
    with transaction.atomic():
        with connection.execute_wrapper(ledger):
            yield ledger
        transaction.set_rollback(True)
