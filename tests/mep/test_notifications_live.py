"""Acceptance, with real processes: a subscriber that is away, a MEP that is killed, a WebSocket, a move to another node."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.mep.conftest import service
from tests.mep.process import Process
from tests.mep.receiver import Receiver
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.live
SERVICES = "/mec_service_mgmt/v1/applications/producer/services"
SUBSCRIPTIONS = "/mec_service_mgmt/v1/applications/consumer/subscriptions"
WISH = {"subscriptionType": "SerAvailabilityNotificationSubscription"}


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(name: str = "node", **settings: Any) -> Process:
        made.append(Process(tmp_path / name, CALLBACK_NETWORKS="loopback", **settings).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()


def register(producer: httpx.Client, name: str) -> None:
    """Register a service, again and again while the MEP is away; a name may so be there twice."""

    def done() -> bool:
        try:
            return producer.post(SERVICES, json=service(serName=name)).status_code == 201
        except httpx.HTTPError:
            return False

    until(done, timeout=30, what=f"the registration of {name}")


def arrived(ears: Receiver) -> list[str]:
    """Return the names in the order of arrival, repetitions of one notification left out by its id."""
    seen: dict[str, str] = {}
    for key, name in zip(ears.ids, ears.versions(), strict=True):
        assert seen.setdefault(key, name) == name, "an id stands for one notification"
    return list(dict.fromkeys(seen.values()))


def test_a_subscriber_that_was_away_gets_everything_in_order_though_the_mep_is_killed_meanwhile(
    launch: Callable[..., Process],
) -> None:
    mep = launch().wait()
    port = free_port()
    with mep.app("producer") as producer, mep.app("consumer") as consumer:
        body = {**WISH, "callbackReference": f"http://127.0.0.1:{port}/hear"}
        assert consumer.post(SUBSCRIPTIONS, json=body).status_code == 201
        with Receiver(port) as ears:
            register(producer, "s0")
            until(lambda: ears.versions() == ["s0"])
        away = time.monotonic()
        for number in range(1, 11):
            register(producer, f"s{number}")
        mep.kill()
        mep.start().wait()
        for number in range(11, 21):
            register(producer, f"s{number}")
        until(lambda: time.monotonic() > away + 20, timeout=30, every=0.5)
        with Receiver(port) as ears:
            until(lambda: len(arrived(ears)) == 20, timeout=40)
            assert arrived(ears) == [f"s{number}" for number in range(1, 21)]


def test_killing_the_mep_in_the_middle_of_a_burst_loses_none(launch: Callable[..., Process]) -> None:
    mep = launch().wait()
    with Receiver() as ears, mep.app("producer") as producer, mep.app("consumer") as consumer:
        assert consumer.post(SUBSCRIPTIONS, json={**WISH, "callbackReference": ears.url}).status_code == 201
        names = [f"s{number}" for number in range(60)]
        burst = threading.Thread(target=lambda: [register(producer, name) for name in names])
        burst.start()
        for kill_at in (10, 30):
            until(lambda: len(ears.ids) >= kill_at, every=0.002)  # noqa: B023
            mep.kill()
            mep.start().wait()
        burst.join(60)
        until(lambda: set(arrived(ears)) == set(names), timeout=40)
        assert arrived(ears) == names


@contextmanager
def socket(mep: Process, consumer: httpx.Client, uri: str) -> Iterator[ClientConnection]:
    """Connect as the app."""
    trust = ssl.create_default_context(cafile=str(mep.var / "tls" / "ca.pem"))
    headers = {"Authorization": consumer.headers["Authorization"]}
    with connect(uri, ssl=trust, additional_headers=headers, proxy=None, open_timeout=30) as made:
        yield made


def fetch(line: ClientConnection, *, acknowledge: bool = True) -> tuple[str, str]:
    """Return id and name of the next notification."""
    frame = json.loads(line.recv(timeout=30))
    if acknowledge:
        line.send(json.dumps({"id": frame["id"], "status": 204}))
    return frame["id"], frame["notification"]["serviceReferences"][0]["serName"]


def test_an_app_that_cannot_listen_fetches_over_tls_and_misses_nothing(launch: Callable[..., Process]) -> None:
    mep = launch().wait()
    with mep.app("producer") as producer, mep.app("consumer") as consumer:
        made = consumer.post(SUBSCRIPTIONS, json={**WISH, "websockNotifConfig": {"requestWebsocketUri": True}}).json()
        uri = made["websockNotifConfig"]["websocketUri"]
        for number in range(3):
            register(producer, f"s{number}")
        with socket(mep, consumer, uri) as line:
            assert line.ping().wait(30), "it answers pings"
            assert [fetch(line)[1] for _ in range(2)] == ["s0", "s1"]
            unanswered = fetch(line, acknowledge=False)
            mep.kill()
            with pytest.raises(ConnectionClosed):
                line.recv(timeout=30)
        mep.start().wait()
        with socket(mep, consumer, uri) as line:
            assert fetch(line) == unanswered
            register(producer, "s3")
            assert fetch(line)[1] == "s3"
            with socket(mep, consumer, uri) as newer:
                with pytest.raises(ConnectionClosed) as over:
                    line.recv(timeout=30)
                assert over.value.rcvd is not None
                assert over.value.rcvd.code == 4409
                with mep.management() as management:
                    assert management.delete("/mm5/v1/app_instances/consumer").status_code == 204
                    with pytest.raises(ConnectionClosed):
                        newer.recv(timeout=30)
        with pytest.raises(InvalidStatus) as refused, socket(mep, consumer, uri):
            pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"")["detail"]


def test_a_mep_moves_to_another_node_with_everything_that_is_under_way(
    launch: Callable[..., Process], tmp_path: Path
) -> None:
    port, address = free_port(), "https://mep:8443"
    settings = {"API_ROOT": address, "STATE_PASSPHRASE": "a long enough passphrase"}
    old = launch("old", **settings).wait()
    backup = tmp_path / "mep.json"
    with old.app("producer") as producer, old.app("consumer") as consumer:
        body = {**WISH, "callbackReference": f"http://127.0.0.1:{port}/hear"}
        assert consumer.post(SUBSCRIPTIONS, json=body).status_code == 201
        register(producer, "s0")
        made = producer.get(SERVICES)
        authorization = producer.headers["Authorization"]
        old.run("mep_state", "export", str(backup))
        old.kill()
    new = launch("new", **settings).wait()
    told = new.run("mep_state", "import", str(backup), "--merge")
    assert "1 mp1.services" in told
    with Receiver(port) as ears, new.client(headers={"Authorization": authorization}) as producer:
        until(lambda: ears.versions() == ["s0"], timeout=10)
        found = producer.get(SERVICES)
        assert found.json()[0]["serInstanceId"] == made.json()[0]["serInstanceId"]
        register(producer, "s1")
        until(lambda: ears.versions() == ["s0", "s1"])
    with suppress(FileNotFoundError):
        assert "phrase" not in new.log.read_text()
