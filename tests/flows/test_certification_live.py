"""Live certification with a real centre, a real edge node and a real container runtime.

The sample producer passes everything; three copies, bad in one way each, fail on exactly that.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.dockerd import docker_socket
from tests.flows import variants
from tests.flows.edgelab import ROOT, Lab
from tests.ports import free_port
from tests.waiting import until

__all__ = ["docker_socket"]
pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

ALL = {
    "live-becomes-ready", "live-registers-services", "live-rules-applied", "live-serves-ports", "live-within-limits",
    "live-survives-restart", "live-survives-cut-link", "live-answers-termination", "live-leaves-nothing",
}  # fmt: skip


class TrialLab(Lab):
    """The lab with a whole edge node on a container runtime, and a worker of the centre that certifies."""

    def __init__(self, folder: Path, socket: str) -> None:
        edge = {
            "MEP_ENGINE_SOCKET": socket,
            "MEP_NODE_NAME": f"trial-{free_port()}",
            "MEP_MP1_PORT": str(free_port()),
            "MEP_DNS_PORT": str(free_port()),
            "MEP_LINK_PAUSE": "1",
        }
        super().__init__(folder, engine="docker", edge=edge)
        self.client = docker.APIClient(base_url=f"unix://{socket}", version="auto")
        self.worker: subprocess.Popen[str] | None = None

    def __exit__(self, *details: object) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()
        if self.agent is not None:
            began = time.monotonic()
            self.agent.end(timeout=60)
            print(f"the node ended in {time.monotonic() - began:.1f} s")
        labels = {"label": f"io.breakwater.node={self.edge_environment['MEP_NODE_NAME']}"}
        for container in self.client.containers(all=True, filters=labels):
            self.client.remove_container(container["Id"], force=True)
        for network in self.client.networks(filters=labels):
            self.client.remove_network(network["Id"])
        self.client.close()
        super().__exit__(*details)

    def tell(self, what: str, **facts: Any) -> Any:
        """Have the worker do something and return its answer."""
        if self.worker is None:
            script = str(Path(__file__).with_name("trialworker.py"))
            self.worker = subprocess.Popen(
                [sys.executable, script],
                env={**self.centre_environment, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=(self.folder / "worker.log").open("ab"),
                text=True,
            )
        assert self.worker.stdin
        assert self.worker.stdout
        self.worker.stdin.write(json.dumps({"what": what, **facts}) + "\n")
        self.worker.stdin.flush()
        line = self.worker.stdout.readline()
        if not line:
            self.worker.wait()
            self.worker = None
            return None
        answer = json.loads(line)
        if "trouble" in answer:
            log = self.agent.text()[-3000:] if self.agent else ""
            raise AssertionError(f"{answer['trouble']}\n{(self.folder / 'worker.log').read_text()[-3000:]}\n{log}")
        return answer["answer"]

    def left(self) -> list[str]:
        """Return what the runtime holds of the node."""
        labels = {"label": f"io.breakwater.node={self.edge_environment['MEP_NODE_NAME']}"}
        found = [each["Names"][0] for each in self.client.containers(all=True, filters=labels)]
        return found + [each["Name"] for each in self.client.networks(filters=labels)]


@pytest.fixture(scope="module")
def lab(docker_socket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialLab]:
    folder = tmp_path_factory.mktemp("trials")
    with TrialLab(folder / "lab", docker_socket) as made:
        made.start_centre()
        join = made.tell("prepare", engine="docker")
        made.start_agent("edge", "--without", "console")
        joined = made.run_edge("enrol", join)
        assert joined.returncode == 0, joined.stderr
        until(lambda: made.tell("online"), 40, 0.2, what="the node to be online")
        made.tell("mark", on=True)
        yield made


@pytest.fixture
def certify(lab: TrialLab, tmp_path: Path) -> Iterator[Any]:
    def run(flaw: str = "") -> dict[str, Any]:
        began = time.monotonic()
        made = lab.tell("package", path=str(variants.build(tmp_path, flaw, provider=f"Live {flaw or 'sample'}")))
        told: dict[str, Any] = lab.tell("certify", package_id=made)
        assert told["state"] == "finished", told["problem"]
        print(f"\n{flaw or 'sample'} in {time.monotonic() - began:.1f} s")
        for name, each in told["checks"].items():
            found = "; ".join(f"{one['code']}: {one['message']}" for one in each["findings"]) or each["note"]
            print(f"  {name:<26}{each['outcome']:<10}{each['seconds']:>6} s  {found}")
        return told

    yield run
    assert lab.left() == []
    assert lab.tell("held") == {"trials": 0, "deployments": 0, "wishes": [], "reports": []}


def failed(told: dict[str, Any]) -> dict[str, list[str]]:
    """Return the codes of the errors by check, and every check that is neither passed nor failed."""
    found = {}
    for name, each in told["checks"].items():
        if each["outcome"] != "passed":
            found[name] = [one["code"] for one in each["findings"] if one["level"] == "error"] or [each["outcome"]]
    return found


def test_the_sample_producer_passes_everything(certify: Any) -> None:
    told = certify()
    assert set(told["checks"]) == ALL
    assert failed(told) == {}
    about = told["environment"]["sandbox"]
    assert (about["node"], about["engine"], about["simulated"]) == ("edge-1", "docker", False)


def test_a_copy_that_registers_nothing_fails_on_exactly_that(certify: Any) -> None:
    assert failed(certify("silent")) == {"live-registers-services": ["service-not-registered"]}


def test_a_copy_that_eats_memory_fails_on_exactly_that(certify: Any) -> None:
    assert failed(certify("greedy")) == {"live-within-limits": ["memory-exceeded"]}


def test_a_copy_that_ignores_its_termination_fails_on_exactly_that(certify: Any) -> None:
    assert failed(certify("deaf")) == {"live-answers-termination": ["termination-ignored"]}


def test_what_a_killed_certification_left_is_cleared_away(lab: TrialLab, tmp_path: Path) -> None:
    """The worker dies while the node is cut off: the node finds back by itself, and a sweep removes the trial."""
    made = lab.tell("package", path=str(variants.build(tmp_path, provider="Live killed")))
    assert lab.tell("begin_and_die", package_id=made, seconds=3.0) is None
    assert lab.left() != []
    until(lambda: lab.tell("expire") == 0, 60, 1.0, what="the abandoned trial to be cleared away")
    until(lambda: lab.left() == [], 10, what="nothing to be left")
    assert lab.tell("held") == {"trials": 0, "deployments": 0, "wishes": [], "reports": []}


def test_on_a_node_that_is_no_sandbox_everything_is_skipped_and_nothing_runs(lab: TrialLab, tmp_path: Path) -> None:
    made = lab.tell("package", path=str(variants.build(tmp_path, provider="Live unmarked")))
    lab.tell("mark", on=False)
    try:
        told = lab.tell("certify", package_id=made)
    finally:
        lab.tell("mark", on=True)
    assert {each["outcome"] for each in told["checks"].values()} == {"skipped"}
    assert "no sandbox" in told["checks"]["live-becomes-ready"]["note"]
    assert lab.left() == []


def main() -> None:
    """Certify one package live and show what came of it: `python -m tests.flows.test_certification_live [flaw]`."""
    import tempfile

    from tests import dockerd

    flaw = sys.argv[1] if len(sys.argv) > 1 else ""
    with dockerd.private() as socket, tempfile.TemporaryDirectory() as scratch, TrialLab(Path(scratch), socket) as lab:
        lab.start_centre()
        join = lab.tell("prepare", engine="docker")
        lab.start_agent("edge", "--without", "console")
        assert lab.run_edge("enrol", join).returncode == 0
        until(lambda: lab.tell("online"), 40, 0.2)
        lab.tell("mark", on=True)
        made = lab.tell("package", path=str(variants.build(Path(scratch), flaw)))
        print(json.dumps(lab.tell("certify", package_id=made), indent=2))
        print(lab.left(), file=sys.stderr)
        lab.agent and lab.agent.process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
