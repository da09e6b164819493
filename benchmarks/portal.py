"""How fast the portal's pages are with 10,000 applications, 10,000 nodes and 100,000 instances.

    python tools/servers.py postgres -- python benchmarks/portal.py [--apps 10000] [--nodes 10000] [--each 10]
    python benchmarks/portal.py --nodes 1000 --apps 1000                      # SQLite, smaller

It fills an empty database (a tenth of the instances have a history of five generations; every node reported the state of its
MEP with twenty services and twenty rules; operations and an audit trail beside), starts the web process as
`manage.py up` does, and prints for each page: the time to the first byte over loopback, with a signed-in operator, each
request for another object (goal: p95 under 100 ms), and the queries that one page costs (goal: at most 12). Then Chromium
opens the public catalogue with an empty cache: when its first meaningful paint was, and what was sent in all
(goals: 1 s, 300 kB compressed).
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def main() -> None:
    """Fill, serve, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--apps", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=10, help="instances on one node")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--slow", type=float, default=0, help="print the statements that take longer than this many ms")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        url = f"http://127.0.0.1:{port}"
        os.environ |= {"BREAKWATER_VAR": folder, "BREAKWATER_PUBLIC_URL": url, "BREAKWATER_LOG_LEVEL": "ERROR"}
        os.environ["DJANGO_SETTINGS_MODULE"] = "mecm.settings"
        import django

        django.setup()
        measure(options, port, url)


def measure(options: argparse.Namespace, port: int, url: str) -> None:
    """Fill the database, then ask for each page."""
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    call_command("migrate", verbosity=0)
    call_command("pack_assets", verbosity=0)
    began = time.perf_counter()
    user, pages = fill(random.Random(5), options.apps, options.nodes, options.each)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    print(
        f"{connection.vendor}: {options.apps:,} applications, {options.nodes:,} nodes, {options.nodes * options.each:,} instances"
        f" (filled in {time.perf_counter() - began:.0f} s)"
    )
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    session = client.cookies["breakwater_session"].value
    queries = {}
    for name, address in pages.items():
        client.get(address(0))  # what a process reads once
        with CaptureQueriesContext(connection) as seen:
            assert client.get(address(1)).status_code == 200, address(1)
        queries[name] = len(seen)
        if options.slow:
            for query in seen.captured_queries:
                if float(query["time"]) * 1000 > options.slow:
                    print(f"    {name}: {query['time']} s {query['sql'][:1500]}")
    connection.close()
    command = [sys.executable, "-m", "uvicorn", "mecm.asgi:application", "--port", str(port), "--log-level", "error"]
    web = subprocess.Popen(command, cwd=ROOT, env=os.environ)
    try:
        answering(port)
        for name, address in pages.items():
            took = timed(options.requests, lambda number, address=address: first_byte(port, address(number), session))
            report(name, took, queries[name])
        paint(url)
    finally:
        web.terminate()
        web.wait(timeout=20)


def fill(dice: random.Random, apps: int, nodes: int, each: int) -> tuple[Any, dict[str, Callable[[int], str]]]:
    """Fill the database; return an operator, and for each page the address of its n-th object."""
    from django.utils import timezone

    from appstore.catalog import services as catalogue
    from appstore.packages import blobs
    from appstore.packages.models import Package
    from benchmarks.catalogue import entries, vocabulary, zipf
    from core.accounts.models import Membership, Organisation, User
    from core.audit.models import Entry
    from core.operations.models import Operation
    from mecm.deployments.models import Deployment, DeploymentRevision
    from mecm.edge.models import NodeSync, ReportedObject
    from mecm.nodes.models import Node

    now = timezone.now()
    organisation = Organisation.objects.create(slug="harbour", name="Harbour Telecom")
    user = User.objects.create_user(username="operator")
    Membership.objects.create(user=user, organisation=organisation, role="operator")
    words = vocabulary(dice, 20_000)
    digest, _ = blobs.store([b"a chart"])

    def package(number: int) -> Package:
        return Package(
            organisation=organisation, uploaded_by=user, filename=f"app-{number}.csar", sha256=f"{number:064x}", size=40_000,
            format="etsi", state="published", name=f"app-{number}", provider=f"Provider {number % 900}", version="1.0.0",
            description=" ".join(zipf(dice, words) for _ in range(15)), chart_sha256=digest, checked_at=now, published_at=now,
            compute={"cpu_millis": 250, "memory_bytes": 64 << 20},
            images=[{"name": f"app/{number}:1", "sha256": digest, "size": 9}],
            descriptor={"appName": f"app-{number}", "appSoftVersion": "1.0.0", "appDescription": "x" * 2000},
        )  # fmt: skip

    packages = Package.objects.bulk_create((package(number) for number in range(apps)), batch_size=1000)
    catalogue.put(entries(dice, words, apps, 1, organisation.pk), quiet=True)
    rows = [
        Node(
            organisation=organisation, name=f"node-{number:06}", engine="docker", cpu_millis=8000, memory_bytes=16 << 30,
            latitude=dice.uniform(-60, 70), longitude=dice.uniform(-180, 180), enrolled_at=now,
            labels={"region": f"r{number % 40}"}, facts={"cpus": 8, "kernel": "6.1", "text": "x" * 500},
            last_seen_at=now - timedelta(hours=3) if number % 50 == 0 else now + timedelta(hours=1),
        )
        for number in range(nodes)
    ]  # fmt: skip
    Node.objects.bulk_create(rows, batch_size=1000)
    NodeSync.objects.bulk_create((NodeSync(node=node, last_rev=12, acked_rev=12) for node in rows), batch_size=2000)
    mep = {
        "services": [
            {"serInstanceId": str(uuid.UUID(int=n)), "serName": f"service-{n}", "state": "ACTIVE", "version": "1.0"}
            for n in range(20)
        ],
        "traffic_rules": [
            {
                "trafficRuleId": f"tr-{n}", "filterType": "FLOW", "priority": n + 1, "state": "ACTIVE", "action": "DROP",
                "trafficFilter": [{"dstAddress": [f"192.0.2.{n}/32"]}],
            }
            for n in range(20)
        ],
        "dns_rules": [
            {"dnsRuleId": f"d-{n}", "domainName": f"a{n}.example", "ipAddress": "192.0.2.9", "state": "ACTIVE"}
            for n in range(20)
        ],
    }  # fmt: skip
    ReportedObject.objects.bulk_create(
        (ReportedObject(node=node, kind="mep", key="state", status=mep) for node in rows), batch_size=500
    )
    instances: list[Deployment] = []
    for node in rows:
        for number in range(each):
            generation = 5 if number == 0 else 1
            instances.append(
                Deployment(
                    organisation=organisation, node=node, package=dice.choice(packages), name=f"app-{number}",
                    namespace="t-harbour", generation=generation, observed_generation=generation, requested_by=user,
                    state=("failed" if len(instances) % 200 == 7 else "ready"), values={"replicas": number},
                    cpu_millis=250, memory_bytes=64 << 20,
                    workloads=[{"kind": "Deployment", "name": "web", "ready": 1, "wanted": 1}],
                    endpoints=[], reported_at=now,
                )
            )  # fmt: skip
    Deployment.objects.bulk_create(instances, batch_size=2000)
    DeploymentRevision.objects.bulk_create(
        (
            DeploymentRevision(
                deployment=one, generation=n, action="upgrade" if n > 1 else "install", package=one.package, outcome="ready"
            )
            for one in instances
            for n in range(1, one.generation + 1)
        ),
        batch_size=2000,
    )  # fmt: skip
    some = instances[:: max(1, len(instances) // 50_000)]
    Operation.objects.bulk_create(
        (
            Operation(
                kind="deployment.apply",
                target=f"deployment:{one.pk}",
                state="succeeded",
                organisation_id=organisation.pk,
            )
            for one in some
        ),
        batch_size=2000,
    )
    Entry.objects.bulk_create(
        (
            Entry(
                actor="operator", organisation_id=organisation.pk, action="deployment.install", object_type="deployment",
                object_id=str(one.pk), object_name=one.name,
            )
            for one in some
        ),
        batch_size=2000,
    )  # fmt: skip

    def of(objects: list[Any], before: str, after: str = "") -> Callable[[int], str]:
        return lambda number: f"{before}{objects[number * 7919 % len(objects)].pk}{after}"

    return user, {
        "catalogue": lambda number: "/" if number % 2 else f"/?q={words[number % 300]}&category=IoT",
        "node": of(rows, "/nodes/"),
        "node, its live part": of(rows, "/nodes/", "/live"),
        "deployment": of(instances, "/deployments/"),
        "deployment with a history": of(instances[::each], "/deployments/"),
        "deployment, its live part": of(instances, "/deployments/", "/live"),
        "release": of(packages, "/packages/"),
        "nodes": lambda number: f"/nodes?page={number % 100 + 1}",
        "nodes, searched": lambda number: f"/nodes?q=node-00{number % 100:02}",
        "deployments": lambda number: f"/deployments?page={number % 100 + 1}",
        "deployments, failed ones": lambda _: "/deployments?state=failed",
        "packages": lambda number: f"/packages?page={number % 100 + 1}",
        "operations": lambda _: "/operations",
        "audit": lambda _: "/audit",
        "dashboard": lambda _: "/fleet",
        "map": lambda _: "/map",
        "palette": lambda number: f"/search?q=app-{number}",
    }


def timed(count: int, ask: Callable[[int], float]) -> list[float]:
    """Return the seconds of that many requests, after ten that nobody counts."""
    for number in range(10):
        ask(number)
    return [ask(number + 10) for number in range(count)]


def first_byte(port: int, path: str, session: str) -> float:
    """Return the seconds from the request until the first byte of the answer is there."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.connect()
    began = time.perf_counter()
    line.request("GET", path, headers={"Cookie": f"breakwater_session={session}", "Accept-Encoding": "gzip"})
    answer = line.getresponse()
    took = time.perf_counter() - began
    answer.read()
    line.close()
    assert answer.status == 200, f"{path} answered {answer.status}"
    return took


def report(name: str, seconds: list[float], queries: int) -> None:
    """Print one page."""
    ranked = statistics.quantiles(seconds, n=100)
    p95 = ranked[94] * 1000
    verdict = "goal met" if p95 < 100 and queries <= 12 else "GOAL MISSED"
    print(
        f"{name:28} p50 {ranked[49] * 1000:6.1f} ms  p95 {p95:6.1f} ms  longest {max(seconds) * 1000:6.1f} ms"
        f"  {queries:2} queries  {verdict}"
    )


def paint(url: str) -> None:
    """Open the catalogue as a visitor with an empty cache, five times, and print its first meaningful paint and weight."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no Chromium on this machine; install the package chromium")
    from playwright.sync_api import sync_playwright

    times, weights = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            sent: list[float] = []
            tools = context.new_cdp_session(page)
            tools.send("Network.enable")
            tools.on("Network.loadingFinished", lambda event, sent=sent: sent.append(event["encodedDataLength"]))
            page.add_init_script(
                "new PerformanceObserver(list => { for (const entry of list.getEntries()) window.painted = entry.startTime; })"
                ".observe({ type: 'largest-contentful-paint', buffered: true });"
            )
            page.goto(f"{url}/", wait_until="load")
            page.wait_for_timeout(1500)
            times.append(page.evaluate("window.painted") / 1000)
            weights.append(sum(sent) / 1000)
            context.close()
        browser.close()
    slowest, heaviest = max(times), max(weights)
    print(
        f"catalogue, cold cache: largest contentful paint median {statistics.median(times):.2f} s, worst {slowest:.2f} s "
        f"({'goal met' if slowest < 1 else 'GOAL MISSED'}: 1 s); {heaviest:.0f} kB in all "
        f"({'goal met' if heaviest <= 300 else 'GOAL MISSED'}: 300 kB)"
    )


def answering(port: int) -> None:
    """Return when the web process answers."""
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("the web process does not answer")


if __name__ == "__main__":
    main()
