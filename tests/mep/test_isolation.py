"""An app sees and changes only its own: every resource of both APIs is asked with the token of another app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from mep.mp1 import services
from mep.mp1.http import Endpoint
from mep.mp1.models import App, DnsRule, Service, Subscription, TrafficRule
from mep.mp1.subscriptions import SERVICE_API, SUPPORT_API
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1, service

#: What belongs to nobody and is there to be read by every app.
COMMON = {"services", "services/<str:service_id>", "transports", "timing/current_time", "timing/timing_caps"}
BODIES: list[dict[str, Any]] = [
    service(), {"state": "ACTIVE"}, {"indication": "READY"}, {"operationAction": "TERMINATING"}, DNS_RULE, TRAFFIC_RULE,
    {"appName": "app-1", "appInstanceId": "app-1"},
    {"subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": "http://10.0.0.1/x"},
]  # fmt: skip


def resources(entries: list[Any], prefix: str = "") -> Iterator[tuple[str, Endpoint]]:
    """Every path of the URL configuration with its view."""
    for entry in entries:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from resources(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield path, entry.callback


MP1 = {
    path: view
    for path, view in resources(get_resolver("mep.urls").url_patterns)
    if path.startswith((SERVICE_API[1:], SUPPORT_API[1:]))
}
OWNED = {path: view for path, view in MP1.items() if "<str:app>" in path}


@pytest.fixture
def held(app: Mp1) -> dict[str, str]:
    """Let the app have one of everything, and say under which names."""
    made = app.register(livenessInterval=60)
    subscriptions = {}
    for api, kind in ((SERVICE_API, "SerAvailability"), (SUPPORT_API, "AppTermination")):
        body = {
            "subscriptionType": f"{kind}NotificationSubscription", "callbackReference": "http://10.0.0.1/x",
            "appInstanceId": "app-1",
        }  # fmt: skip
        answer = app.post(f"{api}/applications/{{app}}/subscriptions", body)
        assert answer.status_code == 201, answer.content
        subscriptions[api] = answer["Location"].rpartition("/")[2]
    return {"service_id": made["serInstanceId"], **subscriptions}


def filled(path: str, held: dict[str, str], app_id: str) -> str:
    """Return the path of a resource that there is."""
    api = SERVICE_API if path.startswith(SERVICE_API[1:]) else SUPPORT_API
    names = {
        "app": app_id, "service_id": held["service_id"], "subscription_id": held[api],
        "rule_id": "t1" if "traffic" in path else "d1",
    }  # fmt: skip
    return "/" + re.sub(r"<str:(\w+)>", lambda found: names[found[1]], path)


def everything() -> dict[str, Any]:
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in
            (App, Service, Subscription, TrafficRule, DnsRule)}  # fmt: skip


def test_what_is_not_common_has_an_owner_in_its_path() -> None:
    """So that the walk below leaves out nothing; a registration is made for the app that its body names."""
    rest = {path.partition("/v1/")[2] for path in MP1.keys() - OWNED.keys()}
    assert rest == COMMON | {"registrations"}
    for path, view in MP1.items():
        assert isinstance(view, Endpoint)
        assert view.needs_app, path
        if path.partition("/v1/")[2] in COMMON:
            assert set(view.handlers) == {"GET", "HEAD"}, path
    assert len(OWNED) >= 12


@pytest.mark.parametrize("path", sorted(OWNED))
def test_the_token_of_another_app_opens_nothing(app: Mp1, neighbour: Mp1, held: dict[str, str], path: str) -> None:
    services.provision("app-2", app_name="app-2", traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE])
    own = neighbour.register(serName="mine")
    before = everything()
    target = filled(path, held, "app-1")
    # Or to pass off what belongs to another app as one's own.
    disguised = filled(path, held, "app-2")
    for method in OWNED[path].handlers:
        for body in [None] if method in ("GET", "HEAD", "DELETE") else BODIES:
            answer = neighbour.send(method, target, body)
            assert answer.status_code == 403, (method, answer.content)
            if method != "HEAD":
                assert "another app instance" in answer.json()["detail"]
            if "service_id" in path or "subscription_id" in path:
                answer = neighbour.send(method, disguised, body)
                assert answer.status_code in (400, 404), (method, body, answer.content)
    assert everything() == before
    assert own["serInstanceId"] in {row["id"] for row in before["Service"]}
    # The owner is let in, so it was not a mistake in the path that kept the other one out.
    if "GET" in OWNED[path].handlers and "registrations" not in path:
        assert app.get(target).status_code == 200


def test_nobody_registers_for_another_app(app: Mp1, neighbour: Mp1) -> None:
    answer = neighbour.post(f"{SUPPORT_API}/registrations", {"appName": "app-1", "appInstanceId": "app-1"})
    assert answer.status_code in (400, 403), answer.content
    assert App.objects.get(pk="app-1").registration is None


def test_the_list_of_own_services_holds_own_ones_only(app: Mp1, neighbour: Mp1) -> None:
    app.register(serName="a")
    neighbour.register(serName="b")
    for client, name in ((app, "a"), (neighbour, "b")):
        found = client.get(f"{SERVICE_API}/applications/{{app}}/services").json()
        assert [each["serName"] for each in found] == [name]


# --- refusals say why --------------------------------------------------------------------------------------------------------


def sentence(text: str) -> bool:
    """A person can read it: several words, no repr of an object, no traceback."""
    return len(text.split()) >= 3 and not re.search(r"Traceback|object at 0x|<class|Error\(", text)


#: The same views once more under a prefix are left out.
ALL = {
    path: view
    for path, view in resources(get_resolver("mep.urls").url_patterns)
    if isinstance(view, Endpoint)  # what others than apps and the management call is written for its callers
    and (path in MP1 or not path.partition("/v1/")[0].endswith((SERVICE_API[1:-3], SUPPORT_API[1:-3])))
}
BAD_TOKENS = ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer a.b.c", "Bearer \x7f"]


@pytest.mark.parametrize("path", sorted(ALL))
def test_every_refusal_says_why(app: Mp1, held: dict[str, str], settings: Any, path: str) -> None:
    settings.MM5_TOKEN = "management"
    view = ALL[path]
    target = "/" + re.sub(r"<\w+:(\w+)>", "x", path)
    refused = 0
    strangers = [(token, b"") for token in BAD_TOKENS]
    known = [
        (f"Bearer {token}", body) for token in (app.token, "management") for body in (b"", b"{", b"[]", b'{"a": 1}')
    ]
    for method in (*view.handlers, "BREW"):
        for authorization, body in strangers + known:
            answer = Client(raise_request_exception=False).generic(
                method, f"{target}?color=red", body, content_type="application/json",
                headers={"Authorization": authorization},
            )  # fmt: skip
            assert answer.status_code < 500, (method, authorization, body)
            if answer.status_code < 400 or method == "HEAD":
                continue
            refused += 1
            said = answer.json()
            assert sentence(said["detail"]), said
            assert said["status"] == answer.status_code
            assert said["title"]
            assert said["type"].startswith("urn:breakwater:problem:")
            if answer.status_code == 401:
                assert answer["WWW-Authenticate"]
            if answer.status_code == 405:
                assert set(answer["Allow"].split(", ")) == set(view.handlers)
            assert app.token not in answer.content.decode()
    assert refused > 10


def test_what_there_is_not_is_refused_in_words_too(app: Mp1) -> None:
    for target in ("/", "/mec_service_mgmt/v2/services", "/mep", "/static/x", "/%00", "/a" * 3000):
        answer = app.get(target)
        assert answer.status_code in (404, 414)
        assert sentence(answer.json()["detail"])
