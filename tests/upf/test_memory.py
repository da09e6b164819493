"""The simulated user plane keeps the contract of UPF adapters."""

from __future__ import annotations

import pytest

from tests.contracts.upf import Harness, UpfContract
from upf_adapter import create
from upf_adapter.contract import UpfAdapter


class MemoryHarness(Harness):
    """There is nobody behind the adapter to ask, so it is asked itself."""

    remote = False

    def __init__(self) -> None:
        self.adapter = create("memory")

    def installed(self) -> set[str]:
        return set(self.adapter.rules())

    def reopen(self) -> UpfAdapter:
        self.adapter = create("memory")
        return self.adapter


@pytest.fixture
def harness() -> MemoryHarness:
    return MemoryHarness()


class TestMemoryUpf(UpfContract):
    def test_it_says_that_it_is_simulated(self, harness: MemoryHarness) -> None:
        assert harness.adapter.simulated
        assert any("Simulated" in note for note in harness.adapter.capabilities().notes)
