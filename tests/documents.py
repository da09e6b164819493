"""Comparing documents with what the OpenAPI document says of them."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator


def wrong(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """Return what `value` has that a schema of the OpenAPI document does not allow."""
    whole = {**schema, "components": document["components"]}
    return [f"{each.json_path}: {each.message[:200]}" for each in Draft202012Validator(whole).iter_errors(value)]
