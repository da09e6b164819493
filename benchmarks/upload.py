"""Upload a large package to a real server: memory that the server grows by, and speed against `sha256sum` + `cp`.

    python benchmarks/upload.py [--size 2048] [--way raw|multipart]

Starts the centre in a folder of its own, uploads a file of random bytes through the API and removes everything again.
"""

from __future__ import annotations

import argparse
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 1 << 20

PREPARE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from core.accounts import services
from core.accounts.access import Actor
from core.accounts.models import User
actor = Actor(User.objects.create_user(username="bench", password=None))
organisation = services.found_organisation(slug="bench", name="Bench", actor=actor)
_, secret = services.issue_token(actor.user, name="bench", organisation=organisation, actor=Actor(actor.user))
print("TOKEN", secret)
"""


def main() -> int:
    """Measure and print; 1 when a promise is broken."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", type=int, default=2048, help="MiB")
    options.add_argument("--way", choices=("raw", "multipart"), default="raw")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--app", default="mecm.asgi:application", help="what uvicorn serves")
    asked = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="breakwater-upload-"))
    try:
        return measure(folder, asked.size, asked.way, asked.rounds, asked.app)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, size: int, way: str, rounds: int, app: str) -> int:
    """Run all of it in `folder`."""
    port = free_port()
    env = {**os.environ, "BREAKWATER_VAR": str(folder / "var"), "DJANGO_SETTINGS_MODULE": "mecm.settings"}
    env["BREAKWATER_LOG_LEVEL"] = "WARNING"
    prepared = subprocess.run(
        [sys.executable, "-c", PREPARE], cwd=ROOT, env=env, check=True, capture_output=True, text=True
    )
    token = next(line.split()[1] for line in prepared.stdout.splitlines() if line.startswith("TOKEN"))
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        wait_for(port)
        return compare(folder, size, way, rounds, port, token, server.pid)
    finally:
        server.terminate()
        server.wait(20)


def compare(folder: Path, size: int, way: str, rounds: int, port: int, token: str, pid: int) -> int:
    """Warm up, then measure both sides in turn and keep the best of each."""
    warm = folder / "warm"
    write_random(warm, 8)
    upload(port, token, warm, way)
    before = memory(pid)
    peak = Peak(pid)
    best_plain = best_upload = float("inf")
    source, copy = folder / "source", folder / "copy"
    for number in range(rounds):
        write_random(source, size)
        source.read_bytes() if size < 64 else read_through(source)
        started = time.perf_counter()
        subprocess.run(["sha256sum", source], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cp", source, copy], check=True)
        plain = time.perf_counter() - started
        copy.unlink()
        started = time.perf_counter()
        upload(port, token, source, way)
        took = time.perf_counter() - started
        best_plain, best_upload = min(best_plain, plain), min(best_upload, took)
        print(f"round {number + 1}: sha256sum + cp {plain:.2f} s, upload {took:.2f} s")
        source.unlink()
        for blob in (folder / "var" / "blobs" / "sha256").glob("*/*"):
            blob.unlink()
    grown = (peak.stop() - before) / 1024
    share = best_plain / best_upload
    print(f"{size} MiB, {way}: server {before / 1024:.0f} MiB, grew by {grown:.1f} MiB at most (promise: 64)")
    print(
        f"sha256sum + cp {size / best_plain:.0f} MiB/s, upload {size / best_upload:.0f} MiB/s: {share:.0%} (promise: 60 %)"
    )
    return 0 if grown <= 64 and share >= 0.6 else 1


def upload(port: int, token: str, path: Path, way: str) -> None:
    """POST the file as a person's script would, from disk in pieces."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"Authorization": f"Bearer {token}"}
    if way == "raw":
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        body = pieces(path)
    else:
        border = "breakwater-benchmark"
        head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="big.csar"\r\n\r\n'.encode()
        tail = f"\r\n--{border}--\r\n".encode()
        length = len(head) + path.stat().st_size + len(tail)
        headers |= {"Content-Type": f"multipart/form-data; boundary={border}", "Content-Length": str(length)}
        body = framed(head, path, tail)
    connection.request("POST", "/api/v1/packages?filename=big.csar", body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 201:
        raise SystemExit(f"the server answered {answer.status}: {text[:300]!r}")


def pieces(path: Path) -> Iterator[bytes]:
    """The file in chunks."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def framed(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    """The file inside a form."""
    yield head
    yield from pieces(path)
    yield tail


def write_random(path: Path, size: int) -> None:
    """A file of `size` MiB that nobody can compress."""
    with path.open("wb") as file:
        for _ in range(size):
            file.write(secrets.token_bytes(CHUNK))
        file.flush()
        os.fsync(file.fileno())


def read_through(path: Path) -> None:
    """Bring the file into the page cache, so that both sides read it from there."""
    for _ in pieces(path):
        pass


def memory(pid: int) -> int:
    """Resident KiB of the process and its children."""
    total = 0
    for process in [pid, *children(pid)]:
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return total


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Peak:
    """Watches the memory of a process ten times a second and remembers the most."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most = pid, memory(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, memory(self.pid))

    def stop(self) -> int:
        """Return the most that was seen, in KiB."""
        self._over.set()
        self._thread.join()
        return self.most


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Return once the server answers."""
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    raise SystemExit(main())
