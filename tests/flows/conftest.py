"""What the stories need: processes that end with the test, the real MEP as a process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.main_job import Centre, build_samples
from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
MM5_TOKEN = "only-for-this-test"


class Program:
    """A process with a log; `stop` ends it politely and returns its exit code."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT
            )

    def stop(self, number: int = signal.SIGTERM, within: float = 60) -> int:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within * PATIENCE)

    def said(self) -> str:
        """Return everything it has written so far."""
        return self.log.read_text("utf-8", "replace")


def _starting(folder: Path) -> Iterator[Callable[..., Program]]:
    """Lend what starts programs; those that still run at the end are killed."""
    running: list[Program] = []

    def run(name: str, command: list[str], **env: str) -> Program:
        running.append(Program(command, env, folder / f"{name}.log"))
        return running[-1]

    yield run
    for program in running:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs that are killed at the end of the test if they still run."""
    yield from _starting(tmp_path)


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
        with httpx.Client(base_url=self.url, verify=False, headers=headers, trust_env=False, timeout=60) as http:
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


@pytest.fixture(scope="module")
def shared_mep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mep]:
    """A MEP at a free port, that may call back to this machine; to start one takes seconds."""
    port, folder = free_port(), tmp_path_factory.mktemp("platform")

    def launch() -> Program:
        return start(
            "mep",
            [sys.executable, str(ROOT / "manage.py"), "mp1"],
            DJANGO_SETTINGS_MODULE="mep.settings",
            MEP_VAR=str(folder / "mep"),
            MEP_MP1_PORT=str(port),
            MEP_MP1_BIND="127.0.0.1",
            MEP_MM5_TOKEN=MM5_TOKEN,
            MEP_CALLBACK_NETWORKS="loopback",
            # On a busy machine an application is held up for seconds: that is no silence.
            MEP_LIVENESS_GRACE="20",
        )

    with contextmanager(_starting)(folder) as start:
        found = Mep(port, folder / "mep", launch, launch())
        until(found.answers, 60, what="the MEP to answer")
        yield found


@pytest.fixture
def mep(shared_mep: Mep) -> Mep:
    """The MEP, at which no application is known."""
    if shared_mep.program.process.poll() is not None:
        shared_mep.program = shared_mep.launch()
        until(shared_mep.answers, 60, what="the MEP to answer")
    for known in shared_mep.state()["apps"]:
        shared_mep.manage("DELETE", f"/mm5/v1/app_instances/{known['appInstanceId']}")
    left = shared_mep.state()
    assert (left["apps"], left["services"]) == ([], [])
    return shared_mep


# --- the whole thing


class WholeStack:
    """`manage.py up` in a folder of its own, at free ports, with a private Docker daemon or the one that runs."""

    def __init__(self, folder: Path, engine: str = "docker") -> None:
        self.var, self.ready_file, self.output = folder / "var", folder / "ready.json", folder / "up.log"
        self.web, self.mp1 = free_port(), free_port()
        self.env = {
            # Not the tests' own settings, which the stack would inherit from here.
            "DJANGO_SETTINGS_MODULE": "mecm.settings",
            "BREAKWATER_VAR": str(self.var),
            "BREAKWATER_WEB_PORT": str(self.web),
            "BREAKWATER_NODE_ENGINE": engine,
            "BREAKWATER_DOCKER_POOL": "10.94.0.0/16",
            "MEP_MP1_PORT": str(self.mp1),
            "MEP_DNS_PORT": str(free_port()),
            "MEP_CONSOLE_PORT": str(free_port()),
        }
        self.program: Program | None = None
        self.facts: dict[str, Any] = {}

    def up(self, within: float = 240) -> dict[str, Any]:
        """Start, and return what was started once everything works."""
        self.ready_file.unlink(missing_ok=True)
        command = [sys.executable, str(ROOT / "manage.py"), "up", "--ready-file", str(self.ready_file)]
        self.program = Program(command, self.env, self.output)
        until(self._ready_or_over, within, 0.1, what=f"the stack to work: {self.program.said()[-2000:]}")
        assert self.program.process.poll() is None, self.program.said()[-3000:]
        self.facts = json.loads(self.ready_file.read_text())
        return self.facts

    def down(self, number: int = signal.SIGINT, within: float = 90) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        assert self.program
        return self.program.stop(number, within)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web}"

    @property
    def accounts(self) -> Path:
        return self.var / "demo-accounts.json"

    def centre(self) -> Centre:
        """Return the public API, signed in as the administrator; the certifier reviews."""
        accounts = {each["username"]: each for each in json.loads(self.accounts.read_text())["accounts"]}
        admin, certifier = accounts["admin"], accounts["certifier"]
        second = Centre(self.url, certifier["username"], certifier["password"])
        return Centre(self.url, admin["username"], admin["password"], second)

    def processes(self, part: str = "") -> dict[int, str]:
        """Return the processes that were started for this stack, of those whose command holds `part`."""
        found = {}
        marks = (str(self.var).encode(), f"breakwater-{self._short()}".encode())
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            ours = any(mark in command or mark in environ for mark in marks)
            if ours and command and part.encode() in command:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace").strip()
        return found

    def containers(self, name: str = "") -> dict[str, str]:
        """Return the ids and names of this node's containers, of those whose name holds `name`."""
        wanted = json.dumps({"label": [f"io.breakwater.node={self.facts['node']}"]})
        with self.docker() as docker:
            rows = docker.get("/containers/json", params={"all": "1", "filters": wanted}).raise_for_status().json()
        return {row["Id"]: row["Names"][0] for row in rows if name in row["Names"][0]}

    def address_of(self, container: str) -> str:
        """Return a container's address on its network, for asking it without the loopback ports of the engine."""
        with self.docker() as docker:
            row = docker.get(f"/containers/{container}/json").raise_for_status().json()
        return next((net["IPAddress"] for net in row["NetworkSettings"]["Networks"].values() if net["IPAddress"]), "")

    def docker(self) -> httpx.Client:
        """Return a client of the container engine."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=self.facts["socket"]), base_url="http://docker", timeout=20
        )

    def leftovers(self) -> list[str]:
        """Return everything on this machine that should have gone with the stack."""
        short = self._short()
        held = [f"process {pid}: {command}" for pid, command in self.processes().items()]
        held += [str(path) for path in (Path("/run"), Path("/tmp")) for path in path.glob(f"breakwater-*{short}*")]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        held += [line for line in mounts if str(self.var) in line or short in line]
        routes = subprocess.run(["ip", "-br", "address"], capture_output=True, text=True, check=False).stdout
        held += [line for line in routes.splitlines() if " 10.94." in line]
        return held

    def _ready_or_over(self) -> bool:
        return self.ready_file.exists() or bool(self.program and self.program.process.poll() is not None)

    def _short(self) -> str:
        return hashlib.sha256(str((self.var / "docker").resolve()).encode()).hexdigest()[:10]


def why_not_docker() -> str:
    """Return why no container engine can be had here; empty when one can."""
    if Path("/var/run/docker.sock").exists():
        return ""
    if os.geteuid() != 0:
        return "no Docker socket, and only root may start a daemon"
    if not shutil.which("dockerd"):
        return "no dockerd (apt-get install docker.io)"
    return ""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStack]:
    """One stack that works, for the tests of a module; it goes with them."""
    reason = why_not_docker()
    if reason:
        pytest.skip(reason)
    whole = WholeStack(tmp_path_factory.mktemp("stack"))
    try:
        whole.up()
        yield whole
    finally:
        if whole.program and whole.program.process.poll() is None:
            whole.down()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample packages, of a provider that no store knows yet."""
    folder = tmp_path_factory.mktemp("samples")
    build_samples(folder, "Flow tests")
    return folder
