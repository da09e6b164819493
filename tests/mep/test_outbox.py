"""Notifications arrive: in order, again after a failure, and nowhere they may not."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mep.mp1 import outbox, services, subscriptions
from mep.mp1.courier import Courier
from mep.mp1.database import hang_up
from mep.mp1.models import Alarm, Interest, Notice, Service, Subscription
from mep.mp1.states import Change
from mep.mp1.watch import Watch
from tests.mep.conftest import Mp1, service
from tests.mep.receiver import Receiver
from tests.ports import free_port
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


def test_changes_arrive_in_order(watch: Watch, app: Mp1, neighbour: Mp1) -> None:
    with Receiver() as subscriber:
        subscribe(neighbour, subscriber.url)
        for number in range(20):
            app.register(serName=f"s{number}")
        until(lambda: len(subscriber.bodies) == 20)
        assert subscriber.versions() == [f"s{number}" for number in range(20)]
        assert len(set(subscriber.ids)) == 20
        assert subscriber.hosts[0] == f"127.0.0.1:{subscriber.port}"
    until(lambda: not Notice.objects.exists())
    assert Subscription.objects.get().delivered == 20


def test_a_subscriber_that_was_down_gets_everything_in_order_once_it_is_back(
    watch: Watch, hurry: None, app: Mp1, neighbour: Mp1
) -> None:
    port = free_port()
    subscribe(neighbour, f"http://127.0.0.1:{port}/hear")
    for number in range(5):
        app.register(serName=f"s{number}")
    until(lambda: Subscription.objects.get().failures >= 2)
    assert "Connect" in Subscription.objects.get().last_error
    with Receiver(port) as subscriber:
        until(lambda: len(subscriber.bodies) == 5)
        assert subscriber.versions() == [f"s{number}" for number in range(5)]
    until(lambda: Subscription.objects.get().failures == 0)


def test_a_minute_of_absence_loses_nothing(db: None, app: Mp1, neighbour: Mp1) -> None:
    subscribe(neighbour, "http://10.1.2.3/hear")
    for number in range(5):
        app.register(serName=f"s{number}")
    began = now = time.time()
    (key,) = outbox.look(0, now).news
    tries = []
    while now < began + 60:
        letters = outbox.heads([key], now)[key]
        tries.append(letters[0].tag)
        outbox.settle([(letters[0], "ConnectionRefusedError")], now)
        assert outbox.heads([key], now + 0.4) == {}, "not before the pause is over"
        now = outbox.look(10**9, now).again
        assert outbox.look(10**9, now).due == [key]
    assert len(set(tries)) == 1, "the first one stays first, under its own id"
    assert len(tries) == 7, "half a second, then twice as long each time, half a minute at most"
    names = []
    letters = outbox.heads([key], now)[key]
    while letters:
        names += [json.loads(each.body)["serviceReferences"][0]["serName"] for each in letters]
        letters = outbox.settle([(each, "") for each in letters], now).get(key, [])
    assert names == [f"s{number}" for number in range(5)]
    assert (Subscription.objects.get().failures, Subscription.objects.get().dropped) == (0, 0)


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
        until(lambda: len(quick.bodies) == 3)
        until(lambda: len(slow.bodies) == 15, timeout=30)
        assert quick.times[2] < slow.times[-1]


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
        alarm = Alarm.objects.get(kind=outbox.GIVEN_UP)
        assert (alarm.subject, alarm.cleared_at) == (f"subscription={Subscription.objects.get().pk}", None)
        assert "app-2" in alarm.text
        assert "answered 500" in alarm.text
        subscriber.status, subscriber.bodies = 204, []
        app.register(serName="new")
        until(lambda: subscriber.versions() == ["new"])
        until(lambda: Alarm.objects.get(kind=outbox.GIVEN_UP).cleared_at, what="the end of the alarm")


def test_what_comes_while_a_delivery_ends_is_not_forgotten(watch: Watch, app: Mp1, neighbour: Mp1) -> None:
    with Receiver() as subscriber:
        subscribe(neighbour, subscriber.url)
        for number in range(40):
            app.register(serName=f"s{number}")
            # The next one comes at about the time at which the task of this one ends.
            until(lambda: len(subscriber.bodies) > number, every=0.001)  # noqa: B023
        assert subscriber.versions() == [f"s{number}" for number in range(40)]
        assert subscriber.connections == 1


def test_what_comes_between_the_last_look_and_the_end_of_a_task_is_sent_too(
    transactional_db: None, app: Mp1, neighbour: Mp1
) -> None:
    late: list[dict[str, Any]] = []

    async def main(hands: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()

        async def database(function: Any, *args: Any) -> Any:
            found = await loop.run_in_executor(hands, function, *args)
            if function is outbox.settle and not late:
                # The task has just been told that nothing follows; before it ends, something does.
                late.append({"serviceReferences": [{"serName": "s1"}]})
                await loop.run_in_executor(hands, lambda: outbox.post([(Subscription.objects.get(), late[0])]))
                await post.pump()
            return found

        post = Courier(database)
        await post.pump()
        for _ in range(300):
            if post.stirred:
                await post.pump()
            await asyncio.sleep(0.01)
            if len(subscriber.bodies) == 2:
                break
        await post.close()
        await loop.run_in_executor(hands, hang_up)

    with Receiver() as subscriber, ThreadPoolExecutor(1) as hands:
        subscribe(neighbour, subscriber.url)
        app.register(serName="s0")
        asyncio.run(main(hands))
        assert subscriber.versions() == ["s0", "s1"]


def test_a_failure_in_the_middle_keeps_the_order(watch: Watch, hurry: None, app: Mp1, neighbour: Mp1) -> None:
    with Receiver() as subscriber:
        subscriber.status = 500
        subscribe(neighbour, subscriber.url)
        for number in range(10):
            app.register(serName=f"s{number}")
        subscriber.refuse = {"s3", "s7"}
        subscriber.status = 204
        until(lambda: not Notice.objects.exists())
        taken = [name for name, status in zip(subscriber.versions(), subscriber.answers, strict=True) if status == 204]
        assert taken == [f"s{number}" for number in range(10)]


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


def test_an_upgrade_keeps_ids_that_were_tried_and_finds_who_listens(db: None, app: Mp1, neighbour: Mp1) -> None:
    subscribe(neighbour, "http://10.1.2.3/hear")
    body = {"subscriptionType": Subscription.AVAILABILITY, "callbackReference": "http://10.1.2.3/hear"}
    assert app.post(f"{OWN}/subscriptions", {**body, "filteringCriteria": {"serNames": ["a", "b"]}}).status_code == 201
    app.register()
    Interest.objects.all().delete()
    (file,) = Path(outbox.__file__).parent.glob("migrations/*_notifications.py")
    import_module(f"mep.mp1.migrations.{file.stem}").carry_on(apps, None)
    notice = Notice.objects.get()
    assert notice.tag == f"{notice.subscription_id}-{notice.pk}"
    assert sorted(Interest.objects.values_list("key", flat=True)) == ["*", "name=a", "name=b"]


# --- how much may wait --------------------------------------------------------------------------------------------------------


def test_a_subscriber_that_is_away_for_long_fills_no_disk(db: None, app: Mp1, neighbour: Mp1, settings: Any) -> None:
    settings.NOTIFICATION_BACKLOG = 5
    subscribe(neighbour, "http://10.1.2.3/hear")
    subscribe(app, "http://10.1.2.3/hear")
    for number in range(8):
        app.register(serName=f"s{number}")
    for subscription in Subscription.objects.all():
        waiting = [each.body["serviceReferences"][0]["serName"] for each in subscription.notices.all()]
        assert waiting == ["s3", "s4", "s5", "s6", "s7"], "the oldest gave way"
        assert subscription.dropped == 3
        assert "more than 5 were waiting" in Alarm.objects.get(subject=f"subscription={subscription.pk}").text


@given(st.lists(st.integers(1, 30), max_size=12), st.integers(1, 60))
@hypothesis_settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_more_wait_than_may(app: Mp1, settings: Any, bursts: list[int], most: int) -> None:
    settings.NOTIFICATION_BACKLOG = most
    with transaction.atomic():
        row = Subscription.objects.create(
            app_id="app-1", kind=Subscription.AVAILABILITY, root="https://x", created_at=0
        )
        sent = 0
        for burst in bursts:
            outbox.post([(row, {"number": sent + number}) for number in range(burst)])
            sent += burst
            row.refresh_from_db()
            left = [each.body["number"] for each in row.notices.all()]
            assert len(left) <= most
            assert left == list(range(sent - len(left), sent)), "what is left is the newest"
            assert row.dropped + len(left) == sent
        transaction.set_rollback(True)


def test_the_end_of_a_subscription_ends_its_alarm(db: None, app: Mp1, neighbour: Mp1, settings: Any) -> None:
    subscribe(neighbour, "http://10.1.2.3/hear")
    app.register()
    assert outbox.give_up_old(time.time() + settings.NOTIFICATION_LIFETIME + 1) == 1
    assert Alarm.objects.get().cleared_at is None
    services.discard("app-2")
    assert Alarm.objects.get().cleared_at is not None


# --- what it costs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matching", [1, 10, 200])
def test_a_change_costs_the_same_few_queries_however_many_listen(
    db: None, app: Mp1, django_assert_max_num_queries: Any, matching: int
) -> None:
    rows = [
        Subscription(
            app_id="app-1", kind=Subscription.AVAILABILITY, callback="http://10.1.2.3/", root="https://x", created_at=0, room=99,
            criteria={"serNames": ["hello" if number < matching else f"other-{number}"]},
        )
        for number in range(1000)
    ]  # fmt: skip
    subscriptions.index(Subscription.objects.bulk_create(rows))
    hello = Service(app_id="app-1", name="hello", state="ACTIVE", id="s1")
    with django_assert_max_num_queries(4) as queries:
        subscriptions.tell([(hello, Change.ADDED)])
    assert Notice.objects.count() == matching
    assert "mp1_interest" in queries[0]["sql"]


def test_ten_deliveries_are_noted_in_one_short_transaction(
    db: None, app: Mp1, django_assert_max_num_queries: Any
) -> None:
    for _ in range(10):
        subscribe(app, "http://10.1.2.3/hear")
    app.register()
    app.register()
    look = outbox.look(0, time.time())
    assert len(look.news) == 10
    with django_assert_max_num_queries(2):
        first = outbox.heads(look.news, time.time())
    with django_assert_max_num_queries(18):
        following = outbox.settle([(letters[0], "") for letters in first.values()], time.time())
    assert [len(letters) for letters in following.values()] == [1] * 10
    with django_assert_max_num_queries(6):
        assert outbox.settle([(letters[0], "") for letters in following.values()], time.time()) == {}
    assert not outbox.look(look.seen, time.time()).news


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
