"""A rollout through three real agents: one node fails and it holds, its worker is killed, and all goes back to v1.

Centre, worker and agents are processes on loopback.
"""

from __future__ import annotations

import io
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.edgelab import ROOT, Process, chart
from tests.flows.test_recall import NODES, Fleet
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

WAIT = 120


class Harbour(Fleet):
    """Three nodes, and a worker that can be killed."""

    script = "rolloutworker.py"
    worker: Process | None = None

    def work(self, dies_at: int = 0) -> Process:
        """Start a worker; with a number it dies in the middle of the n-th node that it begins."""
        environment = {**self.centre_environment, "PYTHONPATH": str(ROOT), "BREAKWATER_OPERATION_LEASE": "3"}
        script = str(Path(__file__).with_name(self.script))
        more = [str(dies_at)] if dies_at else []
        self.worker = Process([sys.executable, script, "work", *more], environment, self.folder / "worker.log")
        return self.worker

    def until_state(self, rollout: str, state: str) -> dict[str, Any]:
        """Wait until the rollout is in this state."""

        def there() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.ask("look", rollout=rollout)
            return seen if seen["state"] == state else None

        return until(there, WAIT, every=0.1, what=f"the rollout to be {state}") or {}

    def __exit__(self, *left: object) -> None:
        if self.worker is not None:
            self.worker.end(signal.SIGKILL)
        super().__exit__(*left)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    """Three linked nodes."""
    with Harbour(tmp_path_factory.mktemp("harbour")) as made:
        yield made


def second() -> bytes:
    """Version 2 of the chart: its image is missing where the values say that the node is weak."""
    found = io.BytesIO()
    trouble = '        breakwater.dev/simulate: {{ eq .Values.note "weak" | ternary "image-missing" "" | quote }}\n'
    with tarfile.open(fileobj=io.BytesIO(chart()), mode="r:gz") as old, tarfile.open(fileobj=found, mode="w:gz") as new:
        for member in old:
            text = old.extractfile(member).read().decode()  # type: ignore[union-attr]
            text = text.replace("        note:", f"{trouble}        note:")
            member.size = len(text.encode())
            new.addfile(member, io.BytesIO(text.encode()))
    return found.getvalue()


def test_a_rollout_stops_holds_survives_its_worker_and_goes_back(harbour: Harbour) -> None:
    v1 = harbour.ask("release", version="1.0.0", chart=chart().hex())
    v2 = harbour.ask("release", version="2.0.0", chart=second().hex())
    runs = {
        name: harbour.ask("deploy", package=v1, node=name, note="weak" if name == "north" else "") for name in NODES
    }

    def all_run(version: str) -> bool:
        return bool(harbour.ask("versions") == {name: [version, "ready"] for name in NODES})

    until(lambda: all_run("1.0.0"), WAIT, what="version 1 to be ready everywhere")

    # The worker dies in the very middle of the first node of wave 1; the wish is made, but not committed.
    rollout = harbour.ask("begin", package=v2, waves=["1", "1", "rest"], node_timeout=900)
    assert harbour.work(dies_at=1).process.wait(WAIT) == -signal.SIGKILL
    assert harbour.ask("upgrades") == {}
    # The next one does the first node, and dies within the second, of wave 2.
    assert harbour.work(dies_at=2).process.wait(WAIT) == -signal.SIGKILL
    assert harbour.ask("upgrades") == {"east": 1}
    harbour.work()

    # The second node fails by itself: it stops by its rule and holds, and the third is left as it was.
    held = harbour.until_state(rollout, "failed")
    assert held["why"] == "1 of 1 failed in wave 2; none may."
    assert held["nodes"] == {"east": "ready", "north": "failed ImagePullBackOff", "west": "waiting"}
    assert harbour.ask("versions")["west"] == ["1.0.0", "ready"]
    assert harbour.ask("upgrades") == {"east": 1, "north": 1}

    # A person mends the node's values and says: try again. It goes through, and nothing is done twice.
    harbour.ask("change", deployment=runs["north"], note="")
    harbour.ask("tell", rollout=rollout, verb="retry")
    harbour.until_state(rollout, "done")
    assert all_run("2.0.0")
    assert harbour.ask("upgrades") == {"east": 1, "north": 2, "west": 1}

    # And back again, all of it; also the worker is killed once more, from outside and at any moment.
    harbour.ask("tell", rollout=rollout, verb="roll_back")
    assert harbour.worker is not None
    harbour.worker.end(signal.SIGKILL)
    harbour.work()
    assert set(harbour.until_state(rollout, "rolled-back")["nodes"].values()) == {"returned"}
    assert all_run("1.0.0")
