"""The nodes of a rollout as files: a table for spreadsheets, a document for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.http import StreamingHttpResponse

from mecm.rollouts.serializers import PlaceOut

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from mecm.rollouts.models import Place, Rollout

_COLUMNS = (
    "wave", "node", "node_id", "name", "action", "state", "excused", "reason", "message", "generation", "before",
    "attempts", "began_at", "settled_at", "deployment", "deployment_state",
)  # fmt: skip


class _Echo:
    """A file that hands back what is written."""

    def write(self, text: str) -> str:
        return text


def as_csv(rows: QuerySet[Place]) -> Iterator[str]:
    """Yield the places as a table for a spreadsheet, line by line."""
    table = csv.writer(_Echo())
    yield str(table.writerow(_COLUMNS))
    for place in rows.iterator(chunk_size=500):
        told = PlaceOut(place).data
        told |= {"node": place.node.name, "node_id": str(place.node_id)}
        yield str(table.writerow([_harmless(told[column]) for column in _COLUMNS]))


def _harmless(value: Any) -> str:
    """A spreadsheet would take some texts for formulas, and nodes say what they like."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def as_json(rows: QuerySet[Place]) -> Iterator[str]:
    """Yield the places as one JSON array, place by place."""
    between = "["
    for place in rows.iterator(chunk_size=500):
        yield between + json.dumps(PlaceOut(place).data, default=str)
        between = ",\n"
    yield "]" if between != "[" else "[]"


def as_file(parts: Iterator[str], kind: str, rollout: Rollout, suffix: str) -> StreamingHttpResponse:
    """Answer with a file that is made while it is sent."""
    response = StreamingHttpResponse(parts, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="rollout-{str(rollout.pk)[:8]}.{suffix}"'
    return response
