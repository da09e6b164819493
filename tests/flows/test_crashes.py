"""Kill and cut on a whole stack with real containers: what was wished becomes true, nothing is doubled, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.conftest import WholeStack
from tests.flows.main_job import CONSUMER, FIRST, PRODUCER, UPGRADE, Story
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def story(stack: WholeStack, samples: Path) -> Iterator[Story]:
    """The API of the stack with the three releases published."""
    centre = stack.centre()
    told = Story(centre, "", within=90 * PATIENCE)
    told.packages = {name: told.publish(samples / name) for name in (PRODUCER, UPGRADE, CONSUMER)}
    yield told
    centre.close()


@pytest.fixture
def kept(story: Story) -> Iterator[list[str]]:
    """Ids of deployments that the test made; they are removed at its end."""
    made: list[str] = []
    yield made
    story.remove(*made)


def kill(*pids: int) -> None:
    assert pids, "there is nothing to kill"
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ask_for(story: Story, package: str, name: str) -> dict[str, Any]:
    """Wish for a deployment and do not wait for it."""
    wish = {"package": story.packages[package], "node": story.node["id"], "name": name, "values": {}}
    return dict(story.centre.ask("POST", "/deployments", json=wish))


def a_name(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(3)}"


def revisions(story: Story, deployment: str) -> list[tuple[int, str]]:
    rows = story.centre.ask("GET", f"/deployments/{deployment}/revisions")["results"]
    return [(row["generation"], row["outcome"]) for row in rows]


def pods(stack: WholeStack, name: str) -> int:
    """Return how many containers run the application of a release; the holders of pods' networks do not count."""
    return len([each for each in stack.containers(name).values() if not each.rstrip("/").endswith("POD")])


@pytest.mark.parametrize("victim", ["worker", "agent"])
def test_a_process_killed_during_install_and_upgrade_changes_nothing_in_the_end(
    stack: WholeStack, story: Story, kept: list[str], victim: str
) -> None:
    part = {"worker": "mecm.celery", "agent": "manage.py\0agent"}[victim]
    name = a_name("positioning")
    made = ask_for(story, PRODUCER, name)
    kept.append(made["id"])
    kill(*stack.processes(part))
    story.ready(made["id"], 1)
    assert pods(stack, name) == 1

    until(lambda: stack.processes(part), 30)
    story.centre.ask("PATCH", f"/deployments/{made['id']}", json={"package": story.packages[UPGRADE]})
    # In the middle: as soon as the new pod is there beside the old one, or the wish is two tenths old.
    deadline = time.monotonic() + 0.2
    until(lambda: pods(stack, name) != 1 or time.monotonic() > deadline, 5)
    kill(*stack.processes(part))
    story.ready(made["id"], 2)
    until(lambda: pods(stack, name) == 1, 30)
    assert revisions(story, made["id"]) == [(2, "ready"), (1, "ready")]


def test_a_worker_killed_while_it_checks_a_package_loses_no_package(
    stack: WholeStack, story: Story, samples: Path
) -> None:
    content = (samples / PRODUCER).read_bytes()
    options: dict[str, Any] = {"headers": {"Content-Type": "application/octet-stream"}}
    # Bytes behind a zip's end change its digest, so that it counts as another package; whether it passes is not the point.
    made = story.centre.ask("POST", "/packages", params={"filename": "again.csar"}, content=content + b"\n", **options)
    kill(*stack.processes("mecm.celery"))
    over = ("checked", "rejected")
    until(lambda: story.centre.ask("GET", f"/packages/{made['id']}")["state"] in over, 90, 0.3)
    story.centre.ask("DELETE", f"/packages/{made['id']}")


def test_killed_at_random_moments_the_node_still_ends_as_wished(
    stack: WholeStack, story: Story, kept: list[str]
) -> None:
    name = a_name("positioning")
    made = ask_for(story, PRODUCER, name)
    kept.append(made["id"])
    over = threading.Event()

    def trouble() -> None:
        while not over.wait(1.5):
            with contextlib.suppress(AssertionError):  # it may be dead already
                kill(*stack.processes("manage.py\0agent"))

    hand = threading.Thread(target=trouble)
    hand.start()
    try:
        for package in (UPGRADE, PRODUCER, UPGRADE):
            time.sleep(1)  # not waiting for anything: the wish changes while the agent dies again and again
            wish = {"package": story.packages[package]}
            last = story.centre.ask("PATCH", f"/deployments/{made['id']}", json=wish)["generation"]
    finally:
        over.set()
        hand.join()
    story.ready(made["id"], last)
    until(lambda: pods(stack, name) == 1, 30)
    assert revisions(story, made["id"])[0] == (last, "ready")


def test_cut_off_and_cold_started_the_edge_serves_and_healing_restarts_nothing(
    stack: WholeStack, story: Story, kept: list[str]
) -> None:
    producer, consumer = a_name("positioning"), a_name("vehicle")
    kept.append(story.deploy(story.packages[PRODUCER], producer))
    kept.append(story.deploy(story.packages[CONSUMER], consumer))
    story.answered(story.page_of(kept[1]), FIRST)
    before = stack.containers()

    (web,) = stack.processes("mecm.asgi")
    os.kill(web, signal.SIGSTOP)  # the centre is there no more, for everybody
    try:
        # As at a power cut and back: no process of the node, no container.
        edge = [
            *stack.processes("manage.py\0edge"),
            *stack.processes("manage.py\0agent"),
            *stack.processes("manage.py\0mp1"),
        ]
        began = time.monotonic()
        kill(*edge)
        with stack.docker() as docker:
            for container in before:
                docker.delete(f"/containers/{container}", params={"force": "1"})
        until(lambda: answers_of(stack, consumer, FIRST), 60, 0.2)
        took = time.monotonic() - began
        assert not set(stack.containers()) & set(before), "these are new containers"
        started = stack.containers(producer) | stack.containers(consumer)
    finally:
        os.kill(web, signal.SIGCONT)
    assert took < 30 * PATIENCE, f"applications and MEP served again only after {took:.1f} s"

    for deployment in kept:
        story.ready(deployment, 1)
    story.until(lambda: story.centre.ask("GET", f"/nodes/{story.node['id']}")["state"] == "online", "the node online")
    seen_until = time.monotonic() + 8
    while time.monotonic() < seen_until:
        assert stack.containers(producer) | stack.containers(consumer) == started, "healing restarted an application"
        time.sleep(0.5)
    assert all(revisions(story, deployment) == [(1, "ready")] for deployment in kept)


def test_a_killed_edge_leaves_its_applications_running(stack: WholeStack, story: Story, kept: list[str]) -> None:
    producer = a_name("positioning")
    kept.append(story.deploy(story.packages[UPGRADE], producer))
    before = stack.containers(producer)
    for part in ("manage.py\0agent", "manage.py\0mp1"):
        kill(*stack.processes(part))
    until(lambda: stack.processes("manage.py\0agent") and stack.processes("manage.py\0mp1"), 30)
    story.until(lambda: _active(story), "the service to be active on the restarted MEP")
    assert stack.containers(producer) == before
    story.ready(kept[0], 1)


def answers_of(stack: WholeStack, release: str, method: str) -> bool:
    """Tell whether the consumer of `release`, asked at its own address, shows a good answer that came after now."""
    for container, name in stack.containers(release).items():
        if not name.rstrip("/").endswith("POD"):
            continue
        try:
            address = stack.address_of(container)
            state = httpx.get(f"http://{address}:8080/state.json", timeout=5, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            return False
        newest = (state["answers"] or [{}])[0]
        return bool(newest.get("ok") and newest["method"] == method and state["platform"]["state"] == "joined")
    return False


def _active(story: Story) -> bool:
    return any(each.get("serName") == "positioning" and each.get("state") == "ACTIVE" for each in story.services())
