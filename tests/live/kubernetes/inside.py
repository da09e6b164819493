"""The first process of the cluster's namespaces: it starts the servers and keeps them running.

It is process 1 of a PID namespace, with mounts and a network of its own. When it is killed, the kernel
kills every server, shim and container, and takes every mount, interface and packet filter rule along.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.live.kubernetes import files

#: Where programs write without being asked: each cluster sees folders of its own there, empty at first.
OWN_FOLDERS = ("/run", "/var/log", "/var/lib")


def main(state: Path, programs: Path, port: int) -> None:
    _prepare_mounts()
    _prepare_network()
    servers = Servers(state)
    servers.start("etcd", [
        programs / "etcd", "--data-dir", state / "etcd", "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
        "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ])  # fmt: skip
    servers.start("containerd", ["containerd", "-c", state / "containerd.toml"])
    pki = state / "pki"
    servers.start("kube-apiserver", [
        programs / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0",
        f"--advertise-address={files.NODE_IP}", f"--secure-port={port}", "--allow-privileged=true",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt", "--authorization-mode=Node,RBAC",
        f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-cluster-ip-range={files.SERVICES}",
        f"--kubelet-client-certificate={pki}/admin.crt", f"--kubelet-client-key={pki}/admin.key",
        "--kubelet-preferred-address-types=InternalIP", "--profiling=false",
    ])  # fmt: skip
    # The others would wait for seconds between two tries, so they start when there is an answer.
    servers.wait_for(lambda: _answers(state, port), "the API server")
    login = f"--kubeconfig={state}/kubeconfig"
    servers.start("kubelet", [
        programs / "kubelet", f"--config={state}/kubelet.json", login, f"--root-dir={state}/kubelet",
        f"--hostname-override={files.NODE}", f"--node-ip={files.NODE_IP}",
    ])  # fmt: skip
    servers.start("kube-controller-manager", [
        programs / "kube-controller-manager", login, "--leader-elect=false", "--allocate-node-cidrs=false",
        f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt", "--profiling=false",
    ])  # fmt: skip
    servers.start("kube-scheduler", [programs / "kube-scheduler", login, "--leader-elect=false", "--profiling=false"])
    servers.start(
        "kube-proxy",
        [programs / "kube-proxy", f"--config={state}/kube-proxy.json", f"--hostname-override={files.NODE}"],
    )
    servers.start("coredns", [programs / "coredns", "-conf", state / "Corefile"])
    servers.keep()


class Servers:
    """Starts programs, starts them again when they end, and reaps what other programs leave behind."""

    def __init__(self, state: Path) -> None:
        self._logs = state / "logs"
        self._commands: dict[str, list[str]] = {}
        self._running: dict[int, str] = {}

    def start(self, name: str, command: list[str | Path]) -> None:
        self._commands[name] = [str(word) for word in command]
        with (self._logs / f"{name}.log").open("ab") as log:
            pid = subprocess.Popen(
                self._commands[name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).pid
        self._running[pid] = name

    def wait_for(self, holds, what: str, timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            self._reap(os.WNOHANG)
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} does not answer")
            time.sleep(0.1)

    def keep(self) -> None:
        while True:
            self._reap(0)

    def _reap(self, options: int) -> None:
        try:
            pid, status = os.waitpid(-1, options)
        except ChildProcessError:
            return
        name = self._running.pop(pid, None)
        if name is None:
            return
        print(f"{name} ended with {os.waitstatus_to_exitcode(status)}; starting it again", flush=True)
        time.sleep(1.0)
        self.start(name, [*self._commands[name]])


def _prepare_mounts() -> None:
    """Give the servers folders that nobody outside sees; kubelet wants its mounts to be shared among them."""
    _mount("none", "/", "", 0x100000 | 0x4000)  # MS_SHARED | MS_REC
    for path in OWN_FOLDERS:
        _mount("tmpfs", path, "tmpfs", 0)


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, None):
        raise OSError(ctypes.get_errno(), f"cannot mount on {target}")


def _prepare_network() -> None:
    """Bring up loopback with the node's address. There is no default route, hence no way out."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{files.NODE_IP}/32", "dev", "lo"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _answers(state: Path, port: int) -> bool:
    from tests.live.kubernetes.api import Api

    try:
        return Api(state / "pki", port).ready()
    except OSError:
        return False


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
