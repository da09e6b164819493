"""What is new in a release, by kinds: from Artifact Hub's annotation, from "Keep a Changelog", from a plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.contents.facts import Change

KINDS = ("security", "added", "changed", "deprecated", "removed", "fixed")
MOST, LONGEST = 100, 500
_WORDS = {
    "add": "added", "adds": "added", "new": "added", "feature": "added", "features": "added", "feat": "added",
    "change": "changed", "changes": "changed", "update": "changed", "updated": "changed", "improved": "changed",
    "deprecate": "deprecated", "remove": "removed", "removes": "removed", "delete": "removed",
    "fix": "fixed", "fixes": "fixed", "bugfix": "fixed", "bugfixes": "fixed", "bug fixes": "fixed",
    "vulnerability": "security", "cve": "security",
}  # fmt: skip
_VERSION = re.compile(
    r"^\s{0,3}(?:#{1,3}\s*)?(?:version\s+|release\s+)?\[?v?(\d+(?:\.\d+){1,3}[0-9A-Za-z.+-]*)\]?(?![\w.])", re.I
)
_UNRELEASED = re.compile(r"^\s{0,3}#{1,3}\s*\[?unreleased\]?", re.I)
_HEADING = re.compile(r"^\s{0,3}#{2,5}\s*(.+?)\s*#*\s*$")
_BULLET = re.compile(r"^\s{0,8}[-*+]\s+(.*)$")
_PREFIX = re.compile(r"^\W{0,3}([A-Za-z]{3,14})\W{0,3}[:\-]\s+(.+)$")


def kind_of(word: str) -> str:
    """Return the kind that a word stands for; empty when it stands for none."""
    plain = word.strip().strip("*_[]():").lower()
    return plain if plain in KINDS else _WORDS.get(plain, "")


def of_annotation(document: Any) -> list[Change]:
    """Return the changes of `artifacthub.io/changes`: a list of texts, or of objects with kind and description."""
    found: list[Change] = []
    for entry in document if isinstance(document, list) else []:
        if isinstance(entry, str):
            found.append(Change("changed", entry))
        elif isinstance(entry, Mapping) and isinstance(entry.get("description"), str):
            found.append(Change(kind_of(str(entry.get("kind", ""))) or "changed", entry["description"]))
    return _bounded(found)


def of_text(text: str, version: str) -> list[Change]:
    """Return the changes that a changelog tells of `version`; of its first section when none has that version."""
    sections = list(_sections(text))
    wanted = version.strip().lstrip("vV")
    best = next((lines for name, lines in sections if name == wanted and wanted), None)
    if best is None:
        # A text without versions is about this release; one with others only says nothing about it.
        named = [name for name, _ in sections if name]
        best = next((lines for name, lines in sections if not name), []) if not named or not wanted else []
    return _bounded(list(_changes(best)))


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the version (empty before the first one) and the lines of each section."""
    lines: list[str] = []
    name, skipped = "", False
    for line in text.splitlines()[:20_000]:
        line = line[: LONGEST * 2]
        at = _VERSION.match(line)
        if at or _UNRELEASED.match(line):
            if not skipped and any(each.strip() for each in lines):
                yield name, lines
            name, lines, skipped = (at.group(1) if at else "unreleased"), [], at is None
        else:
            lines.append(line)
    if not skipped and any(each.strip() for each in lines):
        yield name, lines


def _changes(lines: list[str]) -> Iterator[Change]:
    """Yield a change for each bullet with its further lines, and for each other line; headings tell the kind."""
    kind, text = "", ""
    #: Whether a line that follows belongs to the change before it.
    goes_on = False
    for line in lines:
        heading, bullet, plain = _HEADING.match(line), _BULLET.match(line), line.strip()
        title = heading.group(1) if heading else (plain.rstrip(":") if plain.endswith(":") and len(plain) < 20 else "")
        if plain and goes_on and not (heading or bullet or kind_of(title)):
            text = f"{text} {plain}"[: LONGEST * 2]
            continue
        if text:
            yield _change(kind, text)
        text, goes_on = "", bullet is not None
        if heading or kind_of(title):
            kind = kind_of(title)
        elif plain and not plain.startswith(("#", "[", "---", "===")):
            text = bullet.group(1) if bullet else plain
    if text:
        yield _change(kind, text)


def _change(kind: str, text: str) -> Change:
    if not kind:
        at = _PREFIX.match(text)
        if at and kind_of(at.group(1)):
            return Change(kind_of(at.group(1)), at.group(2).strip())
    return Change(kind or "changed", text.strip())


def _bounded(changes: list[Change]) -> list[Change]:
    order = {kind: number for number, kind in enumerate(KINDS)}
    found = [Change(each.kind, " ".join(each.text.split())[:LONGEST]) for each in changes]
    return sorted(dict.fromkeys(each for each in found if each.text), key=lambda each: order[each.kind])[:MOST]
