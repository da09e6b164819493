"""Availability subscriptions: who is told of what."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mep.mp1 import catalogue, services, subscriptions
from mep.mp1.models import App, Notice, Service, Subscription
from mep.mp1.states import Change
from tests.mep.conftest import Mp1, service
from tests.mep.test_service_mgmt import problem

API = "/mec_service_mgmt/v1"
OWN = f"{API}/applications/{{app}}"
WISH = {"subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": "http://10.1.2.3:80/hear"}


def subscribe(app: Mp1, **criteria: Any) -> dict[str, Any]:
    answer = app.post(f"{OWN}/subscriptions", {**WISH, **({"filteringCriteria": criteria} if criteria else {})})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def told() -> list[list[tuple[str, str, str]]]:
    """Return what is in the outbox: per notification the (name, state, changeType) of its references."""
    return [
        [(each["serName"], each["state"], each["changeType"]) for each in notice.body["serviceReferences"]]
        for notice in Notice.objects.all()
    ]


def test_a_subscription_is_made_listed_read_and_ended(app: Mp1) -> None:
    made = subscribe(app, serNames=["hello"], states=["ACTIVE"], isLocal=True)
    href = made["_links"]["self"]["href"]
    assert made == {
        **WISH,
        "filteringCriteria": {"serNames": ["hello"], "states": ["ACTIVE"], "isLocal": True},
        "_links": {"self": {"href": href}},
    }
    path = href.removeprefix("https://mep:8443")
    assert app.get(path).json() == made
    listed = app.get(f"{OWN}/subscriptions").json()["_links"]
    assert listed["self"]["href"] == f"https://mep:8443{API}/applications/app-1/subscriptions"
    # subscriptionType since V2.2.1, rel for clients of V2.1.1
    kind = WISH["subscriptionType"]
    assert listed["subscriptions"] == [{"href": href, "subscriptionType": kind, "rel": kind}]
    assert app.delete(path).status_code == 204
    problem(app.get(path), 404)
    problem(app.delete(path), 404)
    assert app.get(f"{OWN}/subscriptions").json()["_links"]["subscriptions"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"subscriptionType": "Other"}, {"subscriptionType": None}, {"callbackReference": None}, {"callbackReference": 5},
        {"filteringCriteria": {"serNames": ["a"], "serInstanceIds": ["b"]}}, {"filteringCriteria": {"states": ["ASLEEP"]}},
        {"filteringCriteria": {"serNames": "a"}}, {"filteringCriteria": {"isLocal": "yes"}},
        {"filteringCriteria": {"serCategories": [{"id": "x"}]}},
    ],
)  # fmt: skip
def test_a_wrong_subscription_is_400(app: Mp1, change: dict[str, Any]) -> None:
    problem(app.post(f"{OWN}/subscriptions", {**WISH, **change}), 400)
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        "10.1.2.3/x", "/hear", "ftp://10.1.2.3/", "http://", "http:///x", "http://10.1.2.3/x?y=1", "http://10.1.2.3/x?", "http://10.1.2.3/x#y",
        "http://me@10.1.2.3/", "http://me:pw@10.1.2.3/", "http://10.1.2.3:99999/", "http://10.1.2.3:0/", "http://10.1.2.3/a b",
        "http://10.1.2.3/\r\nX: y", "http://[::1/", "file:///etc/passwd", "gopher://10.1.2.3/", "http://8.8.8.8/", "http://169.254.169.254/",
        "http://0.0.0.0/", "http://[::]/", "http://[::ffff:8.8.8.8]/", "http://134744072/", "http://0x8080808/", "http://192.168.1.1/",
    ],
)  # fmt: skip
def test_a_callback_that_may_not_be_called_is_400(app: Mp1, url: str) -> None:
    problem(app.post(f"{OWN}/subscriptions", {**WISH, "callbackReference": url}), 400)


def test_the_four_kinds_of_change_are_told(app: Mp1, neighbour: Mp1) -> None:
    sub = subscribe(neighbour)
    made = app.register()
    path = f"{OWN}/services/{made['serInstanceId']}"
    app.put(path, service(state="INACTIVE"))
    app.put(path, service(version="2"))
    app.put(path, service(version="2"))  # nothing changes, nothing is told
    app.delete(path)
    assert told() == [
        [("hello", "ACTIVE", "ADDED")],
        [("hello", "INACTIVE", "STATE_CHANGED")],
        [("hello", "ACTIVE", "ATTRIBUTES_CHANGED")],
        [("hello", "ACTIVE", "REMOVED")],
    ]
    first, last = Notice.objects.first(), Notice.objects.last()
    assert first is not None
    assert last is not None
    assert first.body["notificationType"] == "SerAvailabilityNotification"
    assert first.body["_links"]["subscription"] == sub["_links"]["self"]
    reference = first.body["serviceReferences"][0]
    assert reference["serInstanceId"] == made["serInstanceId"]
    assert neighbour.get(reference["link"]["href"].removeprefix("https://mep:8443")).status_code in (200, 404)
    assert "link" not in last.body["serviceReferences"][0]


def test_silence_and_its_end_are_changes_of_state(app: Mp1, neighbour: Mp1) -> None:
    subscribe(neighbour)
    made = app.register(livenessInterval=5)
    catalogue.suspend_silent(10**11)
    app.patch(made["_links"]["liveness"]["href"].removeprefix("https://mep:8443"), {"state": "ACTIVE"})
    assert told()[1:] == [[("hello", "SUSPENDED", "STATE_CHANGED")], [("hello", "ACTIVE", "STATE_CHANGED")]]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, ["ADDED", "STATE_CHANGED", "REMOVED"]),
        ({"serNames": ["hello", "x"]}, ["ADDED", "STATE_CHANGED", "REMOVED"]),
        ({"serNames": []}, ["ADDED", "STATE_CHANGED", "REMOVED"]),
        ({"serNames": ["x"]}, []),
        ({"serInstanceIds": ["x"]}, []),
        ({"states": ["INACTIVE"]}, ["STATE_CHANGED", "REMOVED"]),
        ({"states": ["ACTIVE"]}, ["ADDED"]),
        ({"states": ["SUSPENDED"]}, []),
        ({"isLocal": True}, ["ADDED", "STATE_CHANGED", "REMOVED"]),
        ({"isLocal": False}, []),
        ({"serNames": ["hello"], "states": ["SUSPENDED"]}, []),
        (
            {"serCategories": [{"href": "h", "id": "rni", "name": "n", "version": "1"}]},
            ["ADDED", "STATE_CHANGED", "REMOVED"],
        ),
        ({"serCategories": [{"href": "h", "id": "loc", "name": "n", "version": "1"}]}, []),
    ],
)
def test_all_criteria_must_agree(app: Mp1, neighbour: Mp1, criteria: dict[str, Any], expected: list[str]) -> None:
    subscribe(neighbour, **criteria)
    category = {"href": "h", "id": "rni", "name": "n", "version": "1"}
    made = app.register(serCategory=category)
    path = f"{OWN}/services/{made['serInstanceId']}"
    app.put(path, service(state="INACTIVE", serCategory=category))
    app.delete(path)
    assert [references[0][2] for references in told()] == expected


def test_an_app_that_goes_is_told_of_in_one_notification(app: Mp1, neighbour: Mp1) -> None:
    app.register(serName="a")
    app.register(serName="b")
    subscribe(neighbour)
    subscribe(app)
    services.discard("app-1")
    assert told() == [[("a", "ACTIVE", "REMOVED"), ("b", "ACTIVE", "REMOVED")]]
    assert list(Subscription.objects.values_list("app", flat=True)) == ["app-2"]
    assert list(App.objects.values_list("pk", flat=True)) == ["app-2"]


def test_a_test_notification_is_sent_when_asked_for(app: Mp1) -> None:
    answer = app.post(f"{OWN}/subscriptions", {**WISH, "requestTestNotification": True})
    assert Notice.objects.get().body == {
        "notificationType": "TestNotification",
        "_links": {"subscription": answer.json()["_links"]["self"]},
    }


def test_subscriptions_are_limited_per_app(app: Mp1, settings: Any) -> None:
    settings.MAX_SUBSCRIPTIONS_PER_APP = 1
    subscribe(app)
    problem(app.post(f"{OWN}/subscriptions", WISH), 403)


def test_links_in_notifications_lead_back_the_way_the_subscriber_came(app: Mp1, neighbour: Mp1) -> None:
    neighbour.post(f"/mep{OWN}/subscriptions", WISH, Host="10.0.0.1:8443")
    app.register()
    body = Notice.objects.get().body
    for href in (body["_links"]["subscription"]["href"], body["serviceReferences"][0]["link"]["href"]):
        assert href.startswith(f"https://10.0.0.1:8443/mep{API}/")


WORDS = st.sampled_from(["a", "b", "c", "x" * 300, "x" * 299 + "y"])
NAMING = st.one_of(
    st.just({}),
    st.builds(lambda names: {"serNames": names}, st.lists(WORDS, max_size=3)),
    st.builds(lambda ids: {"serInstanceIds": ids}, st.lists(WORDS, max_size=3)),
    st.builds(
        lambda ids: {"serCategories": [{"href": "h", "id": each, "name": "n", "version": "1"} for each in ids]},
        st.lists(WORDS, max_size=3),
    ),
)


@given(st.lists(NAMING, max_size=6), st.lists(st.tuples(WORDS, WORDS, st.none() | WORDS), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_index_finds_whoever_matches(app: Mp1, wishes: list[dict[str, Any]], changed: list[Any]) -> None:
    changes = [
        Service(pk=key, name=name, state="ACTIVE", category=kind and {"id": kind}) for key, name, kind in changed
    ]
    with transaction.atomic():
        rows = [
            Subscription(app_id="app-1", kind=WISH["subscriptionType"], root="https://x", created_at=0, criteria=wish)
            for wish in wishes
        ]
        subscriptions.index(Subscription.objects.bulk_create(rows))
        subscriptions.tell([(each, Change.ADDED) for each in changes])
        told = set(Notice.objects.values_list("subscription", flat=True))
        transaction.set_rollback(True)
    assert told == {row.pk for row in rows if any(subscriptions.matches(row.criteria, each) for each in changes)}


def test_a_storm_is_told_in_pieces(app: Mp1, neighbour: Mp1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_REFERENCES", 2)
    subscribe(neighbour)
    for number in range(5):
        app.register(serName=f"s{number}")
    Notice.objects.all().delete()
    services.begin_termination("app-1")
    assert [[name for name, _, _ in each] for each in told()] == [["s0", "s1"], ["s2", "s3"], ["s4"]]
