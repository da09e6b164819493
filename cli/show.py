"""What a command prints: the API's document as JSON or YAML, or a table for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: What moves a terminal's cursor or turns text around; others wrote the names that we print.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_GOOD = {"ready", "online", "published", "succeeded", "active", "passed", "yes", "checked", "fits", "trusted", "valid"}
_BAD = {"failed", "offline", "rejected", "recalled", "quarantined", "yanked", "error", "revoked", "broken", "no"}
_BUSY = {"pending", "running", "progressing", "removing", "draft", "in-review", "waiting", "new", "warning", "given up"}


class Output(StrEnum):
    """The forms of an answer."""

    table = "table"
    json = "json"
    yaml = "yaml"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: heading, and where its value is (`package.name`), or how it is made."""

    heading: str
    value: str | Callable[[Any], Any]

    def of(self, row: Any) -> Any:
        """Return the value of a row."""
        if callable(self.value):
            return self.value(row)
        return at(row, self.value)


@dataclass(frozen=True, slots=True)
class Answer:
    """A document, and how people look at it: `columns` of its rows, or its own members when there are none.

    `say` is what people read instead of a table; programs always get the document. `code` is the exit code.
    """

    document: Any
    columns: Sequence[Column] = ()
    say: str = ""
    code: int = 0
    empty: str = "Nothing found."


class Printer:
    """Writes answers to stdout, and everything else to stderr."""

    def __init__(self, output: Output, out: TextIO, err: TextIO) -> None:
        self.output, self.out = output, out
        # A pipe is no terminal of 80 columns: nothing is cut there.
        width = None if out.isatty() else 1000
        self.console = Console(file=out, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.err = Console(file=err, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def answer(self, answer: Answer) -> None:
        """Print an answer in the form that was asked for."""
        if self.output is Output.table:
            self._table(answer)
        else:
            self.document(answer.document)

    def document(self, document: Any) -> None:
        """Print a document as it is."""
        self.out.write(as_yaml(document) if self.output is Output.yaml else as_json(document))
        self.out.flush()

    def line(self, text: str) -> None:
        """Tell people something on stdout."""
        self.console.print(plain(text))

    def tell(self, text: str, style: str = "") -> None:
        """Tell people something beside the answer."""
        self.err.print(Text(plain(text), style=style))

    def _table(self, answer: Answer) -> None:
        document = answer.document
        if answer.say:
            self.line(answer.say)
        elif document is None:
            self.line("Done.")
        elif answer.columns:
            self._rows(rows_of(document), answer)
        elif isinstance(document, Mapping):
            self._members(document)
        elif isinstance(document, list):
            for each in document:
                self.line(text_of(each))
        else:
            self.line(text_of(document))

    def _rows(self, rows: list[Any], answer: Answer) -> None:
        if not rows:
            self.tell(answer.empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in answer.columns:
            table.add_column(column.heading.upper(), overflow="fold")
        for row in rows:
            table.add_row(*(_coloured(column.of(row)) for column in answer.columns))
        self.console.print(table)
        total = answer.document.get("count") if isinstance(answer.document, Mapping) else None
        if isinstance(total, int) and total > len(rows):
            self.tell(f"{len(rows)} of {total}; see more with --page, or all with --all.", "dim")

    def _members(self, document: Mapping[str, Any]) -> None:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        inner: list[tuple[str, list[Any]]] = []
        for name, value in document.items():
            if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
                inner.append((name, value))
            else:
                table.add_row(name.replace("_", " "), _coloured(value))
        self.console.print(table)
        for name, rows in inner:
            self.line(f"\n{name.replace('_', ' ')}:")
            heads = [key for key in rows[0] if not isinstance(rows[0][key], (dict, list)) or rows[0][key]]
            listing = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for head in heads[:8]:
                listing.add_column(head.replace("_", " "), overflow="fold")
            for row in rows:
                listing.add_row(*(_coloured(row.get(head)) for head in heads[:8]))
            self.console.print(listing)


def rows_of(document: Any) -> list[Any]:
    """Return the rows of a page of a list, or of a plain list."""
    if isinstance(document, Mapping):
        found = document.get("results", [])
        return list(found) if isinstance(found, list) else []
    return list(document or [])


def at(row: Any, path: str) -> Any:
    """Return the member at `a.b.c`; None when there is none."""
    for name in path.split("."):
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


def text_of(value: Any) -> str:
    """Return a value as people read it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        return ", ".join(str(each) for each in value) or "-"
    if isinstance(value, Mapping) and not value:
        return "-"
    if isinstance(value, Mapping) and "name" in value and "id" in value:
        return str(value["name"])
    if isinstance(value, (Mapping, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def plain(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def size(number: Any) -> str:
    """Return bytes in a form for people."""
    if not isinstance(number, int | float):
        return "-"
    left = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if left < 1024:
            return f"{left:.0f} {unit}" if unit == "B" else f"{left:.1f} {unit}"
        left /= 1024
    return f"{left:.1f} TiB"


def ago(moment: Any) -> str:
    """Return how long ago a moment was."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds()
    except (TypeError, ValueError):
        return "-"
    past, seconds = seconds >= 0, abs(seconds)
    for name, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length or name == "s":
            count = f"{seconds / length:.0f} {name}"
            return f"{count} ago" if past else f"in {count}"
    return "-"


def as_json(document: Any) -> str:
    """Return the document as JSON, of which a terminal obeys nothing."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def as_yaml(document: Any) -> str:
    """Return the document as YAML, which reads back as the same document."""
    import yaml  # a tenth of a second that only this form needs

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _coloured(value: Any) -> Text:
    text = plain(text_of(value))
    style = "green" if text in _GOOD else "red" if text in _BAD else "yellow" if text in _BUSY else ""
    return Text(text, style=style)
