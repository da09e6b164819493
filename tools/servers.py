"""PostgreSQL and Redis of our own, on 127.0.0.1 and for as long as a command runs; in temporary folders, gone afterwards.

    python tools/servers.py postgres redis -- make test

The command finds them as BREAKWATER_DATABASE_URL and BREAKWATER_BROKER_URL.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_SECONDS = 60.0


def find_postgres() -> Path | None:
    """Return the folder with PostgreSQL's programs; Debian keeps them off the path, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL; yield the URL of an empty database. Nothing survives a crash, so it is fast."""
    programs = find_postgres()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="breakwater-postgres-"))
    # PostgreSQL refuses to run as root.
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    password, port = secrets.token_urlsafe(16), free_port()
    (folder / "password").write_text(password)
    if user:
        os.chown(folder / "password", user.pw_uid, user.pw_gid)
    try:
        make = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "breakwater", "-E", "UTF8", "--locale=C"]
        make += ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        done = subprocess.run(make, capture_output=True, text=True, cwd=folder, check=False, **options)  # type: ignore[call-overload]
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr[-500:]}")
        run = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        for setting in ("listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "max_connections=200"):
            run += ["-c", setting]
        with _running(run, folder, lambda: _listens(port), signal.SIGINT, **options):
            address = f"breakwater:{password}@127.0.0.1:{port}"
            create = [str(programs / "psql"), "-q", "-c", "CREATE DATABASE breakwater"]
            _retry([*create, f"postgres://{address}/postgres"])
            yield f"postgres://{address}/breakwater"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis; yield its URL."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise RuntimeError("Redis is not installed (apt-get install redis-server)")
    folder, port = Path(tempfile.mkdtemp(prefix="breakwater-redis-")), free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    try:
        with _running([*command, "--save", "", "--appendonly", "no"], folder, lambda: _listens(port), signal.SIGTERM):
            yield f"redis://127.0.0.1:{port}/0"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


SERVERS = {"postgres": ("BREAKWATER_DATABASE_URL", postgres), "redis": ("BREAKWATER_BROKER_URL", redis)}


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path, up: Callable[[], bool], stop: signal.Signals, **options: object
) -> Iterator[None]:
    """Run a server while the block lasts."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **options)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + _SECONDS
        while not up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _retry(command: list[str]) -> None:
    """Run a command until it works: a server that listens may still be starting."""
    deadline = time.monotonic() + _SECONDS
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("servers", nargs="+", choices=sorted(SERVERS))
    if "--" not in sys.argv:
        parser.error("give the command after --")
    cut = sys.argv.index("--")
    wanted, command = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    environment = dict(os.environ)
    with contextlib.ExitStack() as stack:
        for name in wanted.servers:
            variable, start = SERVERS[name]
            environment[variable] = stack.enter_context(start())
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
