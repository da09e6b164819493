"""An edge node with a real container runtime: killed, cut off and started cold, it brings its apps back by itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import ssl
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests import databases
from tests.contracts.image import IMAGE, write_archive
from tests.dockerd import docker_socket
from tests.flows.edgelab import Lab
from tests.ports import free_port
from tests.waiting import until

__all__ = ["docker_socket"]
pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

CHART = Path(__file__).parents[1] / "contracts" / "charts" / "web"


def packed_chart() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(CHART, "web")
    return packed.getvalue()


class Site:
    """The lab with a whole edge node on a container runtime."""

    def __init__(self, lab: Lab, socket: str, image: bytes) -> None:
        self.lab, self.image = lab, image
        self.client = docker.APIClient(base_url=f"unix://{socket}", version="auto")
        self.node = lab.edge_environment["MEP_NODE_NAME"]

    def wish(self, key: str, generation: int = 1, **values: Any) -> None:
        self.lab.app(key, generation, packed_chart(), {IMAGE: self.image}, **values)

    def containers(self, key: str = "") -> dict[str, str]:
        """Return name and id of the node's running containers."""
        labels = [f"io.breakwater.node={self.node}"] + ([f"io.breakwater.release={key}"] if key else [])
        return {each["Names"][0]: each["Id"] for each in self.client.containers(filters={"label": labels})}

    def left(self) -> list[str]:
        labels = {"label": [f"io.breakwater.node={self.node}"]}
        found = [each["Names"][0] for each in self.client.containers(all=True, filters=labels)]
        return found + [each["Name"] for each in self.client.networks(filters=labels)]

    def lose_power(self) -> None:
        """End every process and container of the node at once, without a word."""
        pids = self._members()
        assert self.lab.agent is not None
        self.lab.agent.end(signal.SIGKILL)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for name in self.containers().values():
            self.client.remove_container(name, force=True)

    def kill_agent(self) -> None:
        """Kill the agent alone; the node starts it again."""
        for pid in self._members():
            if b"agent" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)

    def serves(self, key: str) -> bool:
        """Return whether the app answers on the address that the node holds in its own records."""
        ask = "SELECT body FROM agent_outbox WHERE route = ?"
        rows = databases.look(self.lab.folder / "edge" / "mep.sqlite3", ask, f"app/{key}")
        status = json.loads(rows[0][0])["status"] if rows else self.lab.reported(key).get("status", {})
        for endpoint in status.get("endpoints", []):
            if endpoint["port"]:
                try:
                    url = f"http://{endpoint['address']}:{endpoint['port']}/"
                    with urllib.request.urlopen(url, timeout=2) as answer:
                        return bool(answer.status == 200)
                except (urllib.error.URLError, OSError):
                    return False
        return False

    def mep_serves(self) -> bool:
        port = self.lab.edge_environment["MEP_MP1_PORT"]
        trust = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/mep/jwks.json", timeout=2, context=trust) as answer:
                return bool(json.load(answer)["keys"])
        except (urllib.error.URLError, OSError):
            return False

    def _members(self) -> list[int]:
        assert self.lab.agent is not None
        parent = self.lab.agent.process.pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.fixture
def site(docker_socket: str, tmp_path: Path) -> Iterator[Site]:
    image = write_archive(tmp_path / "image.tar").read_bytes()
    edge = {
        "MEP_ENGINE_SOCKET": docker_socket,
        "MEP_NODE_NAME": f"lab-{free_port()}",
        "MEP_MP1_PORT": str(free_port()),
        "MEP_MP1_BIND": "127.0.0.1",
        "MEP_LINK_PAUSE": "1",
    }
    with Lab(tmp_path / "lab", engine="docker", edge=edge) as lab:
        made = Site(lab, docker_socket, image)
        try:
            lab.start_centre()
            lab.start_agent("edge", "--without", "dns")
            joined = lab.enrol()
            assert joined.returncode == 0, joined.stderr
            until(lambda: lab.ask("sync")["hub"], 30, what="the node to be linked")
            yield made
        finally:
            if lab.agent is not None:
                lab.agent.end()
            for container in made.client.containers(all=True, filters={"label": f"io.breakwater.node={made.node}"}):
                made.client.remove_container(container["Id"], force=True)
            for network in made.client.networks(filters={"label": f"io.breakwater.node={made.node}"}):
                made.client.remove_network(network["Id"])
            made.client.close()


def test_a_node_that_lost_power_while_cut_off_serves_again_and_heals_without_a_restart(site: Site) -> None:
    site.wish("web", message="still here")
    site.lab.until_reported("web", "ready", timeout=60)
    until(lambda: site.serves("web"), 10, what="the app to serve")
    before = site.containers("web")
    assert before

    site.kill_agent()
    until(lambda: site.lab.agent is not None and site.lab.agent.text().count("starting with") >= 2, 20)
    site.wish("second")
    site.lab.until_reported("second", "ready", timeout=60)
    assert site.containers("web") == before

    site.lab.wire.cut()
    site.lose_power()
    assert site.containers() == {}
    began = time.monotonic()
    site.lab.start_agent("edge", "--without", "dns")
    until(lambda: site.serves("web") and site.serves("second") and site.mep_serves(), 30, what="apps and MEP to serve")
    print(f"cold start while cut off: apps and MEP serve after {time.monotonic() - began:.1f} s")
    cold = site.containers()

    site.lab.wire.mend()
    until(lambda: site.lab.ask("sync")["hub"], 30, what="the node to be linked again")
    site.lab.app("later")
    until(lambda: site.lab.reported("later"), 20)
    assert {name: cold[name] for name in cold} == {name: site.containers().get(name) for name in cold}

    for key in ("web", "second", "later"):
        site.lab.ask("delete", kind="app", key=key)
    for key in ("web", "second", "later"):
        site.lab.until_reported(key, "absent", timeout=40)
    until(lambda: site.left() == [], 20, what="nothing to be left")


def test_a_node_rebuilt_with_an_empty_disk_ends_what_its_runtime_kept_and_tells_of_it(site: Site) -> None:
    """Removed while the node was away: neither its agent nor its engine remember the app, only its containers are left."""
    for key in ("going", "staying"):
        site.wish(key)
        site.lab.until_reported(key, "ready", timeout=60)
    members = site._members()
    assert site.lab.agent is not None
    site.lab.agent.end(signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members), 20, what="every process to be gone")
    site.lab.ask("delete", kind="app", key="going")
    assert site.containers("going")
    shutil.rmtree(site.lab.folder / "edge")
    databases.fresh("edge", site.lab.folder / "edge" / "mep.sqlite3")
    site.lab.start_agent("edge", "--without", "dns")
    assert site.lab.enrol().returncode == 0
    site.lab.until_reported("going", "absent", timeout=60)
    assert site.containers("going") == {}
    until(lambda: site.serves("staying"), 60, what="what is still wished for to serve")


@pytest.mark.parametrize("moment", [0.05, 0.4, 1.0])
def test_an_agent_that_is_killed_during_an_install_ends_with_exactly_what_was_wished(site: Site, moment: float) -> None:
    site.wish("web", replicas=2)
    time.sleep(moment)  # the very moment of the crash is what this test varies
    site.kill_agent()
    status = site.lab.until_reported("web", "ready", timeout=90)
    assert status["revision"] == 1
    assert [each["ready"] for each in status["workloads"]] == [2]
    site.wish("web", generation=2, replicas=1, message="two")
    time.sleep(moment)
    site.kill_agent()
    status = site.lab.until_reported("web", "ready", generation=2, timeout=90)
    assert status["revision"] == 2
    assert [each["ready"] for each in status["workloads"]] == [1]
    site.lab.ask("delete", kind="app", key="web")
    time.sleep(moment)
    site.kill_agent()
    site.lab.until_reported("web", "absent", generation=2, timeout=90)
    until(lambda: site.left() == [], 30, what="nothing to be left")
