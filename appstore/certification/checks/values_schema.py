"""Check `values-schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ValuesSchema(Check):
    """The chart has a schema of its values, which is itself valid, and its own values follow it."""

    name = "values-schema"
    title = say("Values have a schema")
    reason = say("The install form is built from it, and wrong values are refused before anything starts.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        archive, root = tools.chart_archive(), support.chart_root(tools)
        member = f"{root}/values.schema.json"
        if member not in archive:
            remedy = say("Add values.schema.json")
            yield support.warning(
                "schema-missing", "values.schema.json", say("The chart has no schema of its values"), remedy
            )
            return
        try:
            schema = json.loads(archive.read(member, at_most=1 << 20))
        except (ValueError, RecursionError):
            yield support.error("schema-invalid", "values.schema.json", say("It is no JSON"), say("Correct it"))
            return
        for reference in _references(schema):
            if not reference.startswith("#"):
                message = say("It refers to {reference}, outside of itself", reference=repr(reference[:120]))
                yield support.error("schema-remote", "values.schema.json", message, say("Write it out"))
        if not isinstance(schema, dict) or not schema.get("properties"):
            yield support.warning(
                "schema-empty", "values.schema.json", say("It describes no property"), say("Describe the values")
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
