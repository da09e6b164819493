"""A tenant with a published package, and nodes to run it on."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHART = "apiVersion: v2\nname: hello\nversion: 1.0.0\n"
VALUES = "replicas: 1\ncpu: 500m\nmemory: 256Mi\nmessage: hello\n"
SCHEMA = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer", "minimum": 0, "maximum": 50},
        "cpu": {"type": "string"},
        "memory": {"type": "string"},
        "message": {"type": "string"},
    },
}
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {app: {{ .Release.Name }}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
    spec:
      containers:
        - name: web
          image: localhost/breakwater/hello:1
          args: [{{ .Values.message | quote }}]
          resources:
            requests: {cpu: {{ .Values.cpu }}, memory: {{ .Values.memory }}}
"""


def chart(**files: str) -> bytes:
    """Return a packed chart; `files` replaces or adds members (`__` stands for a slash, `_` for a dot)."""
    members = {
        "Chart.yaml": CHART,
        "values.yaml": VALUES,
        "values.schema.json": json.dumps(SCHEMA),
        "templates/deployment.yaml": DEPLOYMENT,
        **{name.replace("__", "/").replace("_", "."): text for name, text in files.items()},
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(f"hello/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture
def make_package(organisation: Any, admin: Any) -> Callable[..., Any]:
    """Publish a package: `make_package("2.0.0", chart=..., appServiceRequired=[...])`."""
    from django.utils import timezone

    from appstore.packages import blobs
    from appstore.packages.models import Package

    def make(version: str = "1.0.0", *, packed: bytes | None = None, owner: Any = None, **facts: Any) -> Package:
        described = {
            "appDId": f"hello-{version}",
            "appName": "hello",
            "appProvider": "Acme",
            "appSoftVersion": version,
            "appDVersion": "1.0",
            "gracefulTerminationTimeout": 5,
            **{name: value for name, value in facts.items() if name.startswith("app") or name == "compute"},
        }
        digest, _ = blobs.store([packed or chart()])
        return Package.objects.create(
            organisation=owner or organisation,
            uploaded_by=admin,
            filename=f"hello-{version}.csar",
            sha256=version.encode().hex().rjust(64, "0")[-64:],
            size=1,
            format="etsi",
            state=facts.get("state", Package.State.PUBLISHED),
            visibility=facts.get("visibility", Package.Visibility.PUBLIC),
            name=facts.get("name", "hello"),
            provider="Acme",
            version=version,
            descriptor=described,
            chart_sha256=digest,
            published_at=timezone.now(),
        )

    return make


@pytest.fixture
def package(make_package: Any) -> Any:
    """The release 1.0.0 of hello."""
    return make_package()


@pytest.fixture
def make_node(organisation: Any) -> Callable[..., Any]:
    """Make a node that was seen just now: `make_node("berth-7", link="direct", cpu_millis=4000)`."""
    from django.utils import timezone

    from mecm.nodes.models import Node

    def make(name: str = "berth-7", **facts: Any) -> Node:
        defaults: dict[str, Any] = {
            "organisation": organisation,
            "engine": "memory",
            "link": "agent",
            "last_seen_at": timezone.now(),
            "enrolled_at": timezone.now(),
        }
        return Node.objects.create(name=name, **{**defaults, **facts})

    return make


@pytest.fixture
def node(make_node: Any) -> Any:
    """A node behind an agent."""
    return make_node()


@pytest.fixture
def deploy(actor: Any, organisation: Any, node: Any, package: Any) -> Callable[..., Any]:
    """Wish for a deployment: `deploy(name="hello", node=other)`."""
    from mecm.deployments import services

    def request(**wanted: Any) -> Any:
        defaults = {
            "actor": actor, "organisation": organisation, "node": node, "package": package, "name": "hello",
        }  # fmt: skip
        return services.request(**{**defaults, **wanted})

    return request


@pytest.fixture
def threads_db(transactional_db: None) -> Iterator[None]:
    """A database that threads share. Afterwards the audit trail, which refuses to be emptied, is made to let go."""
    from django.db import connection

    yield
    if connection.vendor != "sqlite":
        return  # PostgreSQL truncates, which its row trigger does not see
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entry'")
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        cursor.execute("DELETE FROM audit_entry")
        for _, statement in triggers:
            cursor.execute(statement)
