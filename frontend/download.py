"""Tables as files: CSV or JSON, sent while they are read, so that no list is ever whole in memory.

A list offers itself by one word: `paged(request, rows, table=Table("nodes", COLUMNS))`. With `?format=csv` or `json` in the
address the same rows, with the same filters and for the same person, are the answer instead of the page.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from core.errors import Invalid
from core.words import say

FORMS = ("csv", "json")
#: Rows of one file; what is cut says so in its last row.
MOST = 50_000
_PART = 32_768
_CHUNK = 1000
#: A cell that begins like this would be a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Table:
    """A list that can be taken home: its name, and for each column where a row has it.

    A column is a path of attributes (`package.version`) or a function of the row. What a column reads must have come with
    the row, or each row of the file would cost a query.
    """

    name: str
    columns: Mapping[str, str | Callable[[Any], Any]]

    def file(self, form: str, rows: Any) -> HttpResponse | StreamingHttpResponse:
        """Answer with a file of these rows: a query set, which is read in pieces, or a list."""
        read = rows.iterator(chunk_size=_CHUNK) if isinstance(rows, QuerySet) else iter(rows)
        return download(form, self.name, list(self.columns), (self._row(each) for each in read))

    def wanted(self, request: HttpRequest) -> str:
        """Return the form in which this table is asked for; empty when the page is meant."""
        form = request.GET.get("format", "") if request.method == "GET" else ""
        return form if form in FORMS and request.GET.get("table", self.name) == self.name else ""

    def _row(self, row: Any) -> list[Any]:
        return [column(row) if callable(column) else _at(row, column.split(".")) for column in self.columns.values()]


class Taken(Exception):
    """A list was asked for as a file: the door of the page answers with it."""

    def __init__(self, response: HttpResponse | StreamingHttpResponse) -> None:
        super().__init__()
        self.response = response


def columns(*names: str, **paths: str | Callable[[Any], Any]) -> dict[str, str | Callable[[Any], Any]]:
    """Return columns: names that are attributes, then those that are found elsewhere."""
    return {**{name: name for name in names}, **paths}


def _at(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        if row is None:
            return None
        row = row.get(name) if isinstance(row, Mapping) else getattr(row, name)
    return row


def _cut(rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any] | str]:
    for number, row in enumerate(rows):
        if number >= MOST:
            yield f"The list was cut here, after {MOST} rows. Filter it to get the rest."
            return
        yield row


def download(
    form: str, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> HttpResponse | StreamingHttpResponse:
    """Answer with a file of `rows`, at once when it is small; `Invalid` for a form that we do not write."""
    if form not in FORMS:
        raise Invalid(say("There are files as {forms}", forms=" and ".join(FORMS)), field="form")
    parts = _gathered(_csv(columns, rows) if form == "csv" else _json(columns, rows))
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    first, second = next(parts, b""), next(parts, None)
    response: HttpResponse | StreamingHttpResponse
    if second is None:
        response = HttpResponse(first, content_type=kind)
    else:
        response = StreamingHttpResponse(chain([first, second], parts), content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.now():%Y%m%d-%H%M}.{form}"'
    response["Cache-Control"] = "no-store"
    return response


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Put small parts together."""
    held = bytearray()
    for part in parts:
        held += part
        if len(held) >= _PART:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    yield written.getvalue().encode()
    written.seek(0)
    written.truncate()
    for row in _cut(rows):
        writer.writerow([row] if isinstance(row, str) else [_cell(value) for value in row])
        yield written.getvalue().encode()
        written.seek(0)
        written.truncate()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, int | float):
        return str(value)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    yield b"["
    for number, row in enumerate(_cut(rows)):
        told = {"cut": row} if isinstance(row, str) else dict(zip(columns, row, strict=True))
        text = json.dumps(told, ensure_ascii=False, default=_plain)
        yield (",\n" if number else "\n").encode() + text.encode()
    yield b"\n]\n"


def _plain(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
