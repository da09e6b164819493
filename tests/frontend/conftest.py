"""A tenant with a package in the catalogue, a node, a deployment with a history; people who may see it, and one who may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.template import Template, engines
from django.test import Client
from django.utils import timezone

# Fixtures: one of each object.
from tests.frontend.centre_objects import alarm, operation, place, sandbox_test, token, ways_in  # noqa: F401
from tests.frontend.hello import DESCRIPTOR, chart
from tests.frontend.store_objects import (  # noqa: F401
    begun_upload,
    certification,
    feedback,
    listed,
    partner,
    recall,
    review,
    trust_objects,
    webhook,
)
from tests.signing_in import sign_in


@pytest.fixture(autouse=True)
def run_by_acme(settings: Any) -> None:
    """Say who runs the store, whichever tenant a test makes first."""
    settings.OPERATOR = "acme"


@pytest.fixture(autouse=True)
def alarms_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the count in the menu not grow old in the middle of a test, however slow the machine is: that costs a query."""
    monkeypatch.setattr("frontend.fleet.context.FRESH", 3600)


@pytest.fixture(autouse=True)
def plain_templates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Render as in production: to note each part and a copy of its context takes time, and `noted_templates` asks for it."""
    if "noted_templates" not in request.fixturenames:
        monkeypatch.setattr(Template, "_render", lambda self, context: self.nodelist.render(context))


@pytest.fixture
def noted_templates() -> None:
    """Let answers have the `context` that they were rendered with."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave menus away, which are half of each page, where a test looks at what is beside them; menus have tests of their own."""
    engine = engines["django"].engine  # type: ignore[attr-defined]
    for name in ("menu", "user_menu", "palette", "palette_opener"):
        path = f"frontend/parts/{name}.html"
        engine.get_template(path)
        monkeypatch.setitem(engine.template_loaders[0].get_template_cache, path, Template(""))


@pytest.fixture
def browser_of() -> Callable[[Any], Client]:
    """Return a client in which that person is signed in."""

    def make(user: Any) -> Client:
        client = Client()
        sign_in(client, user)
        return client

    return make


@pytest.fixture
def pages(browser_of: Any, admin: Any) -> Client:
    """The administrator of `acme`, signed in."""
    return browser_of(admin)


@pytest.fixture
def make_package(organisation: Any, admin: Any) -> Callable[..., Any]:
    """Make a package row: `make_package("hello", "2.0", state="checked")`."""
    from appstore.packages import blobs, followers, states
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
            "published_at": now if state in states.FINAL else None,
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
def rollout(organisation: Any, actor: Any, deployment: Any, make_package: Any, make_node: Any) -> Any:
    """A rollout whose first node has failed."""
    from mecm.rollouts import services
    from mecm.rollouts.models import places_of

    make_node("berth-8")
    made = services.create(
        actor=actor, organisation=organisation, package=make_package(version="2.0.0"), name="hello", waves=["1", "rest"]
    )
    places_of(made).filter(wave=1).update(state="failed", reason="ImagePullBackOff", message="no such <image>")
    type(made).objects.filter(pk=made.pk).update(state="failed", wave=1, why="1 of 1 failed in wave 1; none may.")
    made.refresh_from_db()
    return made


#: The fixture that makes an object for each first step of an address; those that end with `_objects` make several.
OBJECTS = {
    "packages": "package",
    "nodes": "node",
    "deployments": "deployment",
    "rollouts": "rollout",
    "operations": "operation",
    "profile": "token",
    "reviews": "review",
    "recalls": "recall",
    "partners": "partner",
    "catalogue": "listed",
    "feedback": "feedback",
    "webhooks": "webhook",
    "alarms": "alarm",
    "sites": "place",
    "uploads": "begun_upload",
    "develop": "sandbox_test",
}
#: Fixtures that make several, and the steps that each is for.
SEVERAL = {
    "certification": ("certifications", "manual-checks", "certificates", "labs"),
    "ways_in": (
        "sessions",
        "passkeys",
        "identities",
        "members",
        "invitations",
        "invitation-links",
        "identity-providers",
    ),
    "trust_objects": ("trust-anchors", "trust-distrusts", "publishers", "signers"),
}


class Objects:
    """One object for each kind that an address may name, by the first step of the address; made when it is asked for."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.request = request
        self.instead: dict[str, Any] = {}
        self.complete = False

    def __setitem__(self, step: str, made: Any) -> None:
        self.instead[step] = made

    def __getitem__(self, step: str) -> Any:
        if step in self.instead:
            return self.instead[step]
        for name, steps in SEVERAL.items():
            if step in steps:
                return self.request.getfixturevalue(name)[step]
        return self.request.getfixturevalue(OBJECTS[step])

    def everything(self) -> None:
        """Make one of each, so that lists have something to show."""
        if self.complete:
            return
        for name in (*OBJECTS.values(), *SEVERAL):
            self.request.getfixturevalue(name)
        self.complete = True


@pytest.fixture
def objects(request: pytest.FixtureRequest, package: Any, settings: Any, organisation: Any) -> Objects:
    """One object for each kind that an address may name."""
    settings.OPERATOR = organisation.slug
    return Objects(request)
