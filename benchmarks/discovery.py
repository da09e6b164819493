"""How fast discovery is: GET /services?ser_name=... with 20 of 1,000 services, token checked, ETag, one core.

    python benchmarks/discovery.py [--seconds 5] [--connections 32]

Needs `wrk` and `taskset`, and two cores: the server is pinned to one, wrk to the other. In one run, under the same
uvicorn, it measures a bare ASGI callable that sends the same constant bytes (less work than any framework), our
fast path, the fast path while another process changes ten services a second, the fast path over TLS, and the
ordinary Django view. Everything is on loopback and in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAMES, EACH = 50, 20
QUERY = "/mec_service_mgmt/v1/services?ser_name=svc-07"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed: apt-get install {'wrk' if tool == 'wrk' else 'util-linux'}")
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        token = populate(Path(folder))
        run(Path(folder), token, options)


def populate(folder: Path) -> str:
    """Fill a database with 1,000 services and return an access token."""
    os.environ.update(MEP_VAR=str(folder), DJANGO_SETTINGS_MODULE="mep.settings")
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.db import transaction

    from mep.mp1 import catalogue, database, services, tls, tokens
    from mep.mp1.models import App

    database.prepare()
    tls.ensure()
    services.provision("producer", app_name="producer")
    services.confirm_ready("producer")
    app = App.objects.get()
    django.conf.settings.MAX_SERVICES_PER_APP = NAMES * EACH
    with transaction.atomic():
        for number in range(NAMES * EACH):
            catalogue.register(app, service_info(number))
    (folder / "body").write_bytes(constant())
    return tokens.issue(app)


def service_info(number: int) -> dict[str, Any]:
    """Return a service of about 700 bytes."""
    return {
        "serName": f"svc-{number % NAMES:02}",
        "serCategory": {"href": "/catalogue/rni", "id": "id12345", "name": "RNI", "version": "v2"},
        "version": "2.2.1",
        "state": "ACTIVE",
        "serializer": "JSON",
        "scopeOfLocality": "MEC_SYSTEM",
        "transportInfo": {
            "id": f"transport-{number}",
            "name": "REST",
            "description": "REST API over HTTP",
            "type": "REST_HTTP",
            "protocol": "HTTP",
            "version": "2.0",
            "endpoint": {"uris": [f"https://10.0.{number // 250}.{number % 250}:8080/sandbox/rni/v2/"]},
            "security": {"oAuth2Info": {"grantTypes": ["OAUTH2_CLIENT_CREDENTIALS"], "tokenEndpoint": "https://mep:8443/mep/token"}},
        },
    }  # fmt: skip


def constant() -> bytes:
    """Return the bytes that the query is answered with."""
    from mep.mp1.discovery import Offer, Query, render
    from mep.mp1.models import Service

    wanted = Query.read(QUERY.partition("?")[2])
    return render(
        (offer for row in Service.objects.all() if wanted.wants(offer := Offer.of(row))), "https://127.0.0.1:1"
    )


def run(folder: Path, token: str, options: argparse.Namespace) -> None:
    """Start each server in turn and load it."""
    size = (folder / "body").stat().st_size
    print(
        f"{EACH} of {NAMES * EACH} services, {size:,} B a body, {options.connections} connections, {options.seconds} s each"
    )
    print(f"{'':44}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'us CPU/req':>12}")
    rows = [
        ("bare ASGI callable, constant bytes", "benchmarks.discovery:bare", False, False),
        ("fast path, token and ETag", "mep.asgi:application", False, False),
        ("fast path, 10 writes/s of another process", "mep.asgi:application", False, True),
        ("fast path over TLS 1.3", "mep.asgi:application", True, False),
        ("ordinary Django view in threads", "benchmarks.discovery:ordinary", False, False),
    ]
    rates = {}
    for label, target, tls, writes in rows:
        rates[label] = measure(folder, token, options, label, target, tls, writes)
    first, second, third = (rates[row[0]] for row in rows[:3])
    print(f"fast path / bare callable: {second / first:.2f}; with writes / without: {third / second:.2f}")


def measure(
    folder: Path, token: str, options: argparse.Namespace, label: str, target: str, tls: bool, writes: bool
) -> float:
    """Load one server and print a row."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["taskset", "-c", "0", sys.executable, "-m", "uvicorn", target, "--port", str(port), "--lifespan", "off",
               "--no-access-log", "--log-level", "warning", "--no-server-header"]  # fmt: skip
    if tls:
        command += ["--ssl-certfile", str(folder / "tls/server.pem"), "--ssl-keyfile", str(folder / "tls/server.key")]
    environment = {**os.environ, "BENCH_BODY": str(folder / "body")}
    server = subprocess.Popen(command, cwd=ROOT, env=environment)
    writer = None
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        if writes:
            writer = start_writer(environment)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{QUERY}"
        load(url, token, options.connections, 1)
        before, began = cpu(server.pid), time.monotonic()
        found = load(url, token, options.connections, options.seconds)
        spent, took = cpu(server.pid) - before, time.monotonic() - began
    finally:
        for process in (writer, server):
            if process is not None:
                process.send_signal(signal.SIGKILL)
                process.wait()
    rate, p50, p99, bad = found
    print(
        f"{label:44}{rate:12,.0f}{p50:9.2f}{p99:9.2f}{spent / took / rate * 1e6:12.1f}{'  NOT ALL 200' if bad else ''}"
    )
    return rate


def load(url: str, token: str, connections: int, seconds: int) -> tuple[float, float, float, bool]:
    """Return requests per second, p50 and p99 in ms, and whether any answer was no success."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-H", f"Authorization: Bearer {token}", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    return rate, latency(out, "50%"), latency(out, "99%"), "Non-2xx" in out


def latency(out: str, quantile: str) -> float:
    """Return a latency of wrk's report in milliseconds."""
    number, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_writer(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that changes ten services a second."""
    code = (
        "import django, time; django.setup()\n"
        "from mep.mp1 import catalogue\n"
        "from mep.mp1.models import Service\n"
        "ids = list(Service.objects.values_list('pk', flat=True))\n"
        "turn = 0\n"
        "while True:\n"
        "    one = Service.objects.get(pk=ids[turn % len(ids)]); turn += 37\n"
        "    catalogue.set_states([one], 'INACTIVE' if one.state == 'ACTIVE' else 'ACTIVE')\n"
        "    time.sleep(0.1)\n"
    )
    return subprocess.Popen(["taskset", "-c", "1", sys.executable, "-c", code], cwd=ROOT, env=environment)


_BODY = Path(os.environ["BENCH_BODY"]).read_bytes() if "BENCH_BODY" in os.environ else b""
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Send the constant bytes: what the server itself can do."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def ordinary(scope: Any, receive: Any, send: Any) -> None:
    """The same application without its fast path."""
    import mep.asgi

    mep.asgi.application.fast.paths = {}
    await mep.asgi.application(scope, receive, send)


if __name__ == "__main__":
    main()
