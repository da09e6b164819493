"""A centre and an edge node as real processes on loopback, for tests and benchmarks of the link between them.

The centre is uvicorn with our ASGI application on SQLite in a folder of its own; `Lab.ask` runs a question in a second
process of the centre (a worker, so to speak), which makes every change come from another process than the hub's.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from tests import databases
from tests.flows.wire import Wire
from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parent.parent.parent
MANAGE = str(ROOT / "manage.py")


def chart(name: str = "probe", replicas: int = 1) -> bytes:
    """Return a small chart as `.tgz`: one Deployment that says what generation of values it has."""
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n",
        "values.yaml": f"replicas: {replicas}\nnote: none\n",
        "templates/deployment.yaml": (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n"
            "spec:\n  replicas: {{ .Values.replicas }}\n  selector:\n    matchLabels:\n      app: {{ .Release.Name }}\n"
            "  template:\n    metadata:\n      labels:\n        app: {{ .Release.Name }}\n"
            "      annotations:\n        note: {{ .Values.note | quote }}\n"
            "    spec:\n      containers:\n        - name: main\n          image: localhost/breakwater/probe:1\n"
        ),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


class Process:
    """A process of ours whose output goes to a file."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=ROOT)

    def text(self) -> str:
        """Return what it has said so far."""
        return self.log.read_text()

    def end(self, how: int = signal.SIGTERM, timeout: float = 60.0) -> int:
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end:\n{self.text()[-3000:]}") from None


class Lab:
    """One centre, one node, and the means to disturb them. The node knows the centre by the near end of a wire."""

    def __init__(self, folder: Path, *, engine: str = "memory", edge: dict[str, str] | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.wire = Wire(self.port)
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("BREAKWATER_", "MEP_"))}
        self.centre_environment = {
            **keep,
            "DJANGO_SETTINGS_MODULE": "mecm.settings",
            "BREAKWATER_VAR": str(folder / "centre"),
            "BREAKWATER_PUBLIC_URL": f"http://127.0.0.1:{self.wire.port}",
        }
        # On PostgreSQL a database for this lab alone: tests in several processes have one each.
        self._server = os.environ.get("BREAKWATER_DATABASE_URL", "")
        self._database = f"lab_{secrets.token_hex(6)}" if self._server else ""
        if self._server:
            self._sql(f"CREATE DATABASE {self._database}")
            own = urlsplit(self._server)._replace(path=f"/{self._database}").geturl()
            self.centre_environment["BREAKWATER_DATABASE_URL"] = own
        self.edge_environment = {
            **keep,
            "DJANGO_SETTINGS_MODULE": "mep.settings",
            "MEP_VAR": str(folder / "edge"),
            "MEP_ENGINE": engine,
            # Labs run side by side, and none of them is looked at.
            "MEP_CONSOLE_PORT": "0",
            **(edge or {}),
        }
        self.centre: Process | None = None
        self.agent: Process | None = None
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Lab:
        self.folder.mkdir(parents=True, exist_ok=True)
        databases.fresh("edge", self.folder / "edge" / "mep.sqlite3")
        if self._server:
            migrate = [sys.executable, MANAGE, "migrate", "-v0"]
            subprocess.run(migrate, env=self.centre_environment, cwd=ROOT, check=True)
        else:
            databases.fresh("centre", self.folder / "centre" / "centre.sqlite3")
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()
        for process in (self.agent, self.centre):
            if process is not None:
                process.end(signal.SIGKILL)
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
        if self._server:
            self._sql(f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")

    def _sql(self, statement: str) -> None:
        connection = psycopg2.connect(self._server)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def start_centre(self) -> None:
        """Start the centre and wait until it answers."""
        command = [
            *(sys.executable, "-m", "uvicorn", "mecm.asgi:application", "--port", str(self.port)),
            *("--ws-per-message-deflate", "false", "--log-level", "warning", "--timeout-graceful-shutdown", "2"),
        ]
        self.centre = Process(command, self.centre_environment, self.folder / "centre.log")
        until(self._centre_answers, 120, what="the centre to answer")

    def start_agent(self, *command: str) -> None:
        """Start the agent (or the whole edge node, by `"edge"`); it may not have joined yet."""
        self.agent = Process(
            [sys.executable, MANAGE, *(command or ("agent",))], self.edge_environment, self.folder / "agent.log"
        )

    def stop_agent(self, how: int = signal.SIGTERM) -> int:
        """End the agent."""
        assert self.agent is not None
        return self.agent.end(how)

    def enrol(self) -> subprocess.CompletedProcess[str]:
        """Join with a fresh join string, by the command that people use."""
        join = self.ask("join")
        return self.run_edge("enrol", join)

    def run_edge(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the node."""
        return subprocess.run(
            [sys.executable, MANAGE, *command],
            env=self.edge_environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            check=False,
        )

    def ask(self, what: str, **facts: Any) -> Any:
        """Ask the centre's worker process; see `tests/flows/edgeworker.py` for what it can do."""
        if self._worker is None:
            script = str(Path(__file__).with_name("edgeworker.py"))
            self._worker = subprocess.Popen(
                [sys.executable, script],
                env={**self.centre_environment, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps({"what": what, **facts}) + "\n")
        self._worker.stdin.flush()
        answer = json.loads(self._worker.stdout.readline())
        if "trouble" in answer:
            raise AssertionError(answer["trouble"])
        return answer["answer"]

    def app(
        self, key: str, generation: int = 1, packed: bytes = b"", images: dict[str, bytes] | None = None, **values: Any
    ) -> dict[str, Any]:
        """Wish for an app on the node, with its chart and its images in the centre's store."""
        stored = self._store(packed or chart())
        spec = {
            "deployment": key,
            "appInstanceId": f"instance-{key}",
            "name": key,
            "namespace": "t-acme",
            "appName": key,
            "appProvider": "acme",
            "chart": stored,
            "images": [{"name": name, **self._store(content)} for name, content in (images or {}).items()],
            "values": values,
            "gracefulTerminationTimeout": 1,
        }
        self.ask("put", kind="app", key=key, generation=generation, spec=spec)
        return spec

    def reported(self, key: str, kind: str = "app") -> dict[str, Any]:
        """Return what the node last reported about something: `observed_generation` and `status`."""
        found: dict[str, Any] = self.ask("reported", kind=kind, key=key)
        return found

    def until_reported(self, key: str, state: str, generation: int = 1, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for a report and return its status."""

        def look() -> dict[str, Any] | None:
            found = self.reported(key)
            if found and found["observed_generation"] == generation and found["status"].get("state") == state:
                return dict(found["status"])
            return None

        try:
            return until(look, timeout, what=f"{key} to be {state} at generation {generation}") or {}
        except AssertionError as late:
            log = self.agent.text()[-3000:] if self.agent else ""
            raise AssertionError(f"{late}\nreported: {self.reported(key)}\nagent: {log}") from None

    def _store(self, content: bytes) -> dict[str, Any]:
        stored: dict[str, Any] = self.ask("store", content=content.hex())
        return {"url": f"/api/v1/edge/blobs/{stored['sha256']}", **stored}

    def _centre_answers(self) -> bool:
        assert self.centre is not None
        if self.centre.process.poll() is not None:
            raise AssertionError(f"the centre ended:\n{self.centre.text()[-3000:]}")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def main() -> None:
    """Leave a lab standing for a look around: `python -m tests.flows.edgelab <folder>`."""
    with Lab(Path(sys.argv[1])) as lab:
        lab.start_centre()
        lab.start_agent()
        print(lab.enrol().stdout, lab.folder, lab.port)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
