"""The two sample applications, as processes, at a real MEP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.flows.conftest import ROOT, Mep, Program
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.long

SITE = {
    "site": "Test",
    "radioUnits": [
        {"id": "a", "x": 0, "y": 0},
        {"id": "b", "x": 900, "y": 0},
        {"id": "c", "x": 0, "y": 600},
        {"id": "d", "x": 900, "y": 600},
    ],
}
App = Callable[..., "Running"]
#: One client for all that is asked without TLS, again and again: each would read the authorities of the system.
PLAIN = httpx.Client(verify=False, trust_env=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


class Running:
    """A sample application that runs."""

    def __init__(self, program: Program, port: int, identity: dict[str, str]) -> None:
        self.program, self.url, self.id = program, f"http://127.0.0.1:{port}", identity.get("APP_INSTANCE_ID", "")

    def get(self, path: str) -> httpx.Response:
        return PLAIN.get(self.url + path)

    def ready(self) -> bool:
        try:
            return self.get("/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def state(self) -> dict[str, Any]:
        return dict(self.get("/state.json").json())


@pytest.fixture
def producer(start: Callable[..., Program], tmp_path: Path) -> App:
    """Start the producer; `release` is 1.0.0 or 1.1.0."""

    def run(identity: dict[str, str], release: str = "1.0.0", **env: str) -> Running:
        site = tmp_path / "site.json"
        site.write_text(json.dumps(SITE))
        return _app(start, "producer", release, identity, CONFIG=str(site), SERVICE_HOST="localhost", **env)

    return run


@pytest.fixture
def consumer(start: Callable[..., Program]) -> App:
    """Start the consumer, which calls five times a second."""

    def run(identity: dict[str, str]) -> Running:
        return _app(start, "consumer", "1.0.0", identity, CALL_INTERVAL="0.2")

    return run


def _app(start: Callable[..., Program], app: str, release: str, identity: dict[str, str], **env: str) -> Running:
    folders = [
        ROOT / "charts" / app / "releases" / release,
        ROOT / "charts" / app / "image",
        ROOT / "charts" / "shared",
    ]
    port = free_port()
    # Not `python app.py`: that would put the first release's folder before the newer one.
    main = "import runpy; runpy.run_module('app', run_name='__main__')"
    path = ":".join(str(folder) for folder in folders if folder.is_dir())
    env = {**identity, **env, "PORT": str(port), "PYTHONPATH": path, "LIVENESS_INTERVAL": "1", "PYTHONUNBUFFERED": "1"}
    return Running(start(f"{app}-{release}", [sys.executable, "-c", main], **env), port, identity)


def test_the_consumer_finds_the_producer_and_shows_its_answers(mep: Mep, producer: App, consumer: App) -> None:
    consuming = consumer(mep.identity(str(uuid4()), "vehicle"))
    until(consuming.ready, 60)
    assert "No service of that name" in consuming.get("/").text

    producing = producer(mep.identity(str(uuid4()), "positioning"))
    until(producing.ready, 60)
    until(lambda: consuming.state()["counts"]["answers"] >= 3, 60)

    state = consuming.state()
    assert state["service"]["serName"] == "positioning"
    assert state["answers"][0]["method"] == "linear least squares"
    assert state["answers"][0]["error_m"] < 30
    # It did not poll for it: the platform told it.
    assert [told["changeType"] for told in state["notifications"]] == ["ADDED"]
    assert "linear least squares" in consuming.get("/").text


def test_a_newer_release_takes_the_service_over(mep: Mep, producer: App, consumer: App) -> None:
    identity = mep.identity(str(uuid4()), "positioning")
    first = producer(identity)
    until(first.ready, 60)
    consuming = consumer(mep.identity(str(uuid4()), "vehicle"))
    until(lambda: consuming.state()["counts"]["answers"] > 0 if consuming.ready() else False, 60)

    second = producer(identity, "1.1.0")
    until(second.ready, 60)
    assert first.program.stop() == 0

    def newer() -> bool:
        answers = consuming.state()["answers"]
        return bool(answers and answers[0]["ok"] and answers[0]["version"] == "1.1.0")

    until(newer, 60)
    assert "accuracy_m" in consuming.state()["answers"][0]["position"]
    assert len(mep.state()["services"]) == 1


def test_the_producer_comes_back_to_a_platform_that_forgot_it(mep: Mep, producer: App) -> None:
    identity = mep.identity(str(uuid4()), "positioning")
    producing = producer(identity)
    until(producing.ready, 60)
    service = mep.state()["services"][0]["serInstanceId"]

    forgotten = mep.manage("DELETE", f"/mm5/v1/app_instances/{producing.id}")
    assert forgotten.status_code == 204
    until(lambda: producing.state()["platform"]["state"] == "joining", 60)
    # The same instance is made known again with new credentials in real life; here the old ones do not work.
    assert producing.get("/v1/radio-units").status_code == 200
    assert all(known["serInstanceId"] != service for known in mep.state()["services"])


def test_the_producer_outlives_a_restart_of_the_platform(mep: Mep, producer: App) -> None:
    producing = producer(mep.identity(str(uuid4()), "positioning"))
    until(producing.ready, 60)
    mep.program.process.kill()
    mep.program.process.wait()
    until(lambda: producing.state()["platform"]["state"] == "joining", 60)
    assert producing.ready(), "it can still answer, so it stays ready"

    mep.program = mep.launch()
    until(mep.answers, 60)
    until(lambda: producing.state()["platform"]["state"] == "joined", 60)
    until(lambda: [known["state"] for known in mep.state()["services"]] == ["ACTIVE"], 60)


def test_termination_is_confirmed_and_takes_the_service_along(mep: Mep, producer: App) -> None:
    producing = producer(mep.identity(str(uuid4()), "positioning"))
    until(producing.ready, 60)

    asked = mep.manage(
        "POST", f"/mm5/v1/app_instances/{producing.id}/terminate", json={"gracefulTerminationTimeout": 60}
    )
    assert asked.status_code == 202
    until(lambda: mep.manage("GET", f"/mm5/v1/app_instances/{producing.id}").json()["terminationOver"], 60)

    assert mep.state()["services"] == []
    assert producing.state()["platform"]["state"] == "terminated"
    assert not producing.ready()
    assert producing.get("/alive").status_code == 200
    assert producing.program.stop() == 0


def test_nobody_but_the_platform_can_end_an_application(mep: Mep, producer: App) -> None:
    producing = producer(mep.identity(str(uuid4()), "positioning"))
    until(producing.ready, 60)
    for word in ("guess", "", "%00", "ümlaut"):
        path = f"{producing.url}/notifications/{word}/termination"
        answer = PLAIN.post(path, json={"operationAction": "TERMINATING"})
        assert answer.status_code == 404
    assert producing.state()["platform"]["state"] == "joined"


def test_without_a_platform_the_producer_still_answers(producer: App) -> None:
    producing = producer({})
    until(producing.ready, 60)
    exact = {"a": 500.0, "b": 500.0, "c": 590.31, "d": 590.31}
    answer = PLAIN.post(f"{producing.url}/v1/position", json={"distances": exact})
    assert answer.status_code == 200
    # 450² + y² = 500² and 450² + (600 - y)² = 590.31²
    assert answer.json()["position"]["x"] == pytest.approx(450, abs=1)
    assert answer.json()["position"]["y"] == pytest.approx(217.9, abs=1)


def test_a_bad_question_is_the_callers_mistake(producer: App) -> None:
    producing = producer({})
    until(producing.ready, 60)
    for body in (
        b"not json",
        b"[]",
        b'{"distances": {"a": 1, "b": 2}}',
        b'{"distances": {"a": 1, "b": 2, "nowhere": 3}}',
        b'{"distances": {"a": -1, "b": 2, "c": 3}}',
        b'{"distances": {"a": true, "b": 2, "c": 3}}',
        b'{"distances": {"a": 1e999, "b": 2, "c": 3}}',
    ):
        answer = PLAIN.post(f"{producing.url}/v1/position", content=body)
        assert answer.status_code == 400, body
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_application_with_half_an_identity_says_what_is_missing(start: Callable[..., Program]) -> None:
    app = _app(start, "consumer", "1.0.0", {"MEP_URL": "https://localhost:1", "MEP_CLIENT_ID": "me"})
    assert app.program.process.wait(60) != 0
    assert "MEP_CLIENT_SECRET" in app.program.said()


def test_the_image_folders_hold_only_what_the_image_needs() -> None:
    listed = subprocess.run(["git", "ls-files", "charts"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    code = [line for line in listed.splitlines() if "/image/" in line or "/releases/" in line or "/shared/" in line]
    assert code
    assert all(line.endswith(".py") for line in code)
