"""The memory engine keeps the contract of engines, without a runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid
from engines.contract import EngineSettings
from engines.memory import SIMULATE, MemoryEngine
from tests.contracts.carried import CarriedImages
from tests.contracts.engine import EngineContract, Harness
from tests.contracts.image import IMAGE, write_archive


class MemoryHarness(Harness):
    """Asks the engine itself, since there is no runtime to ask."""

    engine: MemoryEngine
    patience = 5.0
    namespace = "t-memory"

    def __init__(self, state_dir: Path) -> None:
        self.settings = EngineSettings(name="memory", state_dir=state_dir)
        self.engine = MemoryEngine(self.settings)

    def trouble(self, kind: str) -> dict[str, Any]:
        return {"annotations": {SIMULATE: kind}}

    def about(self, name: str) -> dict[str, str]:
        workload = f"Deployment/{name}-web"
        seen = self.engine.environment(name, self.namespace, workload)
        files = self.engine.files(name, self.namespace, workload)
        serving = self._serving(name)
        return {
            "namespace": self.namespace,
            "message": serving or seen["MESSAGE"],
            "password": seen["PASSWORD"],
            "file": files["/secret/password"].decode(),
        }

    def _serving(self, name: str) -> str:
        """Return the message of the last revision that became ready: its pods serve while a later one fails."""
        for kept in reversed(self.engine.store.revisions(self.namespace, name)):
            if kept.was_ready:
                return str(kept.values.get("message", "hello"))
        return ""

    def break_liveness(self, name: str) -> None:
        self.engine.kill_probe(name, self.namespace, self.pods(name)[0])

    def pods(self, name: str) -> list[str]:
        status = self.engine.status(name, self.namespace)
        return [pod for workload in status.workloads for pod in workload.pods]

    def image_of(self, name: str) -> str:
        return self.engine.image(name, self.namespace, f"Deployment/{name}-web")

    def images(self) -> set[str]:
        return self.engine.images()

    def left(self, name: str) -> list[str]:
        return [
            release for namespace, release in self.engine.releases() if (namespace, release) == (self.namespace, name)
        ]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[MemoryHarness]:
    made = MemoryHarness(tmp_path / "state")
    yield made
    made.engine.close()


class TestMemoryEngine(EngineContract, CarriedImages):
    """Runs the suite."""


def test_it_says_that_it_is_simulated(harness: MemoryHarness) -> None:
    assert harness.engine.simulated
    assert "simulated" in harness.engine.ping()


def test_it_reads_the_names_in_an_image_archive(harness: MemoryHarness, tmp_path: Path) -> None:
    assert IMAGE in harness.engine.load_image(write_archive(tmp_path / "image.tar"))
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(Invalid):
        harness.engine.load_image(tmp_path / "text")


def test_it_lives_without_a_folder() -> None:
    engine = MemoryEngine(EngineSettings())
    assert engine.releases() == []
    engine.close()


def test_after_a_halt_the_next_round_brings_everything_back(harness: MemoryHarness) -> None:
    suite = TestMemoryEngine()
    harness.engine.apply(suite.release(harness))
    suite.wait_ready(harness)
    harness.engine.halt()
    assert harness.pods("one") == []
    suite.wait_ready(harness)


def test_the_same_rollback_twice_is_one_revision(harness: MemoryHarness) -> None:
    suite = TestMemoryEngine()
    for generation, message in enumerate(("a", "b"), start=1):
        harness.engine.apply(suite.release(harness, generation=generation, message=message))
        suite.wait_ready(harness)
    first = harness.engine.rollback("one", harness.namespace, generation=3)
    assert harness.engine.rollback("one", harness.namespace, generation=3) == first
    assert harness.engine.rollback("one", harness.namespace, generation=4).number == first.number + 1
