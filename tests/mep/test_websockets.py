"""Notifications over a WebSocket: who may fetch, in order, acknowledged, and closed when it is over."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings

from mep.mp1 import outbox, services
from mep.mp1.models import Alarm, Notice, Subscription
from mep.mp1.watch import sweep
from mep.mp1.websockets import MOST_STRAY, PROTOCOL, Hub
from tests.mep.conftest import Mp1, service
from tests.waiting import until

API = "/mec_service_mgmt/v1"
OWN = f"{API}/applications/{{app}}"
WISH = {
    "subscriptionType": "SerAvailabilityNotificationSubscription",
    "websockNotifConfig": {"requestWebsocketUri": True},
}


class Socket:
    """The app's end of a WebSocket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hub: Hub, path: str, token: str, **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self._loop = loop
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.say({"type": "websocket.connect"})
        known = {
            "type": "websocket",
            "path": path,
            "headers": [(b"authorization", f"Bearer {token}".encode())] if token else [],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        self.future = asyncio.run_coroutine_threadsafe(hub.serve(known, self._inbox.get, self._take), loop)

    async def _take(self, message: Any) -> None:
        self.sent.append(message)

    def say(self, message: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._inbox.put_nowait, message)

    def answer(self, **members: Any) -> None:
        self.say({"type": "websocket.receive", "text": json.dumps(members)})

    def acknowledge(self, status: int = 204) -> None:
        self.answer(id=self.frames[-1]["id"], status=status)

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(each["text"]) for each in self.sent if each["type"] == "websocket.send"]

    def names(self) -> list[str]:
        return [each["notification"]["serviceReferences"][0]["serName"] for each in self.frames]

    @property
    def code(self) -> int:
        return next((each["code"] for each in self.sent if each["type"] == "websocket.close"), 0)

    def opened(self) -> Socket:
        until(lambda: self.sent and self.sent[0]["type"] == "websocket.accept", what="the handshake")
        return self

    def refusal(self) -> tuple[int, dict[str, Any]]:
        until(lambda: len(self.sent) == 2, what="a refusal")
        return self.sent[0]["status"], json.loads(self.sent[1]["body"])


class Server:
    """A hub in an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.hub = Hub(django_settings.DATABASES["default"]["NAME"])
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def connect(self, path: str, token: str, **scope: Any) -> Socket:
        return Socket(self.loop, self.hub, path, token, **scope)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.hub.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def subscribe(app: Mp1, **members: Any) -> str:
    """Subscribe and return the path of the WebSocket."""
    answer = app.post(f"{OWN}/subscriptions", {**WISH, **members})
    assert answer.status_code == 201, answer.content
    uri: str = answer.json()["websockNotifConfig"]["websocketUri"]
    assert uri.startswith("wss://mep:8443/")
    return uri.removeprefix("wss://mep:8443")


def test_what_waited_comes_in_order_each_after_the_acknowledgement_of_the_one_before(
    server: Server, app: Mp1, neighbour: Mp1
) -> None:
    path = subscribe(neighbour)
    for number in range(3):
        app.register(serName=f"s{number}")
    socket = server.connect(path, neighbour.token).opened()
    for number in range(3):
        until(lambda: len(socket.frames) == number + 1)  # noqa: B023
        socket.acknowledge()
    app.register(serName="s3")
    until(lambda: len(socket.frames) == 4)
    assert socket.names() == ["s0", "s1", "s2", "s3"]
    assert Notice.objects.get().tag == socket.frames[-1]["id"], "an unacknowledged notification is kept"
    socket.acknowledge()
    until(lambda: not Notice.objects.exists())
    assert Subscription.objects.get().delivered == 4
    assert len({each["id"] for each in socket.frames}) == 4


def test_after_a_reconnect_the_same_notification_comes_with_the_same_id(
    server: Server, app: Mp1, neighbour: Mp1
) -> None:
    path = subscribe(neighbour)
    app.register()
    first = server.connect(path, neighbour.token).opened()
    until(lambda: first.frames)
    first.say({"type": "websocket.disconnect", "code": 1006})
    first.future.result(5)
    second = server.connect(path, neighbour.token).opened()
    until(lambda: second.frames)
    assert second.frames == first.frames


def test_a_newer_connection_takes_over(server: Server, app: Mp1, neighbour: Mp1) -> None:
    path = subscribe(neighbour)
    first = server.connect(path, neighbour.token).opened()
    second = server.connect(path, neighbour.token).opened()
    until(lambda: first.code == 4409)
    app.register()
    until(lambda: second.frames)
    assert not first.frames


@pytest.mark.parametrize("ending", ["app", "subscription"])
def test_the_end_of_the_app_or_the_subscription_closes_at_once(
    server: Server, app: Mp1, neighbour: Mp1, ending: str
) -> None:
    path = subscribe(neighbour)
    socket = server.connect(path, neighbour.token).opened()
    if ending == "app":
        services.begin_termination("app-2")
    else:
        neighbour.delete(path.removesuffix("/websocket"))
    until(lambda: socket.code == 4404)
    assert server.connect(path, neighbour.token).refusal()[0] == (401 if ending == "app" else 404)


def test_an_expired_token_closes(server: Server, app: Mp1, neighbour: Mp1, settings: Any) -> None:
    from mep.mp1 import tokens
    from mep.mp1.models import App

    path = subscribe(neighbour)
    settings.TOKEN_LIFETIME = 1
    socket = server.connect(path, tokens.issue(App.objects.get(pk="app-2"))).opened()
    until(lambda: socket.code == 4401, timeout=5)


def test_only_the_app_itself_may_connect_and_every_refusal_says_why(server: Server, app: Mp1, neighbour: Mp1) -> None:
    path = subscribe(neighbour)
    plain = app.post(
        f"{OWN}/subscriptions",
        {"subscriptionType": WISH["subscriptionType"], "callbackReference": "http://10.1.2.3/"},
    ).json()["_links"]["self"]["href"].removeprefix("https://mep:8443")  # fmt: skip
    for asked, token, status in (
        (path, "", 401), (path, "nonsense", 401), (path, app.token, 403), (f"/other{path}", neighbour.token, 404),
        (path.replace("/subs", "/x"), neighbour.token, 404), (path.replace("app-2", "app-1"), neighbour.token, 403),
        (path.replace("service_mgmt", "app_support"), neighbour.token, 404),
        (f"{plain}/websocket", app.token, 404), (f"{plain[:-2]}/websocket", app.token, 404),
    ):  # fmt: skip
        found, body = server.connect(asked, token).refusal()
        assert (found, body["status"]) == (status, status), (asked, body)
        assert body["detail"]
    socket = server.connect(path, "", extensions={})
    until(lambda: socket.sent)
    assert socket.sent == [{"type": "websocket.close", "code": 1008, "reason": "A valid access token is needed"}]
    server.connect(f"/mep{path}", neighbour.token, subprotocols=["x", PROTOCOL]).opened()


def test_what_the_app_cannot_take_is_tried_again_later(
    server: Server, app: Mp1, neighbour: Mp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.02)
    path = subscribe(neighbour)
    socket = server.connect(path, neighbour.token).opened()
    app.register()
    until(lambda: socket.frames)
    socket.acknowledge(status=500)
    until(lambda: len(socket.frames) == 2)
    assert "500" in Subscription.objects.get().last_error
    socket.acknowledge()
    until(lambda: not Notice.objects.exists())
    assert socket.frames[0] == socket.frames[1]


def test_an_app_that_never_acknowledges_is_closed_and_loses_nothing(
    server: Server, app: Mp1, neighbour: Mp1, settings: Any
) -> None:
    settings.CALLBACK_TIMEOUT = 0.2
    path = subscribe(neighbour)
    socket = server.connect(path, neighbour.token).opened()
    app.register()
    until(lambda: socket.code == 4408, timeout=3)
    again = server.connect(path, neighbour.token).opened()
    until(lambda: again.frames)
    assert again.frames == socket.frames


@pytest.mark.parametrize(
    "said",
    [
        {"text": "hello"}, {"text": "[]"}, {"text": '{"id": 5}'}, {"bytes": b"\xff"}, {"text": json.dumps({"id": "x" * 5000})},
        {"text": '{"id": "x", "status": "ok"}'}, {},
    ],
)  # fmt: skip
def test_a_bad_frame_closes_and_loses_nothing(server: Server, app: Mp1, neighbour: Mp1, said: dict[str, Any]) -> None:
    path = subscribe(neighbour)
    app.register()
    socket = server.connect(path, neighbour.token).opened()
    until(lambda: socket.frames)
    socket.say({"type": "websocket.receive", **said})
    until(lambda: socket.code == 4400)
    assert Notice.objects.count() == 1


def test_answers_to_nothing_are_not_hoarded(server: Server, app: Mp1, neighbour: Mp1) -> None:
    path = subscribe(neighbour)
    socket = server.connect(path, neighbour.token).opened()
    for _ in range(MOST_STRAY + 1):
        socket.answer(id="unknown")
    until(lambda: socket.code == 4400)


def test_what_nobody_fetches_is_given_up_with_an_alarm_that_ends_with_the_next_delivery(
    server: Server, app: Mp1, neighbour: Mp1, settings: Any
) -> None:
    path = subscribe(neighbour)
    app.register(serName="old")
    sweep(time.time() + settings.NOTIFICATION_LIFETIME + 1)
    assert not Notice.objects.exists()
    alarm = Alarm.objects.get(kind=outbox.GIVEN_UP)
    assert "its WebSocket" in alarm.text
    assert alarm.cleared_at is None
    app.register(serName="new")
    socket = server.connect(path, neighbour.token).opened()
    until(lambda: socket.names() == ["new"])
    socket.acknowledge()
    until(lambda: Alarm.objects.get(kind=outbox.GIVEN_UP).cleared_at)


def test_who_asks_for_a_websocket_gets_one_whatever_is_the_callback(app: Mp1) -> None:
    body = {**WISH, "callbackReference": "http://8.8.8.8/cannot-listen", "requestTestNotification": True}
    made = app.post(f"{OWN}/subscriptions", body).json()
    assert "callbackReference" not in made
    href = made["_links"]["self"]["href"]
    assert made["websockNotifConfig"] == {
        "requestWebsocketUri": True,
        "websocketUri": f"wss{href.removeprefix('https')}/websocket",
    }
    assert app.get(href.removeprefix("https://mep:8443")).json() == made
    assert Notice.objects.get().body["notificationType"] == "TestNotification"
    for config in ({}, {"requestWebsocketUri": False}, None):
        answer = app.post(f"{OWN}/subscriptions", {**WISH, "websockNotifConfig": config})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "callbackReference"
    assert app.post(f"{OWN}/subscriptions", {**WISH, "websockNotifConfig": "yes"}).status_code == 400
    assert app.put(f"{OWN}/services/x", service()).status_code == 404
