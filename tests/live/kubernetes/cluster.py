#!/usr/bin/env python3
"""A real Kubernetes cluster of one node, for tests, on one machine and from nothing but registries.

    cluster.py build | up | down [force] | status | kubeconfig | kubeconfig-path
    cluster.py load IMAGE.tar | forward NODE_PORT [PORT] | expose PORT [NODE_PORT]

Run as root. The servers are built once (`binaries.py`) and live in namespaces of their own, without a route
to anywhere: the host reaches the API server at 127.0.0.1 through a relay, and nothing else. All state is in
one folder. `down` kills the first process of those namespaces, and the kernel clears away the rest; while another
process uses the cluster it stays.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
if str(_ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(_ROOT))

from tests.live.kubernetes import binaries, files, inside, processes  # noqa: E402
from tests.live.kubernetes.api import Api  # noqa: E402
from tests.live.kubernetes.netns import Address, Border  # noqa: E402

#: Programs that Debian has: containerd (and runc), containernetworking-plugins, iproute2, iptables, util-linux, openssl.
NEEDED = ("containerd", "ctr", "runc", "ip", "iptables", "unshare", "nsenter", "openssl", "mount")
PACKAGES = "containerd runc containernetworking-plugins iproute2 iptables openssl"


class Cluster:
    """The test cluster of one folder, whoever started it; each folder's needs a port of its own."""

    def __init__(self, state: Path | None = None, port: int | None = None) -> None:
        self.state = (state or Path(os.environ.get("TEST_CLUSTER_DIR", "/tmp/breakwater-kubernetes"))).absolute()
        self.port = port or int(os.environ.get("TEST_CLUSTER_PORT", "16443"))
        self._border: Border | None = None
        self._users = processes.Users(files.control_group(self.state))

    # --- up and down

    def obstacle(self) -> str:
        """Return why a cluster cannot be brought up here; empty when it can."""
        if os.geteuid() != 0:
            return "a test cluster needs root"
        if any(self.state.is_relative_to(path) for path in inside.OWN_FOLDERS):
            return f"the test cluster's folder may not lie in {', '.join(inside.OWN_FOLDERS)}"
        lacking = [name for name in NEEDED if not shutil.which(name)]
        if lacking or not Path("/usr/lib/cni/ptp").exists():
            return f"a test cluster needs {', '.join(lacking) or 'CNI plugins'} (apt-get install {PACKAGES})"
        if binaries.missing() and not binaries.go():
            return "a test cluster needs Go 1.25 or newer to build the Kubernetes servers once"
        return ""

    def up(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Bring the cluster up until its node is Ready, and use it until `leave`; up already is fine."""
        if why := "" if self.running() else self.obstacle():
            raise SystemExit(why)
        if binaries.missing():
            say(f"building Kubernetes {binaries.KUBERNETES}, once, about six minutes on two cores ...")
            say(f"built in {binaries.build():.0f} s into {binaries.folder()}")
        with self._users.changing():
            self._users.join()
            if self.running() and (self.ready() or self._others_make_it_ready()):
                return
            try:
                self._up(say)
            except BaseException:
                self._users.leave()
                raise

    def _others_make_it_ready(self) -> bool:
        """Wait for a cluster that others use; it is not taken from them."""
        if others := self._users.others():
            try:
                self._wait("node", self.ready, 60)
            except SystemExit as late:
                users = ", ".join(map(str, others))
                raise SystemExit(f"{late}, and {users} use the cluster\n{self.obituary()}") from None
        return bool(others)

    def _up(self, say: Callable[[str], None]) -> None:
        self._clear_away()
        self._free_port()
        started = time.monotonic()
        self._write_files()
        self._start()
        try:
            self._wait("API server", self._api_answers, 60)
            say(f"API server after {time.monotonic() - started:.1f} s")
            self._load(files.pause_image())
            self._wait("node", self.ready, 90)
        except BaseException:
            say(self.obituary())
            self._clear_away()
            raise
        say(f"node Ready after {time.monotonic() - started:.1f} s")

    def down(self, *, force: bool = False) -> list[int]:
        """End every process of the cluster and take away all that it left; not up is fine.

        While others use it (a run that goes on, or one that was ended and is not quite gone) it stays, unless `force`;
        returns their numbers.
        """
        self.leave()
        with self._users.changing():
            others = self._users.others()
            if others and not force:
                return others
            self._clear_away()
        return []

    def _clear_away(self) -> None:
        first = self._first_process()
        for name in ("relay", "servers"):
            if pid := processes.alive(self.state / f"{name}.pid"):
                processes.end(pid, processes.born(pid))
        if first:
            processes.wait_for_end(first)
        processes.remove_control_groups(files.control_group(self.state))
        shutil.rmtree(self.state, ignore_errors=True)

    def _free_port(self) -> None:
        """End relays that were left behind on our port; say whose it is when it is taken by something that lives."""
        for pid, began in processes.relays(self.port).items():
            other = processes.serves(pid)
            if other and other != str(self.state):
                raise SystemExit(f"port {self.port} is the one of the cluster in {other}; set TEST_CLUSTER_PORT")
            processes.end(pid, began)
        # The threads of one that was just ended may hold its port for a moment longer than it lives.
        self._wait(f"port {self.port} of this machine (set TEST_CLUSTER_PORT)", self._port_is_free, 5)

    def _port_is_free(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", self.port)).close()
            return True
        return False

    def leave(self) -> None:
        """Stop this process's relays into the cluster, which stays, and use it no more."""
        if self._border:
            self._border.close()
            self._border = None
        self._users.leave()

    def running(self) -> bool:
        """Say whether the first process of the cluster lives."""
        return bool(processes.alive(self.state / "servers.pid"))

    def lost(self) -> str:
        """Return what of the cluster has ended though nobody took it down, with its last words; empty when all is there."""
        ended = [name for name in ("servers", "relay") if not processes.alive(self.state / f"{name}.pid")]
        if not ended:
            return ""
        if not self.state.exists():
            return f"the cluster in {self.state} was taken down by somebody else"
        return f"of the cluster in {self.state} these processes have ended: {', '.join(ended)}\n{self.obituary()}"

    def ready(self) -> bool:
        """Say whether the node is Ready and a pod could be created."""
        with contextlib.suppress(OSError):
            api = Api(self.state / "pki", self.port)
            node = api.get(f"/api/v1/nodes/{files.NODE}")
            conditions = node["status"].get("conditions", []) if node else []
            is_ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
            return is_ready and api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None
        return False

    # --- use

    def kubeconfig(self) -> str:
        """Return the administrator's kubeconfig; it names 127.0.0.1 only."""
        return (self.state / "kubeconfig").read_text()

    def load_image(self, archive: Path) -> None:
        """Put the images of a docker-archive on the node."""
        self._load(archive.read_bytes())

    def forward(self, node_port: int, port: int = 0) -> str:
        """Make a NodePort reachable from the host while this process lives; return its `http://` address."""
        host, port = self.border().inward((files.NODE_IP, node_port), ("127.0.0.1", port))
        return f"http://{host}:{port}"

    def expose(self, port: int, node_port: int = 0) -> Address:
        """Make a port of the host's 127.0.0.1 reachable for pods, at the node's address and by the name `mep`."""
        return self.border().outward(("127.0.0.1", port), (files.NODE_IP, node_port or port))

    def http_get(self, node_port: int, path: str = "/", timeout: float = 5.0) -> tuple[int, bytes]:
        """Ask a NodePort; return status and body."""
        connection = http.client.HTTPConnection(files.NODE_IP, node_port, timeout=timeout)
        connection.sock = self.border().connect((files.NODE_IP, node_port), timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def border(self) -> Border:
        """Return this process's way into the cluster's network."""
        if self._border is None:
            self._border = Border(Path(f"/proc/{self._first_process()}/ns/net"))
        return self._border

    def obituary(self, lines: int = 12) -> str:
        """Return which servers had to be started again, and the last lines of every log."""
        with contextlib.suppress(OSError):
            said = (self.state / "logs" / "servers.log").read_text(errors="replace").splitlines()
            again = [line for line in said if "starting it again" in line]
            return "\n".join([*again[-lines:], *self._log_tails(lines)])
        return "it has left no log"

    def _log_tails(self, lines: int) -> list[str]:
        parts = []
        for log in sorted((self.state / "logs").glob("*.log")):
            parts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return parts

    def memory(self) -> dict[str, int]:
        """Return the resident bytes of each server."""
        used: dict[str, int] = {}
        namespace = Path(f"/proc/{self._first_process()}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "ns/pid").readlink() == namespace:
                    name = (process / "comm").read_text().strip()
                    pages = int((process / "statm").read_text().split()[1])
                    used[name] = used.get(name, 0) + pages * os.sysconf("SC_PAGE_SIZE")
        return used

    # --- how

    def _write_files(self) -> None:
        self.state.mkdir(mode=0o700)
        for name in ("logs/pods", "volume-plugins", "kubelet"):
            (self.state / name).mkdir(parents=True)
        files.write_keys(self.state / "pki")
        (self.state / "kubeconfig").touch(mode=0o600)
        (self.state / "kubeconfig").write_text(files.kubeconfig(self.state / "pki", self.port))
        files.write_configuration(self.state)
        for groups in processes.hierarchies():
            (groups / files.control_group(self.state)).mkdir(exist_ok=True)

    def _start(self) -> None:
        here = [sys.executable, "-m"]
        self._detach("servers", [
            "unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc",
            *here, "tests.live.kubernetes.inside", str(self.state), str(binaries.folder()), str(self.port),
        ])  # fmt: skip
        self._wait("first process", lambda: self._first_process() != 0, 10)
        first = str(self._first_process())
        self._detach("relay", [*here, processes.RELAY, "relay", str(self.state), first, str(self.port)])

    def _detach(self, name: str, command: list[str]) -> None:
        with (self.state / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes.note(self.state / f"{name}.pid", process.pid)

    def _first_process(self) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = processes.alive(self.state / "servers.pid")
            return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
        return 0

    def _api_answers(self) -> bool:
        if self.lost():
            raise SystemExit("the cluster's first process or its relay has ended")
        with contextlib.suppress(OSError):
            return Api(self.state / "pki", self.port).ready()
        return False

    def _load(self, archive: bytes) -> None:
        inside = ["nsenter", "-t", str(self._first_process()), "-m", "-n", "--"]
        command = [*inside, "ctr", "-a", f"{self.state}/containerd.sock", "-n", "k8s.io", "images", "import", "-"]
        done = subprocess.run(command, input=archive, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the image could not be imported: {done.stderr.decode()[-500:]}")

    def _wait(self, what: str, holds: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"the {what} was not there within {timeout:g} s")
            time.sleep(0.1)


# --- commands


def main(arguments: list[str]) -> None:
    command, *rest = arguments or ["help"]
    cluster = Cluster()
    if command == "relay":  # one that `up` started
        first, port = int(rest[1]), int(rest[2])
        # It ends with its cluster, however that ends: left behind, it would sit on the port of the next one.
        cluster_ends = os.pidfd_open(first)
        border = Border(Path(f"/proc/{first}/ns/net"))
        border.inward(("127.0.0.1", port), ("127.0.0.1", port))
        select.select([cluster_ends], [], [])
        os._exit(0)  # nobody waits for what it had under way
    elif command == "build":
        print(f"built in {binaries.build():.0f} s; {binaries.folder()}")
    elif command == "up":
        cluster.up(lambda text: print(text, flush=True))
        print(f"KUBECONFIG={cluster.state}/kubeconfig")
    elif command == "down":
        if others := cluster.down(force=rest[:1] == ["force"]):
            raise SystemExit(f"the cluster is used by {', '.join(map(str, others))}; it stays (`down force` takes it)")
    elif command == "kubeconfig":
        print(cluster.kubeconfig())
    elif command == "kubeconfig-path":
        print(cluster.state / "kubeconfig")
    elif command == "load":
        cluster.load_image(Path(rest[0]))
    elif command == "status":
        if not cluster.running():
            raise SystemExit(cluster.obstacle() or "down")
        used = cluster.memory()
        print("ready" if cluster.ready() else "not ready")
        for name, size in sorted(used.items(), key=lambda item: -item[1]):
            print(f"{size / 2**20:8.1f} MiB  {name}")
        print(f"{sum(used.values()) / 2**20:8.1f} MiB  in all")
    elif command == "forward":
        print(cluster.forward(int(rest[0]), int(rest[1]) if rest[1:] else 0), flush=True)
        signal.pause()
    elif command == "expose":
        print("{}:{}".format(*cluster.expose(int(rest[0]), int(rest[1]) if rest[1:] else 0)), flush=True)
        signal.pause()
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
