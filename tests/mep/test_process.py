"""`manage.py mp1` and `manage.py dns` as processes: the whole story over TLS, and what a crash leaves behind."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

from tests.mep.conftest import DNS_RULE, service
from tests.mep.process import Process
from tests.mep.receiver import Receiver
from tests.ports import free_port
from tests.waiting import until

SERVICES = "/mec_service_mgmt/v1/services"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(command: str = "mp1", **settings: Any) -> Process:
        settings = {"CALLBACK_NETWORKS": "loopback,private", "LIVENESS_GRACE": 0.2, **settings}
        made.append(Process(tmp_path / "node", command, **settings).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()


def subscribe(client: Any, app_id: str, url: str) -> None:
    body = {"subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": url}
    assert client.post(f"/mec_service_mgmt/v1/applications/{app_id}/subscriptions", json=body).status_code == 201


def test_a_consumer_finds_what_a_producer_offers_and_hears_when_it_falls_silent(launch: Callable[..., Process]) -> None:
    mep = launch().wait()
    with Receiver() as ears, mep.app("producer") as producer, mep.app("consumer") as consumer:
        subscribe(consumer, "consumer", ears.url)
        made = producer.post("/mec_service_mgmt/v1/applications/producer/services", json=service(livenessInterval=1))
        assert made.status_code == 201
        found = consumer.get(f"{SERVICES}?ser_name=hello")
        assert found.json()[0]["transportInfo"]["endpoint"] == {"uris": ["http://10.1.2.3/hello"]}
        assert (
            consumer.get(f"{SERVICES}?ser_name=hello", headers={"If-None-Match": found.headers["ETag"]}).status_code
            == 304
        )
        liveness = made.json()["_links"]["liveness"]["href"]
        assert liveness.startswith(f"https://localhost:{mep.port}/")
        assert producer.patch(liveness, json={"state": "ACTIVE"}).status_code == 200
        until(lambda: ears.changes() == ["ADDED", "STATE_CHANGED"], timeout=5)
        assert consumer.get(SERVICES).json()[0]["state"] == "SUSPENDED"
        assert producer.patch(liveness, json={"state": "ACTIVE"}).json()["state"] == "ACTIVE"
        with mep.management() as management:
            assert management.delete("/mm5/v1/app_instances/producer").status_code == 204
        until(lambda: ears.changes()[-2:] == ["STATE_CHANGED", "REMOVED"], timeout=5)
        assert producer.get(SERVICES).status_code == 401
        assert consumer.get(SERVICES).json() == []
    assert mep.stop() == 0


def test_a_kill_loses_no_notification_and_no_state(launch: Callable[..., Process]) -> None:
    mep = launch().wait()
    port = free_port()
    with mep.app("producer") as producer, mep.app("consumer") as consumer:
        subscribe(consumer, "consumer", f"http://127.0.0.1:{port}/hear")
        path = "/mec_service_mgmt/v1/applications/producer/services"
        for number in range(10):
            assert producer.post(path, json=service(serName=f"s{number}")).status_code == 201
        mep.kill()
        mep.start().wait()
        for number in range(10, 15):
            assert producer.post(path, json=service(serName=f"s{number}")).status_code == 201, (
                "the old token is still good"
            )
        with Receiver(port) as ears:
            until(lambda: len(set(ears.ids)) == 15, timeout=40)
            assert list(dict.fromkeys(ears.versions())) == [f"s{number}" for number in range(15)]
        assert len(consumer.get(SERVICES).json()) == 15


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_tls_1_2_and_newer_is_spoken(launch: Callable[..., Process]) -> None:
    mep = launch().wait()
    for version, works in (
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ):
        context = ssl.create_default_context(cafile=str(mep.var / "tls" / "ca.pem"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", mep.port), timeout=5) as raw:
            try:
                with context.wrap_socket(raw, server_hostname="mep") as secure:
                    assert secure.version() == version.name.replace("TLSv1_", "TLSv1.")
                    spoken = True
            except (ssl.SSLError, ConnectionResetError):
                spoken = False
        assert spoken == works, version


def test_the_responder_process_answers_what_mp1_made_active(launch: Callable[..., Process]) -> None:
    port = free_port()
    mep = launch()
    responder = launch("dns", DNS_PORT=port)
    mep.wait()
    until(lambda: b"DNS on" in responder.log.read_bytes(), timeout=30, what=str(responder.log))
    query = dns.message.make_query("hello.example", "A")
    assert not dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer
    with mep.app("producer", appDNSRule=[DNS_RULE]):
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer[0].to_text().endswith("10.1.2.3")
        assert dns.query.tcp(query, "::1", port=port, timeout=5).answer
    assert responder.stop() == 0


def test_settings_that_make_no_sense_are_all_told_at_once(launch: Callable[..., Process]) -> None:
    mep = launch(MP1_PORT="0", KEY_LIFETIME="soon", CALLBACK_NETWORKS="10.0.0.0/99", TYPO="x")
    assert mep.running is not None
    assert mep.running.wait(30) != 0
    told = mep.log.read_text()
    for name in ("MEP_KEY_LIFETIME", "MEP_CALLBACK_NETWORKS", "MEP_TYPO"):
        assert name in told


def test_an_unknown_user_plane_is_told_at_the_start(launch: Callable[..., Process]) -> None:
    mep = launch(UPF="teleporter")
    assert mep.running is not None
    assert mep.running.wait(30) != 0
    assert "teleporter" in mep.log.read_text()
    assert "memory" in mep.log.read_text()
    assert "Traceback" not in mep.log.read_text()
