"""Notifications arrive: in order, again after a failure, and nowhere they may not."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from mep.mp1 import callbacks, outbox, services
from mep.mp1.models import Notice, Subscription
from mep.mp1.watch import Watch
from tests.mep.conftest import Mp1, service
from tests.mep.receiver import Receiver
from tests.waiting import until

API = "/mec_service_mgmt/v1"
OWN = f"{API}/applications/{{app}}"


@pytest.fixture
def watch(transactional_db: None, settings: Any) -> Iterator[Watch]:
    """The loop of `manage.py mp1`."""
    settings.CALLBACK_TIMEOUT = 1.0
    made = Watch()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds instead of seconds."""
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.1)


def subscribe(app: Mp1, url: str) -> None:
    body = {"subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": url}
    assert app.post(f"{OWN}/subscriptions", body).status_code == 201


def test_a_change_arrives_soon_and_in_order(watch: Watch, app: Mp1, neighbour: Mp1) -> None:
    with Receiver() as subscriber:
        subscribe(neighbour, subscriber.url)
        began = time.time()
        for number in range(20):
            app.register(serName=f"s{number}")
        until(lambda: len(subscriber.bodies) == 20)
        assert subscriber.versions() == [f"s{number}" for number in range(20)]
        assert subscriber.times[0] - began < 2
        assert len(set(subscriber.ids)) == 20
        assert subscriber.hosts[0] == f"127.0.0.1:{subscriber.port}"
    until(lambda: not Notice.objects.exists())
    assert Subscription.objects.get().delivered == 20


def test_a_subscriber_that_was_down_gets_everything_in_order_once_it_is_back(
    watch: Watch, hurry: None, app: Mp1, neighbour: Mp1
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subscribe(neighbour, f"http://127.0.0.1:{port}/hear")
    for number in range(5):
        app.register(serName=f"s{number}")
    until(lambda: Subscription.objects.get().failures >= 2)
    assert "Connect" in Subscription.objects.get().last_error
    with Receiver(port) as subscriber:
        until(lambda: len(subscriber.bodies) == 5)
        assert subscriber.versions() == [f"s{number}" for number in range(5)]
    until(lambda: Subscription.objects.get().failures == 0)


@pytest.mark.parametrize("status", [301, 307, 404, 500])
def test_only_a_success_counts_and_redirects_are_not_followed(
    watch: Watch, hurry: None, app: Mp1, neighbour: Mp1, status: int
) -> None:
    with Receiver() as elsewhere, Receiver() as subscriber:
        subscriber.status, subscriber.location = status, elsewhere.url
        subscribe(neighbour, subscriber.url)
        app.register()
        until(lambda: len(subscriber.bodies) >= 3)
        assert len(set(subscriber.ids)) == 1, "the id is the same at every try"
        assert str(status) in Subscription.objects.get().last_error
        subscriber.status = 200
        until(lambda: not Notice.objects.exists())
        assert elsewhere.bodies == []


def test_a_slow_subscriber_holds_up_nobody_else(watch: Watch, app: Mp1, neighbour: Mp1) -> None:
    with Receiver() as slow, Receiver() as quick:
        slow.delay = 0.9
        for _ in range(5):
            subscribe(neighbour, slow.url)
        subscribe(app, quick.url)
        for number in range(3):
            app.register(serName=f"s{number}")
        until(lambda: len(quick.bodies) == 3, timeout=2)
        assert len(slow.bodies) < 15
        until(lambda: len(slow.bodies) == 15, timeout=15)


def test_a_subscriber_that_never_answers_is_given_up_after_the_stated_time(
    watch: Watch, hurry: None, app: Mp1, neighbour: Mp1, settings: Any, caplog: Any
) -> None:
    with Receiver() as subscriber:
        subscriber.status = 500
        subscribe(neighbour, subscriber.url)
        app.register(serName="old")
        until(lambda: subscriber.bodies)
        Notice.objects.update(created_at=time.time() - settings.NOTIFICATION_LIFETIME - 1)
        until(lambda: Subscription.objects.get().dropped == 1)
        assert "given up" in caplog.text
        subscriber.status, subscriber.bodies = 204, []
        app.register(serName="new")
        until(lambda: subscriber.versions() == ["new"])


def test_a_termination_is_announced_and_ended_by_the_loop(watch: Watch, app: Mp1) -> None:
    with Receiver() as subscriber:
        body = {
            "subscriptionType": "AppTerminationNotificationSubscription",
            "callbackReference": subscriber.url,
            "appInstanceId": "app-1",
        }
        app.post("/mec_app_support/v1/applications/{app}/subscriptions", body)
        services.begin_termination("app-1", timeout=1)
        (told,) = until(lambda: subscriber.bodies)
        assert (told["operationAction"], told["maxGracefulTimeout"]) == ("TERMINATING", 1)
        assert not services.termination_over("app-1")
        until(lambda: services.termination_over("app-1"), timeout=5)
        until(lambda: app.get(f"{API}/services").status_code == 401)


def test_a_silent_service_is_suspended_by_the_loop(watch: Watch, app: Mp1, settings: Any) -> None:
    settings.LIVENESS_GRACE = 0.1
    app.register(livenessInterval=1)
    until(lambda: app.get(f"{API}/services").json()[0]["state"] == "SUSPENDED", timeout=5)


def test_the_end_of_a_subscription_ends_its_deliveries(watch: Watch, hurry: None, app: Mp1, neighbour: Mp1) -> None:
    with Receiver() as subscriber:
        subscriber.status = 500
        subscribe(neighbour, subscriber.url)
        app.register()
        until(lambda: subscriber.bodies)
        listed = neighbour.get(f"{OWN}/subscriptions").json()["_links"]["subscriptions"]
        neighbour.delete(listed[0]["href"].removeprefix("https://mep:8443"))
        assert not Notice.objects.exists()
        seen = len(subscriber.bodies)
        app.put(f"{OWN}/services/{app.get(f'{OWN}/services').json()[0]['serInstanceId']}", service(version="2"))
        time.sleep(0.3)  # a delivery under way may still arrive, a new one must not
        assert len(subscriber.bodies) <= seen + 1


# --- where to ----------------------------------------------------------------------------------------------------------------


@given(st.ip_addresses())
def test_only_allowed_networks_are_called(address: Any) -> None:
    inside = any(address.version == net.version and address in net for net in callbacks.settings.CALLBACK_NETWORKS)
    mapped = getattr(address, "ipv4_mapped", None)
    if not inside and mapped is None:
        with pytest.raises(Invalid):
            callbacks.judge(address)


def test_one_forbidden_address_spoils_a_name() -> None:
    assert str(callbacks.pick(["10.0.0.1", "10.0.0.2"])) == "10.0.0.1"
    with pytest.raises(Invalid, match=r"8\.8\.8\.8"):
        callbacks.pick(["10.0.0.1", "8.8.8.8"])
    with pytest.raises(Invalid):
        callbacks.pick([])
    with pytest.raises(Invalid):
        callbacks.pick(["::ffff:8.8.8.8"])


def test_the_node_itself_is_called_only_when_loopback_is_allowed(settings: Any) -> None:
    address = ipaddress.ip_address("127.0.0.1")
    assert callbacks.judge(address) == address
    settings.CALLBACK_NETWORKS = (ipaddress.ip_network("0.0.0.0/1"),)
    with pytest.raises(Invalid, match="itself"):
        callbacks.judge(address)
    assert callbacks.is_ours(address)
    assert not callbacks.is_ours(ipaddress.ip_address("10.255.254.253"))


def test_a_name_is_judged_when_it_is_used(watch: Watch, hurry: None, app: Mp1, neighbour: Mp1, settings: Any) -> None:
    with Receiver() as subscriber:
        subscribe(neighbour, f"http://localhost:{subscriber.port}/hear")
        settings.CALLBACK_NETWORKS = (ipaddress.ip_network("10.0.0.0/8"),)
        app.register()
        until(lambda: "may not be sent to" in Subscription.objects.get().last_error)
        assert subscriber.bodies == []
        settings.CALLBACK_NETWORKS = tuple(ipaddress.ip_network(net) for net in ("127.0.0.0/8", "::1/128"))
        if "::1" in str(socket.getaddrinfo("localhost", 80)[0]):
            return  # the subscriber listens on IPv4 only
        until(lambda: subscriber.bodies)
        assert subscriber.hosts == [f"localhost:{subscriber.port}"]


@given(st.integers(1, 10**6))
def test_the_pause_grows_and_has_an_end(failures: int) -> None:
    assert outbox.FIRST_PAUSE <= outbox.pause(failures) <= outbox.LONGEST_PAUSE
    assert outbox.pause(failures) <= outbox.pause(failures + 1)
