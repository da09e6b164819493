"""A finding: one problem of a package, a chart or a plan, with its place and a way out."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


class Level(enum.StrEnum):
    """How bad a finding is. An `error` keeps a package from being published or a chart from running."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem.

    `code` is stable and kebab-case (`manifest-hash-mismatch`), `place` is where it is (a member
    path, a manifest `Deployment/web`, a field path), `remedy` is what the author can do.
    """

    level: Level
    code: str
    place: str
    message: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready values."""
        return {**asdict(self), "level": str(self.level)}


def blocking(findings: Iterable[Finding]) -> list[Finding]:
    """Return those findings that forbid going on."""
    return [finding for finding in findings if finding.level is Level.ERROR]
