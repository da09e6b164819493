"""What an adapter has to know after a restart: a journal of small JSON facts by key.

Each change is one line, on the disk before the call returns. A line that a crash tore is left out at the next start.
Opening only reads: any process may make an adapter to ask what it can do, and one alone puts rules and writes.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from core.errors import Unavailable

log = logging.getLogger(__name__)
#: Lines beyond the living ones after which the file is written anew.
SLACK = 1000


class Ledger:
    """The facts; without a path they are kept in memory only. The file is readable by its owner alone."""

    def __init__(self, path: str = "", slack: int = SLACK) -> None:
        self.path = Path(path) if path else None
        self.facts: dict[str, Any] = {}
        self._lines, self._slack, self._torn = 0, slack, False
        if self.path is not None:
            self._load(self.path)

    def put(self, key: str, fact: Any) -> None:
        """Remember a fact, which must be JSON."""
        if key not in self.facts or self.facts[key] != fact:
            self._change({**self.facts, key: fact}, [key, fact])

    def drop(self, key: str) -> None:
        """Forget a fact; unknown is fine."""
        if key in self.facts:
            self._change({name: fact for name, fact in self.facts.items() if name != key}, [key])

    def keep(self, kind: Any, prefix: str = "") -> dict[str, Any]:
        """Return the facts under `prefix` as `kind`, without the prefix; those of another shape are left out."""
        found = {}
        for key, fact in list(self.facts.items()):
            if not key.startswith(prefix):
                continue
            try:
                found[key.removeprefix(prefix)] = msgspec.convert(fact, kind)
            except msgspec.ValidationError as problem:
                log.warning("what the state file says about %s is left out: %s", key, problem)
                del self.facts[key]
        return found

    def _load(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        except OSError as problem:
            raise Unavailable(f"The state file {path.name} cannot be read: {problem.strerror}") from None
        damaged = 0
        for line in text.splitlines():
            try:
                key, *fact = json.loads(line)
                if not isinstance(key, str) or len(fact) > 1:
                    raise ValueError(line)
            except (ValueError, TypeError, RecursionError):
                damaged += 1
                continue
            self.facts.pop(key, None)
            if fact:
                self.facts[key] = fact[0]
        if damaged:
            log.warning("the state file %s has %s damaged lines, which are left out", path, damaged)
        self._lines = text.count("\n")
        self._torn = not text.endswith("\n") and bool(text)

    def _change(self, facts: dict[str, Any], line: list[Any]) -> None:
        before, self.facts = self.facts, facts
        try:
            self._write(line)
        except Unavailable:
            # What is not on the disk is not remembered, so that it is written at the next try.
            self.facts = before
            raise

    def _write(self, line: list[Any]) -> None:
        if self.path is None:
            return
        if self._lines > len(self.facts) + self._slack:
            self._compact(self.path)
            return
        self._lines += 1
        self._to_disk(self.path, os.O_APPEND, "\n" * self._torn + json.dumps(line) + "\n")
        self._torn = False

    def _compact(self, path: Path) -> None:
        text = "".join(json.dumps([key, fact]) + "\n" for key, fact in self.facts.items())
        fresh = path.with_name(path.name + ".new")
        self._to_disk(fresh, os.O_TRUNC, text)
        fresh.replace(path)
        self._lines, self._torn = len(self.facts), False

    def _to_disk(self, path: Path, how: int, text: str) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(handle)
        except OSError as problem:
            raise Unavailable(f"The state file {path.name} cannot be written: {problem.strerror}") from None
