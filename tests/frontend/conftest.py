"""A tenant with a package in the catalogue, a node, a deployment with a history; people who may see it, and one who may not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: hello\nversion: 1.0.0\n",
    "values.yaml": "replicas: 1\ncpu: 500m\n",
    "values.schema.json": '{"type": "object", "properties": {"replicas": {"type": "integer"}}}',
    "templates/deployment.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n"
        "  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: hello}}\n  template:\n"
        "    metadata: {labels: {app: hello}}\n    spec:\n      containers:\n        - name: web\n"
        "          image: localhost/breakwater/hello:1\n"
        "          resources: {requests: {cpu: {{ .Values.cpu }}, memory: 64Mi}}\n"
    ),
}
DESCRIPTOR = {
    "appName": "hello",
    "appProvider": "Acme",
    "appSoftVersion": "1.0.0",
    "appServiceProduced": [{"serName": "greeting", "version": "1.0"}],
    "appServiceRequired": [{"serName": "location"}],
    "appServiceOptional": [{"serName": "radio"}],
    "appTrafficRule": [
        {
            "trafficRuleId": "tr-1",
            "filterType": "FLOW",
            "priority": 3,
            "trafficFilter": [{"dstAddress": ["192.0.2.0/24"]}],
            "action": "FORWARD_DECAPSULATED",
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "192.0.2.9"}],
        }
    ],
    "appDNSRule": [
        {
            "dnsRuleId": "dns-1",
            "domainName": "hello.example",
            "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.9",
            "ttl": 60,
        }
    ],
}


def chart() -> bytes:
    """Return a packed chart."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in CHART.items():
            member = tarfile.TarInfo(f"hello/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture
def browser_of() -> Callable[[Any], Client]:
    """Return a client in which that person is signed in."""

    def sign_in(user: Any) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def pages(browser_of: Any, admin: Any) -> Client:
    """The administrator of `acme`, signed in."""
    return browser_of(admin)


@pytest.fixture
def make_package(organisation: Any, admin: Any) -> Callable[..., Any]:
    """Make a package row: `make_package("hello", "2.0", state="checked")`."""
    from appstore.packages import blobs, followers
    from appstore.packages.models import Package

    def make(name: str = "hello", version: str = "1.0.0", **facts: Any) -> Package:
        digest, _ = blobs.store([chart()])
        now = timezone.now()
        state = facts.pop("state", "published")
        defaults: dict[str, Any] = {
            "organisation": organisation,
            "uploaded_by": admin,
            "filename": f"{name}-{version}.csar",
            "sha256": f"{name}{version}".encode().hex().rjust(64, "0")[-64:],
            "size": 1536,
            "format": "etsi",
            "provider": "Acme",
            "descriptor": {**DESCRIPTOR, "appName": name, "appSoftVersion": version},
            "chart_sha256": digest,
            "compute": {"cpu_millis": 500, "memory_bytes": 64 * 2**20},
            "checked_at": now,
            "published_at": now if state in ("published", "withdrawn") else None,
        }
        package = Package.objects.create(name=name, version=version, state=state, **{**defaults, **facts})
        # As every service that changes a release does: the catalogue is one of those who listen.
        followers.tell("changed", package)
        return package

    return make


@pytest.fixture
def package(make_package: Any) -> Any:
    """A release in the catalogue."""
    return make_package()


@pytest.fixture
def make_node(organisation: Any) -> Callable[..., Any]:
    """Make a node that was seen just now: `make_node("berth-7", engine="memory")`."""
    from mecm.nodes.models import Node

    def make(name: str = "berth-7", **facts: Any) -> Node:
        now = timezone.now()
        defaults: dict[str, Any] = {
            "organisation": organisation,
            "engine": "memory",
            "link": "agent",
            "last_seen_at": now,
            "enrolled_at": now,
            "latitude": 53.5,
            "longitude": 9.9,
            "cpu_millis": 4000,
            "memory_bytes": 8 * 2**30,
        }
        return Node.objects.create(name=name, **{**defaults, **facts})

    return make


@pytest.fixture
def node(make_node: Any) -> Any:
    """A node that is there."""
    return make_node()


@pytest.fixture
def deployment(organisation: Any, actor: Any, node: Any, package: Any) -> Any:
    """A deployment in its second generation."""
    from mecm.deployments import services

    made = services.request(
        actor=actor, organisation=organisation, node=node, package=package, name="hello", values={"replicas": 1}
    )
    services.observe(made.pk, 1, {"state": "ready"})
    return services.upgrade(made, actor=actor, values={"replicas": 2})


@pytest.fixture
def operation(organisation: Any, package: Any) -> Any:
    """Work that failed."""
    from core.operations.models import Operation

    return Operation.objects.create(
        kind="package.check",
        target=f"package:{package.pk}",
        organisation_id=organisation.pk,
        state="failed",
        problem={"title": "Not available", "detail": "The store has no room"},
    )


@pytest.fixture
def token(admin: Any, actor: Any) -> Any:
    """An API token of the administrator."""
    from core.accounts import services

    made, _ = services.issue_token(admin, name="ci", actor=actor)
    return made


@pytest.fixture
def webhook(organisation: Any, actor: Any) -> Any:
    """A webhook of `acme`."""
    from appstore.catalog import webhooks

    made, _ = webhooks.create(
        organisation, actor=actor, name="chat", url="https://hooks.example/in", events=["release"], everything=True
    )
    return made


@pytest.fixture
def review(organisation: Any, make_package: Any) -> Any:
    """A review of an application that only `acme` sees."""
    from appstore.catalog.models import App, Review

    make_package("inward", visibility="organisation")
    return Review.objects.create(
        app=App.objects.get(name="inward"), organisation=organisation, rating=4, version="1.0.0"
    )


@pytest.fixture
def objects(
    package: Any, node: Any, deployment: Any, operation: Any, token: Any, review: Any, webhook: Any
) -> dict[str, Any]:
    """One object for each kind that an address may name, by the first step of the address."""
    from appstore.catalog.models import App

    return {
        "packages": package,
        "nodes": node,
        "deployments": deployment,
        "operations": operation,
        "profile": token,
        "catalogue": App.objects.get(name="hello"),
        "feedback": review,
        "webhooks": webhook,
    }
