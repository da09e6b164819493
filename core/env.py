"""Typed settings from the environment, each declared once with its type, default and help.

All problems are told together when the process starts, not one a restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def boolean(text: str) -> bool:
    """Read `1/true/yes/on` or `0/false/no/off`; anything else is a ValueError."""
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither yes nor no")


def words(text: str) -> list[str]:
    """Split a comma-separated list; blanks are dropped."""
    return [word.strip() for word in text.split(",") if word.strip()]


@dataclass(frozen=True)
class Declared:
    """One declared setting, for the page that lists them and for `--help`."""

    name: str
    default: Any
    kind: str
    help: str
    secret: bool


class Env:
    """Reads settings as `PREFIX_NAME` and remembers every declaration and every problem.

    >>> env = Env("BREAKWATER", {"BREAKWATER_LEASE": "30"})
    >>> env("LEASE", 900, cast=int, help="seconds a worker may hold one operation")
    30
    """

    def __init__(self, prefix: str, source: Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self.source = os.environ if source is None else source
        self.declared: list[Declared] = []
        self.problems: list[str] = []

    def __call__(
        self, name: str, default: Any, *, cast: Callable[[str], Any] = str, help: str, secret: bool = False
    ) -> Any:
        full = f"{self.prefix}_{name}"
        self.declared.append(Declared(full, default, getattr(cast, "__name__", "text"), help, secret))
        text = self.source.get(full)
        if text is None:
            return default
        try:
            return cast(text)
        except (ValueError, TypeError) as problem:
            # The value may be a secret, so only the kind of mistake is repeated for those.
            why = "has a value that cannot be read" if secret else str(problem)
            self.problems.append(f"{full}: {why} ({help})")
            return default

    def finish(self, *, others: Iterable[str] = ()) -> None:
        """Raise one ValueError that lists every unreadable or unknown setting; `others` are of another program."""
        known = {item.name for item in self.declared} | {f"{self.prefix}_{name}" for name in others}
        unknown = [
            f"{name}: there is no such setting"
            for name in sorted(self.source)
            if name.startswith(self.prefix + "_") and name not in known
        ]
        if self.problems or unknown:
            raise ValueError("These settings need attention:\n  " + "\n  ".join([*self.problems, *unknown]))
