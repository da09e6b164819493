"""The main job, by HTTP alone: publish two applications, run them on an edge node, upgrade, roll back, remove.

    python tests/flows/main_job.py --url http://127.0.0.1:8000 --accounts var/demo-accounts.json [--node NAME]

Uses nothing but the public API, as any customer's script would. Each line tells how long a step took; the exit code
is 0 only when every step did what it should.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
PRODUCER, UPGRADE, CONSUMER = "producer-1.0.0.csar", "producer-1.1.0.csar", "consumer-1.0.0.csar"
FIRST, SECOND = "linear least squares", "Gauss-Newton least squares"


class Failed(Exception):
    """A step did not do what it should."""


class Centre:
    """The public API of a centre, signed in; `reviewer` is a second person who looks at what the first one publishes."""

    def __init__(self, url: str, username: str, password: str, reviewer: Centre | None = None) -> None:
        self.reviewer = reviewer
        self.http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", timeout=60, trust_env=False)
        session = self.ask("POST", "/session", json={"username": username, "password": password})
        # A token of our own from here on: scripts do not juggle cookies.
        headers = {"X-CSRFToken": session["csrf"], "Referer": url}
        made = self.ask("POST", "/tokens", json={"name": "main job"}, headers=headers)
        self.token_id = made["id"]
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {made['token']}"

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Send one request and return its JSON; anything but success fails the step with the problem's own words."""
        answer = self.http.request(method, path, **options)
        if not answer.is_success:
            raise Failed(f"{method} {path} answered {answer.status_code}: {answer.text[:600]}")
        return answer.json() if answer.content else None

    def close(self) -> None:
        """Give the token back."""
        if self.reviewer is not None:
            self.reviewer.close()
        self.http.delete(f"/tokens/{self.token_id}")
        self.http.close()


class Story:
    """The steps, with what they learned from each other."""

    def __init__(self, centre: Centre, node: str, within: float) -> None:
        self.centre, self.within = centre, within
        self.mark = secrets.token_hex(3)
        self.node = self._node(node)
        self.took: list[tuple[str, float]] = []
        self.packages: dict[str, str] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step and tell how long it took."""
        began = time.monotonic()
        print(f"{name:<58}", end="", flush=True)
        try:
            yield
        except BaseException:
            print(f"FAILED after {time.monotonic() - began:.1f} s", flush=True)
            raise
        seconds = time.monotonic() - began
        self.took.append((name, seconds))
        print(f"{seconds:6.1f} s", flush=True)

    def until(self, look: Callable[[], Any], what: str, every: float = 0.2) -> Any:
        """Return the first true answer; the step fails with the last thing seen when time is up."""
        deadline = time.monotonic() + self.within
        while True:
            try:
                seen = look()
            except httpx.HTTPError as problem:
                seen = None
                last: Any = problem
            else:
                last = seen
            if seen:
                return seen
            if time.monotonic() > deadline:
                raise Failed(f"waited {self.within:.0f} s for {what}; last seen: {last!r}")
            time.sleep(every)

    # --- packages

    def publish(self, package: Path) -> str:
        """Upload a package, wait for its check, publish it; return its id."""
        with package.open("rb") as content:
            made = self.centre.ask(
                "POST",
                "/packages",
                params={"filename": package.name},
                content=iter(lambda: content.read(1 << 20), b""),
                headers={"Content-Type": "application/octet-stream"},
            )

        def checked() -> Any:
            seen = self.centre.ask("GET", f"/packages/{made['id']}")
            if seen["state"] == "rejected":
                raise Failed(f"{package.name} was rejected: {json.dumps(seen['findings'])[:800]}")
            return seen["state"] == "checked"

        self.until(checked, f"{package.name} to be checked")
        seen = self.centre.ask("POST", f"/packages/{made['id']}/publish")
        if seen["state"] == "in-review":
            # A provider that the store does not know yet: one person alone cannot publish it where others may look.
            self.reviewed(made["id"])
            seen = self.centre.ask("GET", f"/packages/{made['id']}")
        if seen["state"] != "published":
            raise Failed(f"{package.name} is {seen['state']} after it was published")
        return str(made["id"])

    def reviewed(self, package: str) -> None:
        """Have a second person approve a package that waits for that."""
        second = self.centre.reviewer
        if second is None:
            raise Failed("the package waits for a reviewer, and there is no account of one")
        waiting = second.ask("GET", "/reviews", params={"state": "open", "page_size": 200})["results"]
        review = next(each["id"] for each in waiting if each["package"]["id"] == package)
        second.ask("POST", f"/reviews/{review}/approve", json={"reason": "It is our own sample"})

    # --- deployments

    def deploy(self, package: str, name: str) -> str:
        """Ask for a deployment and wait until it is ready; return its id."""
        wish = {"package": package, "node": self.node["id"], "name": name, "values": {}}
        made = self.centre.ask("POST", "/deployments", json=wish)
        self.ready(made["id"], made["generation"])
        return str(made["id"])

    def upgrade(self, deployment: str, package: str) -> None:
        """Go to another release and wait until that is ready."""
        made = self.centre.ask("PATCH", f"/deployments/{deployment}", json={"package": package})
        self.ready(deployment, made["generation"])

    def rollback(self, deployment: str) -> None:
        """Go back to the release before and wait until that is ready."""
        made = self.centre.ask("POST", f"/deployments/{deployment}/rollback", json={})
        self.ready(deployment, made["generation"])

    def remove(self, *deployments: str) -> None:
        """Remove deployments and wait until they are gone."""
        for deployment in deployments:
            self.centre.ask("DELETE", f"/deployments/{deployment}")
        for deployment in deployments:
            self.until(
                lambda pk=deployment: self.centre.ask("GET", f"/deployments/{pk}")["state"] == "removed",
                f"deployment {deployment} to be removed",
            )

    def ready(self, deployment: str, generation: int) -> dict[str, Any]:
        """Wait until this generation is ready; a failure is told at once, with its reason."""

        def look() -> Any:
            seen = self.centre.ask("GET", f"/deployments/{deployment}")
            if seen["state"] == "failed" and seen["observed_generation"] == generation:
                raise Failed(f"{seen['name']} failed: {seen['reason']} {seen['message']}")
            return seen if seen["state"] == "ready" and seen["observed_generation"] == generation else None

        return dict(self.until(look, f"generation {generation} of {deployment} to be ready"))

    # --- what the applications do

    def page_of(self, deployment: str) -> str:
        """Return the address of the consumer's page on the node."""

        def look() -> Any:
            endpoints = self.centre.ask("GET", f"/deployments/{deployment}")["endpoints"]
            return next((f"http://{each['address']}:{each['port']}" for each in endpoints if each.get("port")), None)

        return str(self.until(look, "the consumer's page to have an address"))

    def answered(self, page: str, method: str) -> dict[str, Any]:
        """Wait until the newest answer on the page was computed by `method`; return it."""

        def look() -> Any:
            state = httpx.get(f"{page}/state.json", timeout=5, trust_env=False).json()
            newest = (state["answers"] or [{}])[0]
            if not newest.get("ok") or newest["method"] != method:
                return None
            return newest if method in httpx.get(page, timeout=5, trust_env=False).text else None

        return dict(self.until(look, f"an answer by {method} on the consumer's page"))

    def services(self) -> list[dict[str, Any]]:
        """Return the services on the node's MEP, as the centre knows them."""
        return list(self.centre.ask("GET", f"/nodes/{self.node['id']}/mep")["services"])

    def _node(self, name: str) -> dict[str, Any]:
        def look() -> Any:
            nodes = self.centre.ask("GET", "/nodes", params={"page_size": 200})["results"]
            fitting = [node for node in nodes if node["name"] == name] if name else nodes
            return next((node for node in fitting if node["state"] == "online"), None)

        return dict(self.until(look, f"node {name or '(any)'} to be online"))


def run(story: Story, packages: Path, socket: str) -> None:
    """Tell the whole story."""
    producer_name, consumer_name = f"positioning-{story.mark}", f"vehicle-{story.mark}"
    with story.step("upload, check and publish producer 1.0.0"):
        producer = story.publish(packages / PRODUCER)
    with story.step("upload, check and publish producer 1.1.0"):
        newer = story.publish(packages / UPGRADE)
    with story.step("upload, check and publish consumer 1.0.0"):
        consumer = story.publish(packages / CONSUMER)
    with story.step("deploy the producer until it is ready"):
        producing = story.deploy(producer, producer_name)
    with story.step("its service is known to the node's MEP"):
        story.until(lambda: _named(story.services(), "positioning"), "the service positioning on the MEP")
    with story.step("deploy the consumer until it is ready"):
        consuming = story.deploy(consumer, consumer_name)
    with story.step("the consumer's page shows the producer's answer"):
        page = story.page_of(consuming)
        story.answered(page, FIRST)
    with story.step("upgrade the producer to 1.1.0"):
        story.upgrade(producing, newer)
    with story.step("the page shows the new release's answer"):
        story.answered(page, SECOND)
    with story.step("roll the producer back"):
        story.rollback(producing)
    with story.step("the page shows the first release's answer again"):
        story.answered(page, FIRST)
    with story.step("the consumer was told of the changes by the platform"):
        told = httpx.get(f"{page}/state.json", timeout=5, trust_env=False).json()["notifications"]
        if not told:
            raise Failed("the consumer subscribed to the service's availability but got no notification")
    with story.step("remove both"):
        story.remove(producing, consuming)
    with story.step("the service is gone from the MEP"):
        story.until(lambda: not _named(story.services(), "positioning"), "the service positioning to go")
    if socket:
        with story.step("no container and no network is left"):
            left = leftovers(socket, story.node["id"], {producer_name, consumer_name})
            if left:
                raise Failed(f"left behind: {', '.join(left)}")


def leftovers(socket: str, node: str, releases: set[str]) -> list[str]:
    """Return what Docker still holds of these releases (as `docker ps -a --filter label=...` would show it)."""
    docker = httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://docker", timeout=20)
    wanted = json.dumps({"label": [f"io.breakwater.node={node}"]})
    held = []
    for path, name in (("/containers/json", "Names"), ("/networks", "Name")):
        for each in docker.get(path, params={"all": "1", "filters": wanted}).raise_for_status().json():
            release = (each.get("Labels") or {}).get("io.breakwater.release", "")
            if path == "/networks" or release in releases:
                held.append(str(each[name]))
    return held


def _named(services: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [service for service in services if service.get("serName") == name]


def build_samples(to: Path, provider: str) -> None:
    """Build the sample packages under a provider of our own, so that the story can be told again and again."""
    command = [sys.executable, str(ROOT / "tools" / "samples.py"), "--to", str(to), "--provider", provider]
    subprocess.run(command, check=True, capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--accounts", type=Path, default=ROOT / "var" / "demo-accounts.json")
    parser.add_argument("--account", default="admin")
    parser.add_argument("--node", default="", help="name of the node; the first that is online when left out")
    parser.add_argument("--packages", type=Path, help="folder with the sample packages; they are built when left out")
    parser.add_argument("--docker-socket", default="", help="look at this socket for what was left behind")
    parser.add_argument("--within", type=float, default=120, help="seconds that each step may take")
    wanted = parser.parse_args()
    accounts = json.loads(wanted.accounts.read_text())["accounts"]
    account = next(each for each in accounts if each["username"] == wanted.account)
    began = time.monotonic()
    try:
        other = next((each for each in accounts if each["role"] == "certifier"), None)
        second = Centre(wanted.url, other["username"], other["password"]) if other else None
        centre = Centre(wanted.url, account["username"], account["password"], second)
        story = Story(centre, wanted.node, wanted.within)
        with tempfile.TemporaryDirectory(prefix="main-job-") as scratch:
            packages = wanted.packages or Path(scratch)
            if not wanted.packages:
                with story.step("build the sample packages"):
                    build_samples(packages, f"Main job {story.mark}")
            run(story, packages, wanted.docker_socket)
        centre.close()
    except (Failed, httpx.HTTPError, subprocess.CalledProcessError) as problem:
        print(f"\nThe main job failed: {problem}", file=sys.stderr)
        return 1
    print(f"\nThe main job works: {len(story.took)} steps in {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
