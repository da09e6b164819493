"""The OpenAPI document is whole: no doubt of its generator, groups and examples that are what they say."""

from __future__ import annotations

from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS

from mecm import openapi
from tests.documents import wrong


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    openapi.document.cache_clear()
    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        return openapi.document()


def test_the_generator_has_no_doubts(document: dict[str, Any]) -> None:
    doubts = {**GENERATOR_STATS._warn_cache, **GENERATOR_STATS._error_cache}
    assert list(doubts) == [], "see `manage.py spectacular > /dev/null`"
    assert document["openapi"].startswith("3.1")


def test_every_operation_has_a_group_a_summary_and_a_way_to_say_no(document: dict[str, Any]) -> None:
    groups = {each["name"] for each in document["tags"]}
    told = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            whole = set(operation["tags"]) <= groups and operation.get("summary") and operation["responses"]["default"]
            told += [] if whole else [f"{method.upper()} {path}"]
    assert told == [], "give these a docstring, and their groups a line in mecm.openapi.TAGS"


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    found, told = set(), []
    for operations in document["paths"].values():
        for operation in operations.values():
            places = [("request", operation.get("requestBody", {}))]
            places += [("answer", each) for each in operation["responses"].values()]
            for place, body in places:
                for kind, content in body.get("content", {}).items():
                    if "example" in content:
                        found.add(operation["operationId"])
                        problems = wrong(document, content["schema"], content["example"])
                        told += [f"{operation['operationId']} {place} {kind} {each}" for each in problems]
    assert told == []
    assert found == set(openapi.EXAMPLES), "an example for an operation that is not there"
