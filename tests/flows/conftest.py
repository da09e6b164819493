"""What the stories need: free ports, processes that end with the test, the real MEP as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
MM5_TOKEN = "only-for-this-test"


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A process with a log; `stop` ends it politely and returns its exit code."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT
            )

    def stop(self, number: int = signal.SIGTERM, within: float = 20) -> int:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within)

    def said(self) -> str:
        """Return everything it has written so far."""
        return self.log.read_text("utf-8", "replace")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs that are killed at the end of the test if they still run."""
    running: list[Program] = []

    def run(name: str, command: list[str], **env: str) -> Program:
        running.append(Program(command, env, tmp_path / f"{name}.log"))
        return running[-1]

    yield run
    for program in running:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


@dataclass
class Mep:
    """A real MEP: its process, where it is, and its management."""

    port: int
    folder: Path
    launch: Callable[[], Program]
    program: Program

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def manage(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask the management API (Mm5)."""
        headers = {"Authorization": f"Bearer {MM5_TOKEN}"}
        # Its certificate is checked by the applications below; here we only steer.
        with httpx.Client(base_url=self.url, verify=False, headers=headers, trust_env=False, timeout=10) as http:
            return http.request(method, path, **options)

    def state(self) -> dict[str, Any]:
        """Return everything it knows."""
        return dict(self.manage("GET", "/mm5/v1/state").json())

    def answers(self) -> bool:
        """Tell whether it is up."""
        try:
            return self.manage("GET", "/mm5/v1/info").status_code == 200
        except httpx.HTTPError:
            return False

    def identity(self, app_instance_id: str, name: str) -> dict[str, str]:
        """Make an app instance known; return the environment that a chart would give it."""
        made = self.manage("PUT", f"/mm5/v1/app_instances/{app_instance_id}", json={"appName": name})
        assert made.status_code in (200, 201), made.text
        body, info = made.json(), self.manage("GET", "/mm5/v1/info").json()
        return {
            "MEP_URL": self.url,
            "MEP_TOKEN_URL": f"{self.url}/mep/token",
            "MEP_CA_CERT": info["caCert"],
            "MEP_CLIENT_ID": body["clientId"],
            "MEP_CLIENT_SECRET": body["clientSecret"],
            "APP_INSTANCE_ID": app_instance_id,
        }


@pytest.fixture
def mep(tmp_path: Path, start: Callable[..., Program]) -> Mep:
    """A MEP of its own for the test, at a free port, that may call back to this machine."""
    port, folder = free_port(), tmp_path / "mep"

    def launch() -> Program:
        return start(
            "mep",
            [sys.executable, str(ROOT / "manage.py"), "mp1"],
            DJANGO_SETTINGS_MODULE="mep.settings",
            MEP_VAR=str(folder),
            MEP_MP1_PORT=str(port),
            MEP_MP1_BIND="127.0.0.1",
            MEP_MM5_TOKEN=MM5_TOKEN,
            MEP_CALLBACK_NETWORKS="loopback",
        )

    found = Mep(port, folder, launch, launch())
    until(found.answers, 40, what="the MEP to answer")
    return found
