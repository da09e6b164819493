"""A Docker daemon of our own, for a machine where none runs. It leaves the machine's network as it found it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core.errors import Unavailable
from mecm.runtime import containers
from mecm.runtime.processes import began

_PARENT_CHAINS = ("INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def may_have() -> bool:
    """Tell whether we may start a daemon: as root, or by sudo without a password."""
    return os.geteuid() == 0 or (bool(shutil.which("sudo")) and _quiet(["sudo", "-n", "true"]))


def installed() -> bool:
    """Tell whether the daemon's program is there."""
    return bool(shutil.which("dockerd", path=_PATH))


def install(say: Callable[[str], None]) -> bool:
    """Install `docker.io` from the distribution; False where that does not work."""
    if not shutil.which("apt-get"):
        return False
    say("No container engine runs here; installing docker.io from the distribution")
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "--no-install-recommends"]
    packages = ["docker.io", "iptables"]
    if not _quiet(_as_root([*command, *packages])):
        _quiet(_as_root(["apt-get", "update", "-q"]))
        _quiet(_as_root([*command, *packages]))
    return installed()


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin"


class PrivateDocker:
    """The daemon of one `var/` folder. Images and containers' layers stay there between starts; all else goes at `stop`."""

    def __init__(self, folder: Path, *, pool: str) -> None:
        self.folder, self.pool = folder, pool
        # Paths of sockets are short by law (108 bytes), and a var/ folder may lie deep.
        self.short_name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:10]
        self.exec_root = Path("/run") / f"breakwater-{self.short_name}"
        self.socket = self.exec_root / "docker.sock"
        self._before = folder / "network-before.json"
        self._pid_file = folder / "dockerd.pid"

    def command(self) -> list[str]:
        """Return how the daemon is started."""
        # A daemon told to have no bridge deletes docker0, also that of another daemon: so it gets that one, unused.
        bridge = "docker0" if Path("/sys/class/net/docker0").exists() else "none"
        return [
            *_as_root([shutil.which("dockerd", path=_PATH) or "dockerd"]),
            *("--host", f"unix://{self.socket}", "--group", str(os.getgid())),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.exec_root)),
            *("--pidfile", str(self._pid_file), "--bridge", bridge),
            *("--default-address-pool", f"base={self.pool},size=24", "--log-level", "warn"),
        ]

    def prepare(self) -> None:
        """Clear what a killed daemon left, and note how the machine's network is before ours."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.end()
        _run(_as_root(["mkdir", "-p", str(self.exec_root)]))
        if os.geteuid() != 0:
            _run(_as_root(["chown", f"{os.getuid()}:{os.getgid()}", str(self.exec_root)]))
        if not self._before.exists():
            # At one stroke: what is half written could not be restored, and would not be written again.
            fresh = self._before.with_name(f".{self._before.name}")
            fresh.write_text(json.dumps(_network_now()))
            fresh.replace(self._before)

    def wait(self, alive: Callable[[], bool], *, within: float = 60.0) -> containers.Engine:
        """Return the engine as soon as it answers; `Unavailable` when the daemon ends before that."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and alive():
            engine = containers.look_at(str(self.socket))
            if engine:
                return engine
            time.sleep(0.1)
        raise Unavailable("The private Docker daemon did not start; its log says why")

    def clean_up(self) -> None:
        """Remove what the daemon, ended by now, leaves on the machine: its sockets, mounts and firewall chains."""
        self.end()
        for mount in _mounts_under(self.exec_root, self.folder / "data"):
            _quiet(_as_root(["umount", "-l", mount]))
        _quiet(_as_root(["rm", "-rf", str(self.exec_root)]))
        if self._before.exists():
            with contextlib.suppress(ValueError, KeyError):
                _restore_network(json.loads(self._before.read_text()))
            self._before.unlink()

    def wipe(self) -> None:
        """Remove images and layers too; only root may, they belong to the containers' users."""
        _quiet(_as_root(["rm", "-rf", str(self.folder)]))

    def end(self) -> None:
        """End the daemon of this folder, also one that outlived whoever started it."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and str(self.folder).encode() in command.read_bytes():
            start = began(pid)
            _quiet(_as_root(["kill", "-TERM", str(pid)]))
            deadline = time.monotonic() + 20
            while start and began(pid) == start and time.monotonic() < deadline:
                time.sleep(0.1)
            if start and began(pid) == start:
                _quiet(_as_root(["kill", "-KILL", str(pid)]))
        _quiet(_as_root(["rm", "-f", str(self._pid_file)]))


def _network_now() -> dict[str, object]:
    """Return what a Docker daemon changes on a machine."""
    policies = {tool: _forward_policy(tool) for tool in ("iptables", "ip6tables")}
    return {
        "chains": {tool: "DOCKER-USER" in _saved(tool, "filter") for tool in policies},
        "policies": policies,
        "ip_forward": _FORWARDING.read_text().strip() if _FORWARDING.exists() else "",
    }


def _restore_network(before: dict[str, dict[str, str]]) -> None:
    """Remove Docker's chains and put the forwarding policy back, unless another daemon had set them before ours."""
    for tool, present in before["chains"].items():
        if present:
            continue
        for table in ("filter", "nat"):
            for rule in _docker_rules(_saved(tool, table)):
                _quiet(_as_root([tool, "-w", "-t", table, *rule]))
        if before["policies"].get(tool):
            _quiet(_as_root([tool, "-w", "-P", "FORWARD", before["policies"][tool]]))
    if before["ip_forward"] == "0" and not any(before["chains"].values()):
        _quiet(_as_root(["sh", "-c", f"echo 0 > {_FORWARDING}"]))


def _docker_rules(saved: str) -> list[list[str]]:
    """Return the arguments that undo Docker's part of an `iptables-save`: first the jumps, then the chains."""
    jumps, flushes, chains = [], [], []
    for line in saved.splitlines():
        words = line.split()
        if line.startswith(":DOCKER"):
            flushes.append(["-F", words[0][1:]])
            chains.append(["-X", words[0][1:]])
        elif line.startswith("-A ") and words[1] in _PARENT_CHAINS and any(word.startswith("DOCKER") for word in words):
            jumps.append(["-D", *words[1:]])
    return [*jumps, *flushes, *chains]


def _forward_policy(tool: str) -> str:
    for line in _saved(tool, "filter").splitlines():
        if line.startswith(":FORWARD "):
            return line.split()[1]
    return ""


def _saved(tool: str, table: str) -> str:
    program = shutil.which(f"{tool}-save", path=_PATH)
    if not program:
        return ""
    done = subprocess.run(_as_root([program, "-t", table]), capture_output=True, text=True, check=False)
    return done.stdout


def _mounts_under(*folders: Path) -> list[str]:
    """Return mount points inside `folders`, the deepest first."""
    roots = tuple(f"{folder.resolve()}/" for folder in folders)
    with Path("/proc/self/mounts").open() as mounts:
        points = [line.split()[1].replace("\\040", " ") for line in mounts]
    return sorted((point for point in points if f"{point}/".startswith(roots)), key=len, reverse=True)


def _as_root(command: Sequence[str]) -> list[str]:
    return list(command) if os.geteuid() == 0 else ["sudo", "-n", *command]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": _PATH})
    if done.returncode:
        raise Unavailable(f"`{' '.join(command)}` failed: {done.stderr.strip()[:300]}")


def _quiet(command: Sequence[str]) -> bool:
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": _PATH})
    return done.returncode == 0
