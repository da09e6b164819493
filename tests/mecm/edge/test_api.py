"""What edge nodes ask over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from rest_framework.test import APIClient

from appstore.packages import blobs
from mecm.edge import services
from mecm.edge.api import UNSATISFIABLE, byte_range
from mecm.nodes.models import Node
from tests.mecm.edge.conftest import Machine, join

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def anyone() -> APIClient:
    return APIClient()


@pytest.fixture
def blob(settings: Any) -> str:
    """A file in the store."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = Path(blobs.path_of(digest))
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return digest


def get(machine: Machine, digest: str, **headers: str) -> Any:
    return APIClient().get(
        f"/api/v1/edge/blobs/{digest}", headers={"Authorization": machine.authorization(), **headers}
    )


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_everybody_may_see_the_authority(anyone: APIClient, db: None) -> None:
    answer = anyone.get("/api/v1/edge/ca").json()
    assert answer["ca"].startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in answer["ca"]


def test_a_machine_joins_over_http(anyone: APIClient, node: Node, actor: Any) -> None:
    machine = Machine()
    secret = services.join_string(node, actor=actor)[0].split(".")[-1]
    answer = anyone.post("/api/v1/enrol", {"token": secret, "csr_pem": machine.csr()}, format="json")
    assert answer.status_code == 201
    assert answer.json()["sync_url"] == "ws://127.0.0.1:8000/api/v1/edge/sync"
    machine.accept(answer.json())
    renewed = anyone.post(
        "/api/v1/nodes/self/renew",
        {"csr_pem": machine.csr()},
        format="json",
        headers={"Authorization": machine.authorization()},
    )
    assert renewed.status_code == 201


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"token": "x" * 43, "csr_pem": "VALID"}, 403),
        ({"token": "x" * 43, "csr_pem": "rubbish"}, 400),
        ({"token": "x" * 43}, 400),
        ({"token": ["x"], "csr_pem": {}}, 400),
        ([], 400),
        ({"token": "x\x00", "csr_pem": "VALID"}, 400),
    ],
)
def test_a_wrong_attempt_to_join_gets_a_problem(anyone: APIClient, db: None, wanted: Any, status: int) -> None:
    if isinstance(wanted, dict) and wanted.get("csr_pem") == "VALID":
        wanted["csr_pem"] = Machine().csr()
    answer = anyone.post("/api/v1/enrol", wanted, format="json")
    assert answer.status_code == status
    assert answer["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/v1/edge/blobs/" + "a" * 64, "/api/v1/nodes/self/renew"])
def test_people_and_strangers_are_no_nodes(anyone: APIClient, api: APIClient, path: str) -> None:
    for client in (anyone, api):
        answer = client.get(path) if "blobs" in path else client.post(path, {}, format="json")
        assert answer.status_code == 401


def test_a_node_gets_the_files_that_its_own_wishes_name(
    machine: Machine, node: Node, other_node: Node, actor: Any, blob: str
) -> None:
    assert get(machine, blob).status_code == 404
    services.put(node, "app", "a", generation=1, spec={"chart": {"sha256": blob, "size": len(CONTENT)}})
    answer = get(machine, blob)
    assert (answer.status_code, body(answer)) == (200, CONTENT)
    assert get(join(other_node, actor), blob).status_code == 404
    services.delete(node, "app", "a")
    assert get(machine, blob).status_code == 404


def test_a_file_that_is_named_but_not_stored_is_missing(machine: Machine, node: Node) -> None:
    digest = "0" * 64
    services.put(node, "app", "a", generation=1, spec={"images": [{"sha256": digest}]})
    assert get(machine, digest).status_code == 404


def test_a_download_goes_on_where_it_stopped(machine: Machine, node: Node, blob: str) -> None:
    services.put(node, "app", "a", generation=1, spec={"chart": {"sha256": blob}})
    answer = get(machine, blob, Range="bytes=10000-")
    assert answer.status_code == 206
    assert answer["Content-Range"] == f"bytes 10000-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert body(answer) == CONTENT[10000:]
    assert get(machine, blob, Range=f"bytes={len(CONTENT)}-").status_code == 416


@given(first=some.integers(0, 30), last=some.integers(0, 30), size=some.integers(0, 20))
def test_a_range_is_always_inside_the_file(first: int, last: int, size: int) -> None:
    for header in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        wanted = byte_range(header, size)
        if wanted and wanted != UNSATISFIABLE:
            assert 0 <= wanted[0] <= wanted[1] < size


@pytest.mark.parametrize("header", ["", "bytes=", "bytes=-", "bytes=5-2", "bytes=1-2,4-5", "lines=1-2", "bytes=x-y"])
def test_a_range_that_makes_no_sense_is_no_range(header: str) -> None:
    assert byte_range(header, 100) is None
