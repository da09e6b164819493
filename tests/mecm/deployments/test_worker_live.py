"""A real Celery worker, killed in the middle of its work, and a real MEP over TLS. Simulated is only the runtime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from django.conf import settings as django_settings
from django.db import connection

from core.operations.models import Operation
from mecm.deployments import services
from mecm.deployments.models import Deployment
from mecm.nodes import services as nodes
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("threads_db")]

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "management-token"
SOON = 60.0


def database_url() -> str:
    """Return the address of the test's own database."""
    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite://{known['NAME']}"
    where = f"{known['HOST'] or '127.0.0.1'}:{known['PORT'] or 5432}"
    return f"postgres://{quote(known['USER'])}:{quote(known['PASSWORD'])}@{where}/{known['NAME']}"


def start(command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a process of ours in a group of its own."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("BREAKWATER_", "MEP_", "DJANGO_"))
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env={**inherited, **environment}, stdout=output, stderr=output, start_new_session=True
        )


def wait(look: Callable[[], Any], log: Path) -> Any:
    """Poll until `look` holds; the failure shows how the log ends."""
    try:
        return until(look, SOON, every=0.1)
    except AssertionError as failure:
        raise AssertionError(f"{failure}\n{log.read_text()[-4000:]}") from None


def kill(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
    """End the process with all its children."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        return
    process.wait(60)


@pytest.fixture
def worker(tmp_path: Path, settings: Any) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a Celery worker with its beat; it sweeps each second and takes a worker for dead after two."""
    started: list[subprocess.Popen[bytes]] = []
    key = tmp_path / "vault.key"
    key.write_bytes(bytes(settings.VAULT_KEY))

    def run() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "mecm.celery", "worker", "--beat", "--concurrency", "1"]
        command += ["--schedule", str(tmp_path / "beat"), "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
        process = start(
            command,
            tmp_path / "worker.log",
            DJANGO_SETTINGS_MODULE="mecm.settings",
            BREAKWATER_VAR=str(settings.VAR_DIR),
            BREAKWATER_KEY_FILE=str(key),
            BREAKWATER_DATABASE_URL=database_url(),
            BREAKWATER_OPERATION_LEASE="2",
            BREAKWATER_SWEEP_EVERY="1",
        )
        started.append(process)
        return process

    yield run
    for process in started:
        kill(process)


@dataclass
class Mep:
    """A MEP of its own: its address, its certificate authority, its process."""

    url: str
    ca: str
    process: subprocess.Popen[bytes]

    def ask(self, path: str) -> httpx.Response:
        """Ask its management."""
        # Trust on first use is right here only: the process is our own child on loopback.
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.get(f"{self.url}/mm5/v1/{path}", headers=headers, verify=False, timeout=SOON)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let it take requests and answer none: whoever does something with it is in the middle of that, for seconds."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)


@pytest.fixture
def mep(tmp_path: Path) -> Iterator[Mep]:
    """Start a MEP."""
    port = free_port()
    environment = {
        "DJANGO_SETTINGS_MODULE": "mep.settings",
        "MEP_VAR": str(tmp_path / "mep"),
        "MEP_MP1_BIND": "127.0.0.1",
        "MEP_MP1_PORT": str(port),
        "MEP_MM5_TOKEN": TOKEN,
    }
    process = start(
        [sys.executable, "manage.py", "mp1", "--settings", "mep.settings"], tmp_path / "mep.log", **environment
    )
    made = Mep(f"https://127.0.0.1:{port}", "", process)

    def answers() -> str:
        try:
            info = made.ask("info")
        except httpx.TransportError:
            return ""
        return str(info.raise_for_status().json()["caCert"])

    try:
        made.ca = wait(answers, tmp_path / "mep.log")
        yield made
    finally:
        kill(process, signal.SIGTERM)


@pytest.fixture
def node(make_node: Any, mep: Mep, actor: Any) -> Any:
    """A direct node with the simulated runtime and the real MEP."""
    return nodes.set_mep(make_node("cluster", link="direct"), url=mep.url, token=TOKEN, ca=mep.ca, actor=actor)


@pytest.fixture
def mm5(mep: Mep) -> Callable[[], list[str]]:
    """Ask the MEP which app instances it knows."""

    def apps() -> list[str]:
        return sorted(app["appInstanceId"] for app in mep.ask("state").json()["apps"])

    return apps


def state(deployment: Deployment) -> str:
    deployment.refresh_from_db()
    return deployment.state


def generations(deployment: Deployment) -> list[int]:
    """Return what the engine made, from its own store on disk."""
    from engines.contract import EngineSettings
    from engines.memory import MemoryEngine

    folder = django_settings.VAR_DIR / "direct" / str(deployment.node_id)
    engine = MemoryEngine(EngineSettings(name=str(deployment.node_id), state_dir=folder))
    try:
        return [revision.generation for revision in engine.history(deployment.name, deployment.namespace)]
    finally:
        engine.close()


def running() -> bool:
    return Operation.objects.filter(kind="deployment.apply", state="running").exists()


def test_a_worker_killed_during_install_and_upgrade_leaves_nothing_doubled(
    deploy: Any, worker: Any, actor: Any, mep: Mep, mm5: Any, tmp_path: Path
) -> None:
    """Acceptance: kill -9 the worker during an install and during an upgrade; state converges."""
    deployments = [deploy(name=f"hello-{number}") for number in range(3)]
    log = tmp_path / "worker.log"
    with mep.held():
        first = worker()
        wait(running, log)
        kill(first)
    second = worker()
    for deployment in deployments:
        wait(lambda each=deployment: state(each) == "ready", log)
        assert generations(deployment) == [1]
    assert mm5() == sorted(str(deployment.app_instance_id) for deployment in deployments)
    with mep.held():
        for deployment in deployments:
            services.upgrade(deployment, actor=actor, values={"message": "two"})
        wait(running, log)
        kill(second)
    worker()
    for deployment in deployments:
        wait(lambda each=deployment: state(each) == "ready", log)
        assert (deployment.observed_generation, generations(deployment)) == (2, [1, 2])
    for deployment in deployments:
        services.remove(deployment, actor=actor)
    for deployment in deployments:
        wait(lambda each=deployment: state(each) == "removed", log)
    assert mm5() == []
    secrets = [path for path in (log, tmp_path / "mep.log") if TOKEN in path.read_text()]
    assert secrets == [], "a log holds the token"
