"""Tables as files: CSV or JSON, sent while they are read, so that no list is ever whole in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone

from core.errors import Invalid

FORMS = ("csv", "json")
_PART = 32_768
#: A cell that begins like this would be a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def download(
    form: str, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> HttpResponse | StreamingHttpResponse:
    """Answer with a file of `rows`, at once when it is small; `Invalid` for a form that we do not write."""
    if form not in FORMS:
        raise Invalid(f"There are files as {' and '.join(FORMS)}", field="form")
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
    for row in rows:
        writer.writerow([_cell(value) for value in row])
        yield written.getvalue().encode()
        written.seek(0)
        written.truncate()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    yield b"["
    for number, row in enumerate(rows):
        text = json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=_plain)
        yield (",\n" if number else "\n").encode() + text.encode()
    yield b"\n]\n"


def _plain(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
