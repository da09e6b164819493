"""The OpenAPI document in the form that pages show: groups of operations, their parameters, bodies and examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from mecm import openapi


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a member of a body or an answer."""

    name: str
    kind: str
    place: str = ""
    required: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent or answered."""

    kind: str
    schema: str
    members: list[Member]
    example: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of the API."""

    name: str
    method: str
    path: str
    summary: str
    text: str
    parameters: list[Member]
    body: Body | None
    answers: list[tuple[str, str, Body | None]]


@dataclass(frozen=True, slots=True)
class Group:
    """The operations about one thing."""

    name: str
    text: str
    operations: list[Operation]


@cache
def groups() -> dict[str, Group]:
    """Return the groups by name, in the order of the document; made once a process."""
    document = openapi.document()
    found = {each["name"]: Group(each["name"], each["description"], []) for each in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            made = _operation(document, path, method, operation)
            for name in operation["tags"]:
                found.setdefault(name, Group(name, "", [])).operations.append(made)
    return found


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Operation:
    parameters = [
        Member(
            each["name"],
            kind_of(each.get("schema", {})),
            each["in"],
            bool(each.get("required")),
            each.get("description", ""),
        )
        for each in operation.get("parameters", [])
    ]
    answers = []
    for code, answer in operation["responses"].items():
        if code != "default":
            text = answer.get("description", "")
            answers.append((code, "" if text == "done" else text, _body(document, answer.get("content", {}))))
    return Operation(
        operation["operationId"],
        method.upper(),
        path,
        operation.get("summary", ""),
        operation.get("description", ""),
        parameters,
        _body(document, operation.get("requestBody", {}).get("content", {})),
        answers,
    )


def _body(document: dict[str, Any], content: dict[str, Any]) -> Body | None:
    if not content:
        return None
    # JSON where there is a choice: the other form has the same members.
    kind = "application/json" if "application/json" in content else next(iter(content))
    schema = content[kind].get("schema", {})
    example = content[kind].get("example")
    text = json.dumps(example, indent=2, ensure_ascii=False) if example is not None else ""
    return Body(kind, kind_of(schema), _members(document, schema), text)


def _members(document: dict[str, Any], schema: dict[str, Any]) -> list[Member]:
    """Return the members of an object; of a page or a list those of its rows."""
    schema = _followed(document, schema)
    if schema.get("type") == "array":
        return _members(document, schema.get("items", {}))
    members = schema.get("properties", {})
    if set(members) == {"count", "next", "previous", "results"}:
        return _members(document, members["results"])
    needed = set(schema.get("required", []))
    return [
        Member(name, kind_of(each), required=name in needed, text=each.get("description", ""))
        for name, each in members.items()
    ]


def kind_of(schema: dict[str, Any]) -> str:
    """Return the type of a schema in a few words."""
    for several in ("allOf", "oneOf", "anyOf"):
        if schema.get(several):
            return " or ".join(dict.fromkeys(kind_of(each) for each in schema[several]))
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    kinds = schema.get("type", "anything")
    words = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{words} ({schema['format']})" if "format" in schema else words


def _followed(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema
