"""The API reference: what it says is what is answered, and people can read it."""

from __future__ import annotations

from typing import Any

from mecm import openapi
from tests.documents import wrong


def test_what_is_answered_is_what_the_document_says(api: Any, deployment: Any, operation: Any, token: Any) -> None:
    document, told = openapi.document(), []
    filled = {
        "/packages/{id}": deployment.package_id,
        "/nodes/{id}": deployment.node_id,
        "/deployments/{id}": deployment.pk,
        "/operations/{id}": operation.pk,
    }
    for path, operations in document["paths"].items():
        begin = "/".join(path.removeprefix("/api/v1").split("/")[:3])
        url = path.replace("{id}", str(filled.get(begin, "")))
        if "get" not in operations or "{" in url or "//" in url or url.endswith(("/stream", "/session")):
            continue
        answer = api.get(url)
        if answer.status_code != 200 or not answer["Content-Type"].startswith("application/json"):
            continue
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        told += [f"{path} {each}" for each in wrong(document, schema, answer.json())]
    assert told == []
