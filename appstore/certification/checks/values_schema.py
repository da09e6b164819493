"""Check `values-schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding


class ValuesSchema(Check):
    """The chart has a schema of its values, which is itself valid, and its own values follow it."""

    name = "values-schema"
    title = "Values have a schema"
    reason = "The install form is built from it, and wrong values are refused before anything starts."
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        archive, root = tools.chart_archive(), support.chart_root(tools)
        member = f"{root}/values.schema.json"
        if member not in archive:
            remedy = "Add values.schema.json"
            yield support.warning(
                "schema-missing", "values.schema.json", "The chart has no schema of its values", remedy
            )
            return
        try:
            schema = json.loads(archive.read(member, at_most=1 << 20))
        except (ValueError, RecursionError):
            yield support.error("schema-invalid", "values.schema.json", "It is no JSON", "Correct it")
            return
        for reference in _references(schema):
            if not reference.startswith("#"):
                message = f"It refers to {reference[:120]!r}, outside of itself"
                yield support.error("schema-remote", "values.schema.json", message, "Write it out")
        if not isinstance(schema, dict) or not schema.get("properties"):
            yield support.warning(
                "schema-empty", "values.schema.json", "It describes no property", "Describe the values"
            )
        tools.objects()  # Helm itself holds the values against the schema


def _references(schema: Any) -> Iterator[str]:
    waiting, seen = [schema], 0
    while waiting and seen < 20_000:
        each, seen = waiting.pop(), seen + 1
        if isinstance(each, dict):
            if isinstance(each.get("$ref"), str):
                yield each["$ref"]
            waiting += list(each.values())
        elif isinstance(each, list):
            waiting += each
