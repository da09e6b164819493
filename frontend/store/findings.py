"""What was found in a package, as people read it: the worst first, each with its place, its line and a way out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy

from appstore.packages.models import Package

LEVELS = {
    "error": gettext_lazy("Errors: they keep it from being published"),
    "warning": gettext_lazy("Warnings: read them first"),
    "info": gettext_lazy("Notes"),
}
#: How our checks tell the line of a text.
_LINE = re.compile(r"\bline (\d{1,7})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Group:
    """The findings of one level."""

    level: str
    heading: Any
    rows: list[dict[str, Any]]


def grouped(package: Package) -> list[Group]:
    """Return the levels that have findings, the worst first; in each the findings by place and line."""
    rows = [_row(item) for item in package.findings if isinstance(item, dict)]
    made = []
    for level, heading in LEVELS.items():
        here = [row for row in rows if row["level"] == level]
        if here:
            made.append(Group(level, heading, sorted(here, key=lambda row: (row["place"], row["line"] or 0))))
    return made


def document(package: Package) -> dict[str, Any]:
    """Return everything that was found as JSON-ready values."""
    return {
        "package": str(package.pk),
        "name": package.name,
        "version": package.version,
        "filename": package.filename,
        "sha256": package.sha256,
        "state": package.state,
        "checked_at": package.checked_at,
        "findings": [row for group in grouped(package) for row in group.rows],
    }


def _row(item: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {name: str(item.get(name) or "") for name in ("level", "code", "place", "message", "remedy")}
    if row["level"] not in LEVELS:
        row["level"] = "info"
    told = _LINE.search(row["message"]) or _LINE.search(row["place"])
    return {**row, "line": int(told[1]) if told else None}
