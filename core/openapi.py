"""The OpenAPI document of the API: names that do not collide, pages as pages, problems as problems.

`AutoSchema` is for settings (`DEFAULT_SCHEMA_CLASS`); `tidy` is a hook that completes the document at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from drf_spectacular import openapi
from rest_framework import serializers

from core.errors import PROBLEM_TYPE_PREFIX
from core.http import PROBLEM, Pagination
from core.words import say

_METHODS = ("get", "put", "post", "delete", "patch")

#: RFC 9457, with our members; docs/errors.md explains the codes.
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Why the answer is no (RFC 9457). Some problems have further members, which docs/errors.md names.",
    "required": ["type", "title", "status", "detail", "code", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "one sentence for people"},
        "code": {"type": "string", "description": "for programs; it never changes"},
        "retryable": {"type": "boolean", "description": "whether waiting helps"},
        "field": {"type": "string", "description": "the one place that is wrong"},
        "errors": {
            "type": "array",
            "description": "every place that is wrong",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["field", "detail"],
            },
        },
    },
    "example": {
        "type": f"{PROBLEM_TYPE_PREFIX}invalid",
        "title": "The request is not valid",
        "status": 400,
        "detail": "name: This field is required.",
        "code": "invalid",
        "retryable": False,
        "errors": [{"field": "name", "detail": say("This field is required.")}],
    },
}


class _Pages(Pagination):
    """Pages, told in OpenAPI 3.1: the first has no page before it."""

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a page."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {"count": {"type": "integer"}, "next": link, "previous": link, "results": schema},
        }


class AutoSchema(openapi.AutoSchema):
    """Reads views as they are written here."""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Return the class's name; with its topic in front where another topic uses the same name."""
        kind = serializer.__class__
        same = {each for each in _descendants(serializers.BaseSerializer) if each.__name__ == kind.__name__}
        if len(same) < 2:
            return str(kind.__name__)
        # appstore.certification.api is the topic `certification`.
        topic = kind.__module__.split(".")[-2]
        return f"{topic.title().replace('_', '')}{kind.__name__}"

    def _get_paginator(self) -> Any:
        """A view that answers through `core.http.paginated` answers pages."""
        method = getattr(self.view, self.method.lower(), None)
        code = getattr(inspect.unwrap(method), "__code__", None) if method else None
        return _Pages() if code and "paginated" in code.co_names else None

    def get_paginated_name(self, serializer_name: str) -> str:
        """Return the name of a page of these."""
        return f"{serializer_name}Page"

    def get_summary(self) -> str | None:
        """Return the first sentence of the description, for lists."""
        text = super().get_summary() or self.get_description() or ""
        first = text.strip().split("\n")[0]
        return first.split("; ")[0].split(". ")[0].rstrip(".:")[:120] or None


def tidy(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Complete the document: every operation may be answered by a problem, and nothing of the generator's notes is left."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    components.setdefault("responses", {})["Problem"] = {
        "description": "no, and why",
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operation in operations_of(result):
        operation["responses"].setdefault("default", {"$ref": "#/components/responses/Problem"})
        for answer in operation["responses"].values():
            if not answer.get("description") and "$ref" not in answer:
                answer["description"] = "done"
    _without_notes(result)
    return result


def operations_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every operation of the document."""
    for path in document["paths"].values():
        for method in _METHODS:
            if method in path:
                yield path[method]


def _without_notes(node: Any) -> None:
    """Drop what the generator notes about choices for itself; they stay where they are used, which needs no names."""
    if isinstance(node, dict):
        node.pop("x-spec-enum-id", None)
        # Anything at all may be null already; "one of them" would forbid what fits both.
        if {} in node.get("oneOf", []):
            del node["oneOf"]
        for each in node.values():
            _without_notes(each)
    elif isinstance(node, list):
        for each in node:
            _without_notes(each)


def _descendants(kind: Any) -> Iterator[Any]:
    for each in kind.__subclasses__():
        # A library's own classes are nobody's answers.
        if not each.__module__.startswith(("rest_framework", "drf_spectacular")):
            yield each
        yield from _descendants(each)
