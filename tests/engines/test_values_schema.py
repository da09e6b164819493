"""A values schema speaks only about itself, and what it says about values names their places."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid
from engines.helm import helm, schemas
from engines.helm.schemas import Problem


def chart(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "tried.tgz"
    path.write_bytes(packed(files))
    return path


def packed(files: dict[str, bytes], name: str = "tried") -> bytes:
    made = io.BytesIO()
    about = f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n".encode()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for member, body in {"Chart.yaml": about, **files}.items():
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return made.getvalue()


def schema(content: Any) -> dict[str, bytes]:
    return {"values.schema.json": json.dumps(content).encode()}


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another host, and what it was asked for."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_no_reference_of_a_schema_is_fetched_not_even_in_a_subchart(tmp_path: Path, elsewhere: Any) -> None:
    url, asked = elsewhere
    outside = {"properties": {"a": {"$ref": f"{url}/x"}}}
    hostile = [
        schema(outside),
        schema({"$schema": f"{url}/meta"}),
        schema({"$id": f"{url}/base", "properties": {"a": {"$ref": "x"}}}),
        schema({"properties": {"a": {"$ref": "file:///etc/hostname"}}}),
        schema({"$defs": {"x": [{"$dynamicRef": f"{url}/x"}]}}),
        {f"charts/sub/{name}": body for name, body in {"Chart.yaml": b"name: sub\n", **schema(outside)}.items()},
        {"charts/sub.tgz": packed(schema(outside), "sub")},
        {"charts/sub.tgz": packed({"charts/inner.tgz": packed(schema(outside), "inner")}, "sub")},
    ]
    for files in hostile:
        path = chart(tmp_path, files)
        with pytest.raises(Invalid, match="outside of itself"):
            helm().problems(path, {"a": 1})
        with pytest.raises(Invalid, match="outside of itself"):
            helm().render(path, {"a": 1}, name="one", namespace="t-one")
    assert asked == []


@pytest.mark.parametrize(
    "text",
    [b"{", b'{"a":' * 100_000, b"\xff\xfe", b"[" + b"0," * 300_000 + b"0]"],
    ids=["cut", "deep", "bytes", "long"],
)
def test_a_schema_that_cannot_be_read_is_refused_before_helm_sees_it(text: bytes) -> None:
    with pytest.raises(Invalid):
        schemas.check(text)


def test_a_schema_may_use_what_it_defines_itself_and_the_known_dialects() -> None:
    schemas.check(
        json.dumps(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "properties": {"$ref": {"type": "string"}, "a": {"$ref": "#/definitions/a"}},
                "definitions": {"a": {"$schema": "https://json-schema.org/draft/2020-12/schema"}},
            }
        ).encode()
    )


def test_what_the_schema_forbids_is_told_with_its_place(tmp_path: Path) -> None:
    wanted = {
        "required": ["need"],
        "properties": {
            "replicas": {"type": "integer"},
            "a/b": {"type": "object", "properties": {"it's": {"minLength": 3, "pattern": "^[a-z]+$"}}},
        },
    }
    inner = packed(schema({"properties": {"port": {"type": "integer"}}}), "sub")
    path = chart(tmp_path, {**schema(wanted), "charts/sub.tgz": inner})
    found = helm().problems(path, {"replicas": "x", "a/b": {"it's": "A"}, "sub": {"port": "y"}})
    assert set(found) == {
        Problem("", "missing property 'need'"),
        Problem("/replicas", "got string, want integer"),
        Problem("/a~1b/it's", "minLength: got 1, want 3"),
        Problem("/a~1b/it's", "'A' does not match pattern '^[a-z]+$'"),
        Problem("/sub/port", "got string, want integer"),
    }
    assert helm().problems(path, {"need": 1, "replicas": 2}) == []


@pytest.mark.parametrize(
    "content",
    [
        {"properties": {"a": {"pattern": "^(a+)+$"}}},
        {
            "$ref": "#/definitions/a",
            "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}},
        },
        {"properties": {"a": {"pattern": "(x{1000}){1000}"}}},
    ],
    ids=["backtracking", "loop", "repetition"],
)
def test_a_hostile_schema_costs_no_time(tmp_path: Path, content: Any) -> None:
    assert helm().problems(chart(tmp_path, schema(content)), {"a": "a" * 60 + "!"})


def test_any_text_of_the_validator_is_at_least_one_problem() -> None:
    assert schemas.problems("values don't\n  fit") == [Problem("", "values don't fit")]
    assert len(schemas.problems("\n".join(f"- at '/a{n}': no" for n in range(5000)))) == schemas.MOST_PROBLEMS
