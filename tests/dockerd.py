"""A container runtime for tests: the one that is there, or a private dockerd that leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SYSTEM = Path("/var/run/docker.sock")
START_SECONDS, STOP_SECONDS = 30.0, 30.0
POOL = "10.88.0.0/15"


def find() -> str:
    """Return the socket of a runtime that answers: `BREAKWATER_DOCKER_SOCKET`, else the system's; empty when none does."""
    named = os.environ.get("BREAKWATER_DOCKER_SOCKET", "")
    if named:
        return named if answers(named) else ""
    return str(SYSTEM) if answers(str(SYSTEM)) else ""


def answers(path: str) -> bool:
    """Return whether something behind this unix socket speaks the Docker API."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path.removeprefix("unix://"))
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in client.recv(200)
    except OSError:
        return False


def unable() -> str:
    """Return why no private dockerd can be started here; empty when it can."""
    if os.geteuid() != 0:
        return "no Docker socket, and only root can start a private dockerd"
    if not shutil.which("dockerd"):
        return "no Docker socket, and dockerd is not installed (apt-get install --no-install-recommends docker.io)"
    return ""


class Private:
    """A dockerd of our own in a temporary folder.

    It makes no default bridge and leaves the firewall alone, so it disturbs neither the machine nor another daemon.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bw-dockerd-"))
        self.path = str(self.folder / "docker.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers; `RuntimeError` with its last words when it does not."""
        folder = self.folder
        command = [
            "dockerd",
            f"--host=unix://{self.path}",
            f"--data-root={folder / 'data'}",
            f"--exec-root={folder / 'exec'}",
            f"--pidfile={folder / 'pid'}",
            f"--config-file={folder / 'daemon.json'}",
            "--bridge=none",
            "--iptables=false",
            "--ip-masq=false",
            f"--default-address-pool=base={POOL},size=24",
            "--log-level=warn",
        ]
        (folder / "daemon.json").write_text("{}")
        with (folder / "log").open("ab") as log:
            # A group of its own, so that Ctrl-C reaches the test run first, which then stops it in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._let_pass("-I")
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = (folder / "log").read_text(errors="replace")[-800:]
                raise RuntimeError(f"dockerd did not start: {words}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the daemon, and with it every container; what it keeps stays on disk."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def discard(self) -> None:
        """Stop it and leave nothing behind."""
        if answers(self.path):
            with contextlib.suppress(Exception):
                _empty(self.path)
        self.stop()
        self._let_pass("-D")
        _discard(self.folder)

    def _let_pass(self, verb: str) -> None:
        """Allow traffic between our containers where another daemon made the kernel drop what it does not know."""
        if not shutil.which("iptables"):
            return
        rule = ["FORWARD", "-s", POOL, "-d", POOL, "-m", "comment", "--comment", self.folder.name, "-j", "ACCEPT"]
        there = subprocess.run(["iptables", "-w", "-C", *rule], check=False, capture_output=True).returncode == 0
        if there == (verb == "-D"):
            subprocess.run(["iptables", "-w", verb, *rule], check=False, capture_output=True)


@contextlib.contextmanager
def private() -> Iterator[str]:
    """Run a dockerd of our own and yield its socket."""
    daemon = Private()
    try:
        daemon.start()
        yield daemon.path
    finally:
        daemon.discard()


def _empty(path: str) -> None:
    """Remove every container and network, with the bridges that networks are on the machine."""
    import docker

    client = docker.APIClient(base_url=f"unix://{path}", version="auto")
    for container in client.containers(all=True):
        client.remove_container(container["Id"], force=True, v=True)
    for network in client.networks():
        if network["Name"] not in {"bridge", "host", "none"}:
            client.remove_network(network["Id"])
    client.close()


def _discard(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def docker_socket() -> Iterator[str]:
    """Yield the socket of a container runtime, private if need be; skips with the reason where there can be none."""
    found = find()
    if found:
        yield found
        return
    reason = unable()
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(private())
        except RuntimeError as problem:
            pytest.skip(str(problem))
        yield path


def containers(path: str, **labels: str) -> list[dict[str, object]]:
    """Return the containers that carry all these labels (`io.breakwater.` is put before each name)."""
    import docker

    client = docker.APIClient(base_url=f"unix://{path}", version="auto")
    try:
        wanted = [f"io.breakwater.{key}={value}" for key, value in labels.items()]
        return json.loads(json.dumps(client.containers(all=True, filters={"label": wanted})))
    finally:
        client.close()
