"""A MEP in which every resource of MEC 011 exists, and the words in which a row of its tables is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1, service

MGMT, SUPPORT = "/mec_service_mgmt/v1", "/mec_app_support/v1"
ORIGIN = "https://mep:8443"
AVAILABILITY = {
    "subscriptionType": "SerAvailabilityNotificationSubscription",
    "callbackReference": "http://10.1.2.3/changes",
    "filteringCriteria": {"serNames": ["hello"], "states": ["ACTIVE"], "isLocal": True},
}
TERMINATION = {
    "subscriptionType": "AppTerminationNotificationSubscription",
    "callbackReference": "http://10.1.2.3/goodbye",
    "appInstanceId": "app-1",
}
INFO = {"appName": "hello", "appProvider": "acme", "endpoint": {"uris": ["http://10.1.2.3/"]}}


@dataclass
class World:
    """An app instance that owns one of everything, and another that owns nothing."""

    app: Mp1
    other: Mp1
    ids: dict[str, str] = field(default_factory=dict)

    def path(self, template: str, **ids: str) -> str:
        """Return the path with the ids of this world (or others) filled in."""
        return template.format(**{**self.ids, **ids})

    def send(self, call: Sent) -> Any:
        """Send a request as it is described."""
        speaker = self.other if call.as_other else self.app
        return speaker.send(call.method, self.path(call.path, **call.ids) + call.query, call.body, **call.headers)


@dataclass(frozen=True)
class Sent:
    """One request: who sends what where, under which headers."""

    method: str
    path: str
    body: Any = None
    query: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    as_other: bool = False


@dataclass(frozen=True)
class Way:
    """One way to get a status from a row: what is different from the request that succeeds."""

    status: int
    words: str
    change: dict[str, Any] = field(default_factory=dict)
    before: Callable[[World], Any] | None = None
    #: The table lists another status than this one, which this platform cannot come to: why not is in the words.
    instead_of: int | None = None

    @property
    def listed(self) -> int:
        """The status that the table lists."""
        return self.instead_of or self.status


@dataclass(frozen=True)
class Row:
    """One method of one resource in the tables of the standard."""

    method: str
    path: str
    success: int
    errors: tuple[Way, ...]
    body: Any = None
    #: What has to happen before the request can succeed.
    before: Callable[[World], Any] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def sent(self, **change: Any) -> Sent:
        """Return the request that succeeds, with changes."""
        return Sent(**{"method": self.method, "path": self.path, "body": self.body, **change})


# --- ways that many rows share -------------------------------------------------------------------------------------------

UNKNOWN_PARAMETER = Way(400, "the query has a parameter that the table does not know", {"query": "?colour=red"})
NO_TOKEN = Way(401, "no access token is shown", {"headers": {"Authorization": ""}})
NOT_MINE = Way(403, "the resource is another app's", {"as_other": True})
#: RFC 9110 13.1.1
CHANGED = Way(412, "If-Match names a version that is gone", {"headers": {"If_Match": '"0"'}})
TOO_LONG = Way(414, "the target is longer than the server reads", {"query": f"?ser_name={'x' * 9000}"})
NOT_JSON = Way(400, "the body is no JSON", {"body": b"{"})


def unknown(**ids: str) -> Way:
    """Return the way to a 404: there is no such resource."""
    return Way(404, f"there is no such {next(iter(ids))}", {"ids": ids})


def bad_body(words: str, body: Any) -> Way:
    """Return the way to a 400 by what the body says."""
    return Way(400, words, {"body": body})


NOBODY_IS_FORBIDDEN = Way(
    200, "every app with a good token may read this, on its way out as well", instead_of=403,
    before=lambda world: leave(world),
)  # fmt: skip
NEVER_EMPTY = Way(200, "what is not there makes an empty list, not a 404 (MEC 009)", instead_of=404)
ALWAYS_THERE = Way(200, "every MEP has this resource", instead_of=404)
OWN_OR_FORBIDDEN = Way(
    403, "of app instances beside its own, an app does not learn whether they exist", {"ids": {"app": "nobody"}},
    instead_of=404,
)  # fmt: skip


def leave(world: World) -> None:
    """Announce the end of the app, which listens and so has its time."""
    from mep.mp1 import services

    services.begin_termination(world.app.id, timeout=60)


def build() -> World:
    """Make two ready apps; the first has a service with heartbeats, rules, subscriptions and a registration."""
    from mep.mp1 import services, tokens
    from mep.mp1.models import App

    def ready(app_id: str, **facts: Any) -> Mp1:
        services.provision(app_id, app_name=app_id, app_provider="acme", **facts)
        services.confirm_ready(app_id)
        return Mp1(app_id, tokens.issue(App.objects.get(pk=app_id)))

    app = ready("app-1", traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE])
    made = World(app, ready("app-2"), {"app": "app-1", "traffic": "t1", "dns": "d1"})
    offered = service(
        livenessInterval=60, serCategory={"href": "http://x", "id": "greetings", "name": "greetings", "version": "1"}
    )
    made.ids["service"] = app.post(f"{MGMT}/applications/{{app}}/services", offered).json()["serInstanceId"]
    for name, api, body in (("availability", MGMT, AVAILABILITY), ("termination", SUPPORT, TERMINATION)):
        where = app.post(f"{api}/applications/{{app}}/subscriptions", body)["Location"]
        made.ids[name] = where.rpartition("/")[2]
    assert app.post(f"{SUPPORT}/registrations", INFO).status_code == 201
    return made


@pytest.fixture(scope="module")
def module_world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Path]]:
    """Build the world once for all tests of a module, in a transaction around those of the tests."""
    from mep.mp1.tokens import verifier

    var = tmp_path_factory.mktemp("world")
    with django_db_blocker.unblock(), override_settings(VAR=var), transaction.atomic():
        verifier.forget()
        yield build(), var
        transaction.set_rollback(True)


@pytest.fixture
def world(module_world: tuple[World, Path], db: None, settings: Any) -> World:
    """The world; whatever a test does to it is undone."""
    made, settings.VAR = module_world
    return replace(made, ids=dict(made.ids))
