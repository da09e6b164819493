"""How fast discovery is: GET /services?ser_name=... with 20 services of about 700 B, token checked, ETag, one core.

    python benchmarks/discovery.py [--seconds 2] [--rounds 5] [--connections 32] [--starlette FOLDER]

Needs `wrk` and `taskset`, and two cores: servers are pinned to one, wrk (and whoever writes) to the other. Starlette
is no dependency of ours: it is installed into a temporary folder with `pip --target`, or found in the given one.

Compared are servers that run at the same time and are loaded in turn, a slice each, so that what else the machine
does hits both; printed are the best slice of each, the CPU per request of the thriftiest one, and the median of the
ratios. Every server is uvicorn with the settings and protocol classes of `manage.py mp1`; the MEP answers what its
fast path knows from the protocol itself, without a task, which Starlette cannot ask for. TLS is off for both where
the label does not say otherwise. The limit per app is set above what one core can do, so it is counted but refuses
nothing. Everything is on loopback and in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EACH = 20
QUERY = "/mec_service_mgmt/v1/services?ser_name=svc-007"
LABEL = 46


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=2, help="length of a slice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--starlette", type=Path, help="folder that Starlette is installed in")
    parser.add_argument("--serve", nargs=2, metavar=("TARGET", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--tls", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve, options.tls)
        return
    for tool in ("wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed: apt-get install {'wrk' if tool == 'wrk' else 'util-linux'}")
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as name:
        folder = Path(name)
        starlette = options.starlette or install_starlette(folder / "starlette")
        print(f"{options.connections} connections, {options.rounds} slices of {options.seconds} s for each server")
        print(f"{'':{LABEL}}{'requests/s':>11}{'p50 ms':>8}{'p99 ms':>8}{'us CPU/req':>12}")
        against_starlette(folder / "small", starlette, options)
        with_writes(folder / "large", options)


def install_starlette(folder: Path) -> Path:
    """Install Starlette where nothing else will find it."""
    print("installing Starlette into a temporary folder")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(folder), "starlette"],
        check=True,
    )  # fmt: skip
    return folder


# --- what is measured --------------------------------------------------------------------------------------------------------


def against_starlette(folder: Path, starlette: Path, options: argparse.Namespace) -> None:
    """1,000 services: our fast path, and Starlette sending the same constant bytes."""
    environment, token = populate(folder, 1000)
    environment["BENCH_BODY"] = str(folder / "body")
    with (
        server("benchmarks.discovery:starlette", {**environment, "PYTHONPATH": str(starlette)}) as theirs,
        server("mep.asgi:application", environment) as ours,
        server("mep.asgi:application", environment, tls=True) as secure,
        server("benchmarks.discovery:ordinary", environment) as view,
    ):
        rows = [
            Row("Starlette, constant bytes, no token", theirs),
            Row("MEP, token checked, ETag", ours),
            Row("MEP over TLS 1.3", secure),
            Row("MEP without its fast path: Django in threads", view),
        ]
        for row in rows:
            ask(row.server.url, token)
        for _ in range(options.rounds):
            for row in rows:
                row.slice(token, options)
        for row in rows:
            row.print()
    ratio = median(mine / yours for mine, yours in zip(rows[1].rates, rows[0].rates, strict=True))
    goal(f"MEP / Starlette {ratio:.2f}", ratio >= 1, "at least 1")
    print(
        f"  by CPU per request, which other load on the machine changes less: {thrift(rows[0]) / thrift(rows[1]):.2f}"
    )
    goal(f"p99 {rows[1].p99:.2f} ms at {options.connections} connections", rows[1].p99 < 5, "under 5 ms")


def with_writes(folder: Path, options: argparse.Namespace) -> None:
    """10,000 services: reads while another process changes ten services a second, and while it does not."""
    environment, token = populate(folder, 10_000)
    with server("mep.asgi:application", environment) as ours, writing(environment) as writer:
        quiet, busy = Row("10,000 services, no writes", ours), Row("10,000 services, 10 writes/s elsewhere", ours)
        writer.send_signal(signal.SIGSTOP)
        ask(ours.url, token)
        for _ in range(options.rounds):
            writer.send_signal(signal.SIGSTOP)
            quiet.slice(token, options)
            writer.send_signal(signal.SIGCONT)
            busy.slice(token, options)
        quiet.print()
        busy.print()
    loss = 1 - median(with_them / without for with_them, without in zip(busy.rates, quiet.rates, strict=True))
    goal(f"reads lose {loss:.1%} to the writes", loss < 0.2, "less than 20 %")
    print(f"  by CPU per request: {1 - thrift(quiet) / thrift(busy):.1%}")


def thrift(row: Row) -> float:
    """Return the CPU per request in microseconds, of the slice that was disturbed least."""
    return min(row.costs)


def goal(found: str, reached: bool, wanted: str) -> None:
    """Print a figure against its goal."""
    print(f"  {found}; goal: {wanted}: {'reached' if reached else 'MISSED'}")


# --- servers, and what loads them --------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A server process and where it listens."""

    pid: int
    url: str


@dataclass
class Row:
    """What was measured of one server."""

    label: str
    server: Running
    rates: list[float] = field(default_factory=list)
    halves: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    bad: bool = False

    def slice(self, token: str, options: argparse.Namespace) -> None:
        """Load the server for one slice."""
        before = cpu(self.server.pid)
        rate, p50, p99, bad = load(self.server.url, token, options.connections, options.seconds)
        self.costs.append((cpu(self.server.pid) - before) / max(rate * options.seconds, 1) * 1e6)
        self.rates.append(rate)
        self.halves.append(p50)
        self.tails.append(p99)
        self.bad |= bad

    @property
    def p99(self) -> float:
        """The least p99 of a slice: the others were somebody else's."""
        return min(self.tails)

    def print(self) -> None:
        """Print the row."""
        print(
            f"{self.label:{LABEL}}{max(self.rates):11,.0f}{min(self.halves):8.2f}{self.p99:8.2f}{thrift(self):12.1f}"
            f"{'  NOT ALL 200' if self.bad else ''}"
        )


@contextmanager
def server(target: str, environment: dict[str, str], tls: bool = False) -> Iterator[Running]:
    """Start a server on core 0 and lend it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["taskset", "-c", "0", sys.executable, __file__, "--serve", target, str(port)]
    process = subprocess.Popen([*command, "--tls"] if tls else command, cwd=ROOT, env=environment)
    try:
        while True:
            if process.poll() is not None:
                sys.exit(f"{target} does not start")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Running(process.pid, f"{'https' if tls else 'http'}://127.0.0.1:{port}{QUERY}")
    finally:
        process.kill()
        process.wait()


def serve(target: str, port: str, tls: bool) -> None:
    """Be a server, with the settings of `manage.py mp1`."""
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from importlib import import_module

    import uvicorn

    from mep.mp1 import server as mp1
    from mep.mp1 import tls as certificates

    context = certificates.context(certificates.ensure())
    module, _, name = target.partition(":")
    found = getattr(import_module(module), name)
    config = mp1.config(found() if module == "benchmarks.discovery" else found, context, port=int(port))
    if not tls:
        config.ssl_context_factory = None
    uvicorn.Server(config).run()


def load(url: str, token: str, connections: int, seconds: int) -> tuple[float, float, float, bool]:
    """Return requests per second, p50 and p99 in ms, and whether any answer was no success."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-H", f"Authorization: Bearer {token}", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    return rate, latency(out, "50%"), latency(out, "99%"), "Non-2xx" in out


def ask(url: str, token: str) -> None:
    """Ask once, because the first answer waits until the catalogue is read."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=120, context=ssl._create_unverified_context()) as answer:
        answer.read()


def latency(out: str, quantile: str) -> float:
    """Return a latency of wrk's report in milliseconds."""
    number, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- what there is to discover -----------------------------------------------------------------------------------------------


def populate(folder: Path, services: int) -> tuple[dict[str, str], str]:
    """Fill a database with that many services; return the environment of its processes and an access token."""
    folder.mkdir()
    environment = {
        **os.environ, "MEP_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "mep.settings", "MEP_RATE_PER_APP": "1000000",
        "MEP_RATE_BURST": "1000000", "MEP_LOG_LEVEL": "ERROR", "MEP_MAX_SERVICES_PER_APP": str(services + 1000),
    }  # fmt: skip
    made = subprocess.run(
        [sys.executable, "-c", _POPULATE, str(services), str(folder / "body")],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return environment, made.stdout.strip()


_POPULATE = """
import sys, django
django.setup()
from pathlib import Path
from django.db import transaction
from benchmarks.discovery import QUERY, service_info
from mep.mp1 import catalogue, database, locality, services, tls, tokens
from mep.mp1.discovery import Offer, Query, render
from mep.mp1.models import App, Service, new_id
count = int(sys.argv[1])
database.prepare()
tls.ensure()
services.provision("producer", app_name="producer")
services.confirm_ready("producer")
app = App.objects.get()
first = catalogue.register(app, service_info(0, count))
def like(number):
    info = service_info(number, count)
    one = Service.objects.get(pk=first.pk)
    one.pk, one.name, one.transport = new_id(), info["serName"], info["transportInfo"]
    one.created_at += number / 1e6
    return one
Service.objects.bulk_create([like(number) for number in range(1, count)])
wanted, near = Query.read(QUERY.partition("?")[2]), locality.EVERYWHERE
found = [offer for offer in map(Offer.of, Service.objects.all()) if wanted.wants(offer, near)]
Path(sys.argv[2]).write_bytes(render(found, "https://127.0.0.1:1", near))
print(tokens.issue(app))
"""


def service_info(number: int, of: int) -> dict[str, Any]:
    """Return a service of about 700 bytes; `EACH` of them share a name."""
    return {
        "serName": f"svc-{number % (of // EACH):03}",
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
            "endpoint": {"uris": [f"https://10.{number >> 16}.{number >> 8 & 255}.{number & 255}:8080/sandbox/rni/v2/"]},
            "security": {"oAuth2Info": {"grantTypes": ["OAUTH2_CLIENT_CREDENTIALS"], "tokenEndpoint": "https://mep:8443/mep/token"}},
        },
    }  # fmt: skip


@contextmanager
def writing(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Lend a process that writes ten times a second: states, registrations and removals, all over the names."""
    process = subprocess.Popen(["taskset", "-c", "1", sys.executable, "-c", _WRITER], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


_WRITER = """
import django, time
django.setup()
from benchmarks.discovery import service_info
from mep.mp1 import catalogue
from mep.mp1.models import App, Service
app = App.objects.get()
ids = list(Service.objects.values_list("pk", flat=True))
turn, due = 0, time.monotonic()
while True:
    turn += 1
    if turn % 5 == 0:
        new = catalogue.register(app, service_info(turn * 37, len(ids)))
    elif turn % 5 == 1 and turn > 1:
        catalogue.remove(app, new.pk)
    else:
        one = Service.objects.get(pk=ids[turn * 37 % len(ids)])
        catalogue.set_states([one], "INACTIVE" if one.state == "ACTIVE" else "ACTIVE")
    due = max(due + 0.1, time.monotonic() - 0.1)
    time.sleep(max(0.0, due - time.monotonic()))
"""


# --- the other servers -------------------------------------------------------------------------------------------------------


def starlette() -> Any:
    """Return a Starlette application that sends the constant bytes."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    body = Path(os.environ["BENCH_BODY"]).read_bytes()

    async def services(request: Any) -> Any:
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route(QUERY.partition("?")[0], services)])


def ordinary() -> Any:
    """Return the MEP without its fast path."""
    import mep.asgi

    mep.asgi.application.fast.paths = {}
    return mep.asgi.application


if __name__ == "__main__":
    main()
