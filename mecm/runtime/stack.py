"""What runs on one machine: web, worker, an edge node, and a container engine if none is there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import close_old_connections

from core.accounts.access import SYSTEM
from core.errors import Unavailable
from core.sealing.services import require_keys
from mecm.edge import services as edge
from mecm.nodes.models import Node
from mecm.runtime import containers, dockerd, ports, seed
from mecm.runtime.processes import Child, Supervisor, end_leftovers

_PATIENCE = 120.0
_LOOK_EVERY = 5.0
_TRIES = 3


class Stack:
    """Everything that `manage.py up` starts; `start` returns when it works, `stop` when nothing of it is left."""

    def __init__(self, say: Callable[[str], None], echo: Callable[[str, str], None]) -> None:
        self.say, self._echo = say, echo
        self.var = Path(settings.VAR_DIR).resolve()
        self.supervisor = Supervisor(self.var / "run", settings.BASE_DIR, say, self._listen)
        self._worker_takes_work = False
        self.docker = dockerd.PrivateDocker(self.var / "docker", pool=settings.UP.docker_pool)
        # One folder for the temporary files of all children, so that also those of killed ones can be cleared away.
        self.scratch = Path(tempfile.gettempdir()) / f"breakwater-{os.geteuid()}-{self.docker.short_name}"
        self.node: Node | None = None
        self.socket, self.runtime = "", "memory"

    # --- start

    def start(self) -> dict[str, Any]:
        """Bring everything up and return what there is to know about it."""
        began = time.monotonic()
        self.clear_leftovers()
        ports.require_free(self._ports())
        require_keys()
        call_command("migrate", interactive=False, verbosity=0)
        call_command("pack_assets", verbosity=0)
        engine = self._engine()
        accounts = seed.demo_accounts(self.accounts_file) if settings.UP.demo else []
        self.node = seed.local_node(engine)
        if settings.UP.demo:
            samples = self._samples()
            published = seed.demo_packages(samples, self.say)
            if published:
                self.say(f"Published {published} sample packages")
        self._start_children(engine)
        self._wait_until_ready()
        return {
            "url": settings.PUBLIC_URL,
            "accounts": accounts,
            "node": str(self.node.pk) if self.node else "",
            "engine": engine,
            "console": self._console(),
            "runtime": self.runtime,
            "socket": self.socket,
            "pid": os.getpid(),
            "seconds": round(time.monotonic() - began, 1),
        }

    def clear_leftovers(self) -> None:
        """End and remove what a predecessor left that was killed."""
        ended = end_leftovers(self.supervisor.run_dir)
        if ended:
            self.say(f"An earlier start was killed; ended what it left running: {', '.join(ended)}")
        self.docker.clean_up()
        shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def accounts_file(self) -> Path:
        """Where the demo accounts are written."""
        return self.var / "demo-accounts.json"

    def _engine(self) -> str:
        """Find or start a container engine; return the short name of the node's engine."""
        wanted = settings.UP.node_engine
        if wanted == "memory":
            return "memory"
        found = containers.find(settings.UP.docker_socket)
        if found is None and settings.UP.docker_socket:
            raise Unavailable(f"No container engine answers at {settings.UP.docker_socket} (BREAKWATER_DOCKER_SOCKET)")
        if found is None and settings.UP.private_docker and dockerd.may_have():
            if not dockerd.installed():
                dockerd.install(self.say)
                # Where a service manager runs, installing Docker starts it.
                found = containers.find()
            if found is None and dockerd.installed():
                found = self._private_docker()
        if found is None and wanted == "docker":
            raise Unavailable("No Docker or podman socket answers here, and none can be started")
        if found is None:
            self.say("No container engine here: the runtime is SIMULATED, applications are not really started")
            return "memory"
        self.socket, self.runtime = found.socket, str(found)
        return "docker"

    def _private_docker(self) -> containers.Engine | None:
        self.say("No container engine runs here; starting a private Docker daemon")
        self.docker.prepare()
        child = Child("docker", self.docker.command(), dict(os.environ), self._log("docker"), stop_within=30)
        self.supervisor.start(child)
        try:
            return self.docker.wait(lambda: child.runs)
        except Unavailable as problem:
            self.say(f"{problem.detail} ({child.log})")
            self.supervisor.stop("docker")
            self.docker.clean_up()
            return None

    def _samples(self) -> list[Path]:
        folder = self.var / "samples"
        tool = settings.BASE_DIR / "tools" / "samples.py"
        done = subprocess.run(
            [sys.executable, str(tool), "--to", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"The samples could not be built: {done.stderr.strip()[-500:]}")
        return [Path(line.rpartition(" ")[0].rpartition(" ")[0]) for line in done.stdout.splitlines()]

    def _start_children(self, engine: str) -> None:
        # mkdir without exist_ok: on a shared machine somebody else might have put it there first.
        self.scratch.mkdir(mode=0o700)
        base = {
            **os.environ,
            "TMPDIR": str(self.scratch),
            "BREAKWATER_VAR": str(self.var),
            "BREAKWATER_PUBLIC_URL": settings.PUBLIC_URL,
            "BREAKWATER_SIMULATED": "1" if engine == "memory" or settings.SIMULATED_RUNTIME else "0",
            "DJANGO_SETTINGS_MODULE": "mecm.settings",
            "PYTHONUNBUFFERED": "1",
        }
        manage = str(settings.BASE_DIR / "manage.py")
        worker = ["-m", "celery", "-A", "mecm.celery:app", "worker", "-P", "threads", "-c", "4", "-B", "-l", "INFO"]
        worker += ["-s", str(self.var / "beat-schedule"), "--without-gossip", "--without-mingle"]
        self._child("web", web_server(), base, healthy=_every(_LOOK_EVERY, self._web_answers))
        self._child("worker", worker, base, stop_within=8)
        if self.node:
            environment = {**base, **self._edge_environment(self.node, engine)}
            self._child(
                "edge", [manage, "edge"], environment, healthy=_every(_LOOK_EVERY, self._mp1_answers), stop_within=30
            )

    def _edge_environment(self, node: Node, engine: str) -> dict[str, str]:
        folder = self.var / "mep"
        environment = {
            "DJANGO_SETTINGS_MODULE": "mep.settings",
            "MEP_VAR": str(folder),
            # Workloads are marked with the node's id: several installations may share one Docker.
            "MEP_NODE_NAME": str(node.pk),
            "MEP_CONSOLE_NAME": node.name,
            "MEP_ENGINE": engine,
            "MEP_ENGINE_SOCKET": self.socket,
            "MEP_HALT_ON_EXIT": "1",
            **{name: str(port) for name, port in settings.UP.edge_ports.items()},
        }
        if not _belongs(folder / "identity" / "identity.json", node):
            environment["MEP_JOIN"], _ = edge.join_string(node, actor=SYSTEM)
        return environment

    def _child(self, name: str, arguments: list[str], env: dict[str, str], **options: Any) -> None:
        self.supervisor.start(Child(name, [sys.executable, *arguments], env, self._log(name), **options))

    def _log(self, name: str) -> Path:
        return self.var / "log" / f"{name}.log"

    def _console(self) -> str:
        """Return the address of the edge node's own console; empty when there is none."""
        port = settings.UP.edge_ports["MEP_CONSOLE_PORT"]
        return f"https://127.0.0.1:{port}/" if self.node and port else ""

    def _ports(self) -> dict[str, tuple[str, int]]:
        edge_ports = {name: ("0.0.0.0", port) for name, port in settings.UP.edge_ports.items() if port}  # noqa: S104
        return {"BREAKWATER_WEB_PORT": (settings.WEB_BIND, settings.WEB_PORT), **edge_ports}

    def _wait_until_ready(self) -> None:
        """Return when pages are served, the node is online and its Mp1 answers; `Unavailable` tells what is missing."""
        deadline = time.monotonic() + _PATIENCE
        missing = ["web"]
        while missing and time.monotonic() < deadline:
            self.supervisor.watch()
            self._give_up_on_crashes()
            looks = {
                "web": self._web_answers,
                "worker": lambda: self._worker_takes_work,
                "node": self._node_is_online,
                "Mp1": self._mp1_answers,
                "console": self._console_answers,
            }
            missing = [name for name, works in looks.items() if not works()]
            time.sleep(0.2)
        if missing:
            raise Unavailable(
                f"After {_PATIENCE:.0f} s these do not work: {', '.join(missing)}; see {self.var / 'log'}"
            )

    def _give_up_on_crashes(self) -> None:
        """Raise `Unavailable` with the last words of a child that does not get off the ground."""
        for child in self.supervisor.children.values():
            if child.crashes >= _TRIES:
                last = child.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
                raise Unavailable(f"{child.name} does not start ({child.log}): {' | '.join(last)}")

    def _listen(self, name: str, line: str) -> None:
        # Celery has no cheaper sign of life on an embedded broker than the line it writes once it takes work.
        if name == "worker" and line.endswith(" ready."):
            self._worker_takes_work = True
        self._echo(name, line)

    def _web_answers(self) -> bool:
        host = "127.0.0.1" if settings.WEB_BIND in ("0.0.0.0", "::") else settings.WEB_BIND  # noqa: S104
        connection = http.client.HTTPConnection(host, settings.WEB_PORT, timeout=5)
        try:
            connection.request("GET", "/api/v1/edge/ca", headers={"Host": f"127.0.0.1:{settings.WEB_PORT}"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _mp1_answers(self) -> bool:
        return self.node is None or _listens(settings.UP.edge_ports["MEP_MP1_PORT"])

    def _console_answers(self) -> bool:
        return not self._console() or _listens(settings.UP.edge_ports["MEP_CONSOLE_PORT"])

    def _node_is_online(self) -> bool:
        if self.node is None:
            return True
        close_old_connections()
        return Node.objects.get(pk=self.node.pk).state == "online"

    # --- stop

    def stop(self) -> None:
        """End everything; afterwards no process, container or network of ours is left."""
        # The agent stops its applications when it ends, so the container engine goes last.
        self.supervisor.stop("web", "worker", "edge")
        if self.socket and self.node:
            with contextlib.suppress(OSError, ValueError):
                containers.remove_all(self.socket, f"io.breakwater.node={self.node.pk}")
        if "docker" in self.supervisor.children:
            self.docker.end()
        self.supervisor.stop()
        self.docker.clean_up()
        shutil.rmtree(self.scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.supervisor.run_dir.rmdir()


def web_server() -> list[str]:
    """Return the arguments of Python that serve the centre."""
    web = ["-m", "uvicorn", "mecm.asgi:application", "--workers", "1", "--log-level", "warning", "--no-access-log"]
    web += ["--host", settings.WEB_BIND, "--port", str(settings.WEB_PORT), "--timeout-graceful-shutdown", "3"]
    if settings.SECURE_PROXY_SSL_HEADER is None:
        # uvicorn believes X-Forwarded-For of whoever comes from this machine, and limits count by address.
        web += ["--no-proxy-headers"]
    # A frame of the edge link is small or compressed already; deflate would cost 40 kB a node.
    return [*web, "--ws-per-message-deflate", "false"]


def _listens(port: int) -> bool:
    """Tell whether somebody takes connections on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=3).close()
    except OSError:
        return False
    return True


def _belongs(identity: Path, node: Node) -> bool:
    """Tell whether the edge's identity is that of `node` and leads to us; one that does not is put away."""
    try:
        known = json.loads(identity.read_text())
    except (OSError, ValueError):
        return False
    if known.get("node_id") == str(node.pk) and known.get("base_url") == settings.PUBLIC_URL:
        return True
    identity.unlink()
    return False


def _every(seconds: float, look: Callable[[], bool]) -> Callable[[], bool]:
    """Return `look`, asked at most every so many seconds."""
    seen = {"at": time.monotonic(), "answer": True}

    def asked() -> bool:
        if time.monotonic() - float(seen["at"]) >= seconds:
            seen.update(answer=look(), at=time.monotonic())
        return bool(seen["answer"])

    return asked
