"""The MEP as a process of its own, as an operator runs it."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent


class Process:
    """One `manage.py <command>` with a folder of its own; `kill()` is kill -9."""

    def __init__(self, var: Path, command: str = "mp1", **settings: Any) -> None:
        self.var, self.command = var, command
        self.port = int(settings.pop("MP1_PORT", 0) or free_port())
        given = {"VAR": var, "MP1_BIND": "127.0.0.1", "MP1_PORT": self.port, "MM5_TOKEN": "management", **settings}
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("MEP_", "BREAKWATER_", "DJANGO_"))
        }
        self.environment = clean | {f"MEP_{key}": str(value) for key, value in given.items()}
        self.log = var.with_name(f"{var.name}-{command}.log")
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        """Start it; `wait()` waits until it serves."""
        command = [sys.executable, "manage.py", self.command, "--settings", "mep.settings"]
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        return self

    def run(self, *arguments: str) -> str:
        """Run another command of this node to its end and return what it printed."""
        command = [sys.executable, "manage.py", *arguments, "--settings", "mep.settings"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self) -> Process:
        """Wait until Mp1 answers."""
        until(self._answers, timeout=30, what=f"Mp1; its log: {self.log}")
        return self

    def _answers(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, self.log.read_text()
        try:
            with self.client() as client:
                return client.get("/mep/jwks.json").status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    def client(self, **options: Any) -> httpx.Client:
        """Return an HTTPS client that trusts this node's CA and nobody else."""
        return httpx.Client(
            base_url=f"https://localhost:{self.port}", verify=self.trust(), trust_env=False, timeout=10, **options
        )

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts this node's CA and nobody else."""
        return ssl.create_default_context(cafile=str(self.var / "tls" / "ca.pem"))

    def management(self) -> httpx.Client:
        """Return a client that speaks Mm5."""
        return self.client(headers={"Authorization": "Bearer management"})

    @contextmanager
    def app(self, app_id: str, **descriptor: Any) -> Iterator[httpx.Client]:
        """Provision an app instance over Mm5, let it sign in and get ready, and lend its client."""
        with self.management() as management:
            known = management.put(f"/mm5/v1/app_instances/{app_id}", json={"appName": app_id, **descriptor}).json()
        with self.client() as anyone:
            answer = anyone.post(
                "/mep/token", data={"grant_type": "client_credentials"}, auth=(known["clientId"], known["clientSecret"])
            )
        with self.client(headers={"Authorization": f"Bearer {answer.json()['access_token']}"}) as client:
            ready = client.post(
                f"/mec_app_support/v1/applications/{app_id}/confirm_ready", json={"indication": "READY"}
            )
            assert ready.status_code == 204, ready.text
            yield client

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        assert self.running is not None
        self.running.kill()
        self.running.wait(10)

    def stop(self) -> int:
        """End it politely and return its exit code."""
        assert self.running is not None
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
        return self.running.wait(20)
