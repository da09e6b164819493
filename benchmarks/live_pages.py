"""How soon a change at a node is seen in open pages, and what open pages cost the web process.

    python benchmarks/live_pages.py [--pages 200] [--changes 20]
    python tools/servers.py postgres -- python benchmarks/live_pages.py --keep-database

It fills a database of its own (SQLite in a temporary folder, or the empty one of BREAKWATER_DATABASE_URL with
`--keep-database`), starts the web process as `make run` does, and opens pages: a quarter each of nodes' pages, deployments'
pages, dashboards and maps. Each does what `live.js` and the map do: it holds the event stream, and fetches its part anew
when it is told to. One of them is a real page in Chromium. Another process then takes in reports, as the edge link does
(`mecm.edge.reports.take`). Printed are the times from the commit of a report until the new text is in every page that
shows the deployment or its node; requests and CPU seconds of the web process; and its memory (PSS), threads and
connections by open page. The goal: 95 of 100 under 2 s with 200 pages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx

from benchmarks.discovery import ROOT, goal
from benchmarks.map import FLAGS, run, wait_for
from tests import databases

SEED = """
import json
from django.test import Client
from django.utils import timezone
from appstore.packages.models import Package
from core.accounts.models import Membership, Organisation, User
from mecm.deployments.models import Deployment, DeploymentRevision
from mecm.edge.models import NodeSync
from mecm.nodes.models import Node
organisation = Organisation.objects.create(slug="harbour", name="Harbour Telecom")
user = User.objects.create_user(username="operator")
Membership.objects.create(user=user, organisation=organisation, role="operator")
package = Package.objects.create(organisation=organisation, uploaded_by=user, filename="a.csar", sha256="0" * 64, size=1,
    state="published", name="camera", version="1.0.0",
    published_at=timezone.now())
now, told = timezone.now(), []
for number in range(NODES):
    node = Node.objects.create(organisation=organisation, name=f"berth-{number:03}", engine="docker", cpu_millis=8000,
        memory_bytes=16 << 30, latitude=50 + number / 10, longitude=10 + number / 10, enrolled_at=now,
        last_seen_at=now + timezone.timedelta(hours=1))
    NodeSync.objects.create(node=node)
    deployment = Deployment.objects.create(organisation=organisation, node=node, package=package, name=f"camera-{number:03}",
        namespace="t-harbour", cpu_millis=100, memory_bytes=1 << 20)
    DeploymentRevision.objects.create(deployment=deployment, generation=1, package=package, action="deploy")
    told.append([str(node.pk), str(deployment.pk), deployment.name])
sessions = []
for number in range(SESSIONS):
    client = Client()
    client.force_login(user)
    sessions.append(client.cookies["breakwater_session"].value)
print("seeded", json.dumps({"nodes": told, "sessions": sessions}))
"""

#: The other process: takes in one report for each line that it reads, and says when it is committed.
REPORTER = """
import json, sys, time
import django
django.setup()
from mecm.edge import reports
from mecm.nodes.models import Node
print("ready", flush=True)
seq = 0
for line in sys.stdin:
    asked = json.loads(line)
    seq += 1
    node = Node.objects.get(pk=asked["node"])
    status = {"state": asked["state"], "reason": "", "message": asked["text"], "workloads": [
        {"kind": "Deployment", "name": "camera", "state": asked["state"], "wanted": 1, "ready": 1}]}
    item = {"kind": "app", "key": asked["key"], "seq": seq, "observed_generation": 1, "status": status}
    taken = reports.take(node, asked["outbox"], seq, [item])
    print(json.dumps({"at": time.time(), "taken": taken}), flush=True)
"""
GATHER, SPREAD = 0.2, 0.25
#: Seconds for which changes are made: on a busy machine there are fewer of them.
LONGEST = 45.0


@dataclass
class Page:
    """One open page: its stream, the part that it fetches, and when it showed what."""

    kind: str
    number: int
    stream: str
    part: str
    session: str
    told: int = 0
    fetched: int = 0
    text: str = ""
    state: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self, client: httpx.AsyncClient) -> None:
        """Hold the stream and fetch the part when it says so, as the scripts of the page do."""
        headers = {"Accept": "text/event-stream"}
        fetching: asyncio.Task[None] | None = None
        cookies = {"Cookie": f"breakwater_session={self.session}"}
        if self.kind == "map":
            whole = (await client.get("/api/v1/map/nodes", headers=cookies)).json()
            self.stream += f"?since={whole['version']}"
            self.opened.set()
        async with client.stream("GET", self.stream, headers=headers | cookies, timeout=None) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                self.told += 1
                self.state = json.loads(line[6:]).get("state", "")
                if self.kind == "map":
                    # The stream of the map brings the change itself.
                    self.show(line)
                elif line != "data: {}" and (fetching is None or fetching.done()):
                    fetching = asyncio.create_task(self.fetch(client, cookies))

    async def fetch(self, client: httpx.AsyncClient, cookies: dict[str, str]) -> None:
        """Fetch the part after the time in which news is gathered."""
        await asyncio.sleep(GATHER + random.uniform(0, SPREAD))
        own = {"HX-Request": "true"} | ({"Live-State": self.state} if re.fullmatch("[0-9a-f]{16}", self.state) else {})
        answer = await client.get(self.part, headers=cookies | own, timeout=60)
        answer.raise_for_status()
        self.fetched += 1
        self.show(answer.text)

    def show(self, text: str) -> None:
        """Take what the page shows now."""
        self.text = text
        self.opened.set()
        self.changed.set()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=25)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between changes")
    parser.add_argument("--keep-database", action="store_true", help="use the empty one of BREAKWATER_DATABASE_URL")
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Fill, serve, open, change, and say what was seen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    database = os.environ.get("BREAKWATER_DATABASE_URL", "")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")}
    environment = kept | {
        "BREAKWATER_VAR": str(folder),
        "BREAKWATER_PUBLIC_URL": url,
        "DJANGO_SETTINGS_MODULE": "mecm.settings",
        "BREAKWATER_LOG_LEVEL": "WARNING",
    }
    if options.keep_database and database:
        environment["BREAKWATER_DATABASE_URL"] = database
    if "BREAKWATER_DATABASE_URL" in environment:
        run("migrate", "-v", "0", environment=environment)
    else:
        databases.fresh("centre", folder / "centre.sqlite3")
    seed = SEED.replace("NODES", str(options.nodes)).replace("SESSIONS", str(max(1, options.pages // 5)))
    seeded = json.loads(run("shell", "-v", "0", "-c", seed, environment=environment).split("seeded ")[-1])
    web = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "mecm.asgi:application", "--port", str(port), "--log-level", "error"],
        cwd=ROOT,
        env=environment,
    )
    reporter = subprocess.Popen(
        [sys.executable, "-c", REPORTER],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(f"{url}/sign-in")
        assert reporter.stdout is not None
        reporter.stdout.readline()
        asyncio.run(look(options, url, seeded, web.pid, reporter))
    finally:
        reporter.kill()
        reporter.wait()
        web.terminate()
        try:
            web.wait(timeout=8)
        except subprocess.TimeoutExpired:
            web.kill()
            web.wait()


def pages_of(options: argparse.Namespace, seeded: dict[str, Any]) -> list[Page]:
    """Return the pages, a quarter of each kind, spread over the nodes."""
    made = []
    for number in range(options.pages):
        kind = ("node", "deployment", "fleet", "map")[number % 4]
        place = number // 4 % len(seeded["nodes"])
        node, deployment, _ = seeded["nodes"][place]
        stream, part = {
            "node": (f"/api/v1/nodes/{node}/stream", f"/nodes/{node}/live"),
            "deployment": (f"/api/v1/deployments/{deployment}/stream", f"/deployments/{deployment}/live"),
            "fleet": ("/api/v1/fleet/stream?organisation=harbour", "/fleet"),
            "map": ("/api/v1/map/nodes/stream", "/api/v1/map/nodes"),
        }[kind]
        made.append(Page(kind, place, stream, part, seeded["sessions"][number % len(seeded["sessions"])]))
    return made


async def look(options: argparse.Namespace, url: str, seeded: dict[str, Any], pid: int, reporter: Any) -> None:
    """Open the pages, make the changes, and print."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=options.pages)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60, trust_env=False) as client:
        warm = {"Cookie": f"breakwater_session={seeded['sessions'][0]}"}
        for address in ("/fleet", f"/nodes/{seeded['nodes'][0][0]}", f"/deployments/{seeded['nodes'][0][1]}", "/map"):
            (await client.get(address, headers=warm)).raise_for_status()
        memory, threads = pss(pid), threads_of(pid)
        pages = pages_of(options, seeded)
        begun, spent = time.monotonic(), cpu(pid)
        tasks = [asyncio.create_task(page.live(client)) for page in pages]
        await all_open(pages, tasks)
        print(f"{len(pages)} pages opened in {time.monotonic() - begun:.1f} s, {cpu(pid) - spent:.1f} s of CPU")
        grown, more = pss(pid) - memory, threads_of(pid) - threads
        await idle(pid)
        before = sum(page.fetched for page in pages)
        spent, begun = cpu(pid), time.monotonic()
        browser = None if options.no_browser else await seen_by_chromium(url, seeded)
        took, shown = await changes(options, seeded, pages, reporter, browser)
        lasted, burnt = time.monotonic() - begun, cpu(pid) - spent
        fetched = sum(page.fetched for page in pages) - before
        failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if browser is not None:
            await browser[0].stop()
    tell(options, took, shown, lasted, burnt, fetched, grown, more, failed)


async def all_open(pages: list[Page], tasks: list[asyncio.Task[None]]) -> None:
    """Return when every page has fetched its part once."""
    for _ in range(600):
        if broken := [task.exception() for task in tasks if task.done()]:
            sys.exit(f"a page could not be opened: {broken[0]!r}")
        if all(page.opened.is_set() for page in pages):
            return
        await asyncio.sleep(0.1)
    closed = [page for page in pages if not page.opened.is_set()]
    sys.exit(f"{len(closed)} pages do not open, among them {closed[0].kind}: {closed[0].told} messages")


async def idle(pid: int) -> None:
    """Print what open pages cost while nothing happens."""
    await asyncio.sleep(1)
    spent, begun = cpu(pid), time.monotonic()
    await asyncio.sleep(4)
    print(f"  nothing happens: {100 * (cpu(pid) - spent) / (time.monotonic() - begun):.1f} % of a CPU")


async def changes(
    options: argparse.Namespace, seeded: dict[str, Any], pages: list[Page], reporter: Any, browser: Any
) -> tuple[dict[str, list[float]], list[float]]:
    """Let nodes report one after the other; return by kind of page how long it took until each showed it."""
    loop = asyncio.get_running_loop()
    took: dict[str, list[float]] = {"node": [], "deployment": [], "fleet": [], "map": []}
    shown: list[float] = []
    waits: list[asyncio.Task[None]] = []
    states: dict[int, str] = {}
    ends = loop.time() + LONGEST
    for number in range(options.changes):
        if loop.time() > ends:
            options.changes = number
            break
        # Chromium looks at the first one.
        place = 0 if number % 4 == 0 else random.randrange(len(seeded["nodes"]))
        node, deployment, name = seeded["nodes"][place]
        states[place] = "failed" if states.get(place) != "failed" else "ready"
        text = f"change {number} of {name}"
        numbers = [sum(state == each for state in states.values()) for each in ("ready", "failed")]
        asked = {"node": node, "key": deployment, "outbox": f"bench-{number}", "state": states[place], "text": text}
        for page in pages:
            # A map is told only what changed: what it was told before says nothing.
            page.text = "" if page.kind == "map" else page.text
        reporter.stdin.write(json.dumps(asked) + "\n")
        reporter.stdin.flush()
        said = json.loads(await loop.run_in_executor(None, reporter.stdout.readline))
        assert said["taken"] == 1, said
        at = said["at"]
        for page in pages:
            if page.kind in ("node", "deployment") and page.number != place:
                continue
            waits.append(
                asyncio.create_task(until(page, wanted(page, node, name, states[place], text, numbers), at, took))
            )
        if browser is not None and place == 0:
            await browser[1].wait_for_function(
                "text => document.body.innerText.includes(text)", arg=text, timeout=20_000
            )
            shown.append(time.time() - at)
        # Every page must show this change before the next one overtakes it.
        _, late = await asyncio.wait(waits, timeout=20)
        for task in late:
            task.cancel()
            print("  a page did not show a change within 20 s")
        waits = []
        await asyncio.sleep(options.every * random.uniform(0.5, 1.5))
    return took, shown


def wanted(page: Page, node: str, name: str, state: str, text: str, numbers: list[int]) -> Any:
    """Return what says whether a page shows the change."""
    if page.kind == "deployment":
        return lambda shown: text in shown
    if page.kind == "node":
        row = re.compile(rf">{name}</a></td>\s*<td>.*?{state}", re.DOTALL)
        return lambda shown: row.search(shown) is not None
    if page.kind == "fleet":
        ready, failed = numbers
        words = f"{failed} failed" if failed else "none failed"
        tile = re.compile(rf'Deployments ready</div><div class="fleet-number">{ready} (?:(?!</a>).)*{words}', re.DOTALL)
        return lambda shown: tile.search(shown) is not None
    return lambda shown: node.replace("-", "") in shown


async def until(page: Page, shows: Any, at: float, took: dict[str, list[float]]) -> None:
    """Wait until the page shows it, and note how long that took."""
    while not shows(page.text):
        page.changed.clear()
        await page.changed.wait()
    took[page.kind].append(time.time() - at)


async def seen_by_chromium(url: str, seeded: dict[str, Any]) -> Any:
    """Open the page of the first deployment in a real browser."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("  there is no Chromium on this machine: nothing is looked at in a real page")
        return None
    from playwright.async_api import async_playwright

    playwright = await async_playwright().start()
    browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    await context.add_cookies([{"name": "breakwater_session", "value": seeded["sessions"][0], "url": url}])
    page = await context.new_page()
    await page.goto(f"{url}/deployments/{seeded['nodes'][0][1]}")
    await page.wait_for_selector("[data-live-mode='stream']", timeout=30_000)
    return playwright, page


def tell(
    options: argparse.Namespace,
    took: dict[str, list[float]],
    shown: list[float],
    lasted: float,
    burnt: float,
    fetched: int,
    grown: float,
    threads: int,
    failed: list[Any],
) -> None:
    """Print what was measured."""
    everything = [each for times in took.values() for each in times]
    for kind, times in took.items():
        if times:
            print(f"  {kind:<11} {len(times):5} times, p50 {share(times, 0.5):.2f} s, p95 {share(times, 0.95):.2f} s")
    if shown:
        print(f"  Chromium    {len(shown):5} times, p50 {share(shown, 0.5):.2f} s, p95 {share(shown, 0.95):.2f} s")
    print(
        f"  {options.changes} changes in {lasted:.0f} s: {burnt:.1f} s of CPU ({1000 * burnt / options.changes:.0f} ms a "
        f"change), {fetched} parts fetched"
    )
    print(f"  memory {1000 * grown / options.pages:.0f} kB and {threads / options.pages:.2f} threads an open page")
    if failed:
        print(f"  {len(failed)} streams ended: {failed[0]!r}")
    if everything:
        goal(f"visible p95 {share(everything, 0.95):.2f} s", share(everything, 0.95) < 2, "2 s")


def share(values: list[float], part: float) -> float:
    """Return the value that so large a part of all do not pass."""
    ordered = sorted(values)
    return ordered[max(0, round(part * len(ordered)) - 1)]


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads_of(pid: int) -> int:
    """Return how many threads a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def pss(pid: int) -> float:
    """Return the proportional set size of a process, in MB."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
