"""Keys, revocation and client certificates on the real process, while requests go on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.mep.process import ROOT, Process
from tests.waiting import until

pytestmark = pytest.mark.live
SERVICES, TRANSPORTS = "/mec_service_mgmt/v1/services", "/mec_service_mgmt/v1/transports"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(**settings: Any) -> Process:
        made.append(Process(tmp_path / "node", "mp1", **settings).start().wait())
        return made[-1]

    yield start
    for each in made:
        each.stop()


class Asking:
    """Asks the fast path and the ordinary view in turn, without a pause, and notes when each request began and its status."""

    def __init__(self, mep: Process, token: str) -> None:
        self.seen: list[tuple[float, str, int]] = []
        self._mep, self._token, self._over = mep, token, threading.Event()

    @contextmanager
    def running(self) -> Iterator[Asking]:
        thread = threading.Thread(target=self._ask, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(20)

    def _ask(self) -> None:
        with self._mep.client(headers={"Authorization": f"Bearer {self._token}"}) as client:
            while not self._over.is_set():
                for path in (SERVICES, TRANSPORTS):
                    began = time.monotonic()
                    try:
                        status = client.get(path).status_code
                    except httpx.HTTPError:
                        status = 0
                    self.seen.append((began, path, status))

    def more(self, count: int) -> None:
        """Wait until that many more requests were answered."""
        enough = len(self.seen) + count
        until(lambda: len(self.seen) >= enough, timeout=30, what="requests")


def bearer(client: httpx.Client) -> str:
    return str(client.headers["Authorization"]).split()[1]


def rotate(mep: Process) -> None:
    command = [sys.executable, "manage.py", "rotate_keys", "--settings", "mep.settings"]
    subprocess.run(command, cwd=ROOT, env=mep.environment, check=True, capture_output=True)


def test_keys_rotate_under_requests_and_nobody_is_refused(launch: Callable[..., Process]) -> None:
    mep = launch(RATE_PER_APP=0)
    with mep.management() as management:
        known = management.put("/mm5/v1/app_instances/app", json={"appName": "app"}).json()

    def fetch() -> str:
        with mep.client() as anyone:
            answer = anyone.post(
                "/mep/token", data={"grant_type": "client_credentials"}, auth=(known["clientId"], known["clientSecret"])
            )
        return str(answer.json()["access_token"])

    tokens = [fetch()]
    with Asking(mep, tokens[0]).running() as first:
        first.more(10)
        for _ in range(2):
            rotate(mep)
            tokens.append(fetch())
            with mep.client(headers={"Authorization": f"Bearer {tokens[-1]}"}) as client:
                assert [client.get(path).status_code for path in (SERVICES, TRANSPORTS)] == [200, 200]
            first.more(10)
    assert {status for _, _, status in first.seen} == {200}
    kids = [jwt.get_unverified_header(token)["kid"] for token in tokens]
    assert len(set(kids)) == 3
    with mep.client() as anyone:
        published = [key["kid"] for key in anyone.get("/mep/jwks.json").json()["keys"]]
    assert set(kids) <= set(published), "the old ones verify until their tokens have expired"


def test_a_terminated_app_is_refused_by_the_next_request_in_every_process(launch: Callable[..., Process]) -> None:
    # Two of one node: what an app calls the MEP, and so who issues its tokens, is the same for both.
    one, other = (launch(RATE_PER_APP=0, API_ROOT="https://mep:8443") for _ in range(2))
    assert one.port != other.port
    with one.app("app") as app:
        token = bearer(app)
        with Asking(one, token).running() as here, Asking(other, token).running() as there:
            here.more(10)
            there.more(10)
            with one.management() as management:
                assert management.post(
                    "/mm5/v1/app_instances/app/terminate", json={"gracefulTerminationTimeout": 0}
                ).is_success
            ended = time.monotonic()
            here.more(10)
            there.more(10)
    for asking in (here, there):
        assert {status for began, _, status in asking.seen if began > ended} == {401}
        late = [began - ended for began, _, status in asking.seen if status == 200]
        assert max(late) < 1.0
        assert {path for began, path, status in asking.seen if status == 401} == {SERVICES, TRANSPORTS}


def test_an_app_with_a_certificate_is_served_over_connections_that_show_it(
    launch: Callable[..., Process], tmp_path: Path
) -> None:
    mep = launch(MTLS="optional")
    with mep.management() as management:
        known = management.put("/mm5/v1/app_instances/app", json={"appName": "app"}).json()
        made = management.post("/mm5/v1/app_instances/app/certificate").json()
    own = tmp_path / "own.pem"
    own.write_text(made["certificate"] + made["privateKey"])
    grant = {"data": {"grant_type": "client_credentials"}, "auth": (known["clientId"], known["clientSecret"])}
    with mep.client() as bare:
        assert bare.post("/mep/token", **grant).status_code == 401
    context = mep.trust()
    context.load_cert_chain(own)
    with httpx.Client(base_url=f"https://localhost:{mep.port}", verify=context, trust_env=False) as client:
        token = client.post("/mep/token", **grant).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert [client.get(path, headers=headers).status_code for path in (SERVICES, TRANSPORTS)] == [200, 200]
    with mep.client(headers=headers) as thief:
        assert [thief.get(path).status_code for path in (SERVICES, TRANSPORTS)] == [401, 401]


def test_a_client_ca_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    mep = Process(tmp_path / "node", "mp1", MTLS="optional", CLIENT_CA=tmp_path / "absent.pem").start()
    assert mep.running is not None
    assert mep.running.wait(30) != 0
    assert "MEP_CLIENT_CA" in mep.log.read_text()
    assert "Traceback" not in mep.log.read_text()
