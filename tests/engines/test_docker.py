"""The docker engine keeps the contract of engines, on a real container runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.carried import CarriedImages
from tests.contracts.engine import EngineContract
from tests.contracts.image import write_archive
from tests.engines.docker_harness import DockerHarness

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture(scope="session")
def contract_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("image") / "contract.tar")


@pytest.fixture
def harness(docker_socket: str, contract_image: Path, tmp_path: Path) -> Iterator[DockerHarness]:
    made = DockerHarness(docker_socket, tmp_path / "state")
    made.give(contract_image)
    yield made
    made.close()


class TestDockerEngine(EngineContract, CarriedImages):
    """Runs the suite."""
