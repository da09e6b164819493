"""A recall through three real agents, one of which is cut off: two stop at once, the third when it is back.

Centre and agents are processes on loopback; the wires between them are cut and mended by the test.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.flows.edgelab import MANAGE, ROOT, Lab, Process, chart
from tests.flows.wire import Wire
from tests.waiting import until

pytestmark = pytest.mark.live

NODES = ("east", "north", "west")


class Edge:
    """One node with an agent, and a wire of its own to the centre."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name, self.wire = fleet, name, Wire(fleet.port)
        self.folder = fleet.folder / name
        shutil.copytree(fleet.folder / "edge", self.folder)
        self.environment = {**fleet.edge_environment, "MEP_VAR": str(self.folder), "MEP_LINK_PAUSE": "1"}
        self.agent: Process | None = None

    def join(self) -> None:
        """Join the centre, and from then on know it by the near end of our own wire only."""
        command = [sys.executable, MANAGE, "enrol", self.fleet.ask("join", node=self.name)]
        subprocess.run(command, env=self.environment, cwd=ROOT, check=True, capture_output=True, timeout=180)
        file = self.folder / "identity" / "identity.json"
        known = file.read_text().replace(f":{self.fleet.wire.port}", f":{self.wire.port}")
        file.write_text(known)

    def start(self) -> None:
        """Start the agent."""
        log = self.fleet.folder / f"{self.name}.log"
        self.agent = Process([sys.executable, MANAGE, "agent"], self.environment, log)

    def kill(self) -> None:
        """Kill the agent, as a power cut would."""
        assert self.agent is not None
        self.agent.end(signal.SIGKILL)

    def waiting(self, deployment: str) -> dict[str, Any]:
        """Return the report about a deployment that the node holds for the centre."""
        ask = "SELECT body FROM agent_outbox WHERE route = ?"
        rows = databases.look(self.folder / "mep.sqlite3", ask, f"app/{deployment}")
        return dict(json.loads(rows[0][0])["status"]) if rows else {}

    def said(self, words: str) -> int:
        """Return how often the agent has written these words into its log."""
        assert self.agent is not None
        return self.agent.text().count(words)


class Fleet(Lab):
    """A centre and three nodes. A story that asks other questions names a worker of its own."""

    script = "recallworker.py"

    def __enter__(self) -> Fleet:
        super().__enter__()
        self.start_centre()
        self.nodes = {name: Edge(self, name) for name in NODES}
        for edge in self.nodes.values():
            edge.join()
            edge.start()
        for name in NODES:
            until(lambda name=name: self.ask("linked", node=name), 60, what=f"{name} to be linked")
        return self

    def __exit__(self, *left: object) -> None:
        for edge in self.nodes.values():
            edge.wire.close()
            if edge.agent is not None:
                edge.agent.end(signal.SIGKILL)
        super().__exit__(*left)

    def ask(self, what: str, **facts: Any) -> Any:
        """Ask the worker of this story."""
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name(self.script))],
                env={**self.centre_environment, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return super().ask(what, **facts)

    def until_seen(self, deployment: str, state: str, reason: str | None = None) -> dict[str, Any]:
        """Wait until the centre's row says so."""

        def look() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.ask("look", deployment=deployment)
            return seen if seen["state"] == state and reason in (None, seen["reason"]) else None

        return until(look, 60, what=f"the deployment to be {state} {reason or ''}") or {}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three linked nodes."""
    with Fleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made


def test_a_recall_reaches_two_nodes_and_the_dark_one_when_it_returns(fleet: Fleet) -> None:
    leaky = fleet.ask("release", version="1.0.0", chart=chart().hex())
    fine = fleet.ask("release", version="2.0.0", chart=chart(replicas=2).hex())
    runs = {name: fleet.ask("deploy", package=leaky, node=name, name="leaky") for name in NODES}
    beside = fleet.ask("deploy", package=fine, node="west", name="beside")
    for deployment in (*runs.values(), beside):
        fleet.until_seen(deployment, "ready")

    west = fleet.nodes["west"]
    west.wire.cut()
    until(lambda: not fleet.ask("linked", node="west"), 60, what="the centre to notice the cut")
    recall = fleet.ask("recall", package=leaky, reason="It leaks memory")
    for name in ("east", "north"):
        seen = fleet.until_seen(runs[name], "failed", "recalled")
        assert "It leaks memory Take 2" in seen["message"]
    told = fleet.ask("progress", recall=recall)
    assert told["words"] == "2 of 3 done, 1 dark"
    assert told["places"] == {
        "east": ["done", "stopped"], "north": ["done", "stopped"], "west": ["dark", "may still run"],
    }  # fmt: skip

    # The dark node loses its power meanwhile. It knows of no recall, so it serves what it was told last.
    west.kill()
    west.start()
    until(lambda: west.waiting(runs["west"]).get("state") == "ready", 60, what="the dark node to serve its app")
    assert fleet.ask("look", deployment=runs["west"])["state"] == "ready"

    west.wire.mend()
    fleet.until_seen(runs["west"], "failed", "recalled")
    assert fleet.ask("progress", recall=recall)["words"] == "3 of 3 done"
    assert fleet.ask("look", deployment=beside)["state"] == "ready"
    assert west.said("leaky is stopped, because its package is recalled") == 1

    # A cold start without the centre: the list on the node's disk is in force before anything is started.
    west.wire.cut()
    until(lambda: not fleet.ask("linked", node="west"), 60, what="the centre to notice the second cut")
    west.kill()
    started = west.said("leaky: generation")
    west.start()
    until(lambda: west.waiting(beside).get("state") == "ready", 60, what="the other app to be up")
    assert west.waiting(runs["west"])["reason"] == "recalled"
    assert west.said("leaky: generation") == started
    west.wire.mend()
    until(lambda: fleet.ask("linked", node="west"), 60, what="the node to be linked again")

    # The recall is taken back, by a list that says so; everybody starts it again.
    serial = fleet.ask("holds", node="west")["serial"]
    fleet.ask("lift", recall=recall)
    for deployment in runs.values():
        fleet.until_seen(deployment, "ready")
    assert fleet.ask("holds", node="west")["serial"] > serial
