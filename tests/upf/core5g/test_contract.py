"""Both adapters keep the contract that every user plane is held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.upf import Harness, UpfContract, rule
from tests.upf.core5g.conftest import UE
from tests.upf.core5g.peers import Bsf, Nef, Pcf
from upf_adapter.contract import UpfAdapter


class NefHarness(Harness):
    def __init__(self, nef: Nef, make: Callable[..., Any], **options: Any) -> None:
        self.nef, self.make, self.options = nef, make, options
        self.adapter = make(**options)

    def installed(self) -> set[str]:
        owners = {body["afTransId"] for body in self.nef.subscriptions.values()}
        known = {self.adapter._rule_of(owner) for owner in owners}  # type: ignore[attr-defined]
        assert len(known) == len(self.nef.subscriptions), "one subscription for each rule"
        return known

    def reopen(self) -> UpfAdapter:
        self.adapter.close()
        self.adapter = self.make(**self.options)
        return self.adapter

    def cut(self) -> None:
        self.nef.cut()

    def mend(self) -> None:
        self.nef.mend()

    def lose(self) -> None:
        self.nef.subscriptions.clear()


class TestNefByItsList(UpfContract):
    """Nothing is kept by us: the NEF's own list is all there is."""

    @pytest.fixture
    def harness(self, nef: Nef, to_nef: Callable[..., Any]) -> NefHarness:
        return NefHarness(nef, to_nef)


class TestNefThatDropsOurMark(UpfContract):
    """A NEF that does not show the afTransId: our own record helps."""

    @pytest.fixture
    def harness(self, nef: Nef, to_nef: Callable[..., Any], tmp_path: Path) -> NefHarness:
        nef.drops = {"afTransId", "anyUeInd"}
        return NefHarness(nef, to_nef, state_file=str(tmp_path / "subscriptions"))


class PcfHarness(Harness):
    def __init__(self, bsf: Bsf, pcf: Pcf, make: Callable[..., Any]) -> None:
        self.bsf, self.pcf, self.make = bsf, pcf, make
        self.adapter = make()

    def installed(self) -> set[str]:
        facts = self.adapter.ledger.facts  # type: ignore[attr-defined]
        by_id = {fact["id"]: key.removeprefix("rule:") for key, fact in facts.items() if key.startswith("rule:")}
        return {by_id[key] for key in self.pcf.sessions}

    def reopen(self) -> UpfAdapter:
        self.adapter.close()
        self.adapter = self.make()
        return self.adapter

    def cut(self) -> None:
        self.pcf.cut()
        self.bsf.cut()

    def mend(self) -> None:
        self.pcf.mend()
        self.bsf.mend()

    def lose(self) -> None:
        self.pcf.sessions.clear()


class TestPcf(UpfContract):
    @pytest.fixture
    def harness(self, bsf: Bsf, pcf: Pcf, to_pcf: Callable[..., Any]) -> PcfHarness:
        return PcfHarness(bsf, pcf, to_pcf)


class TestPcfThatOnlyBlocks(UpfContract):
    """DROP is a session as well: its gate is closed."""

    @pytest.fixture
    def harness(self, bsf: Bsf, pcf: Pcf, to_pcf: Callable[..., Any]) -> PcfHarness:
        harness = PcfHarness(bsf, pcf, to_pcf)
        harness.action = "DROP"
        return harness


def test_a_sample_rule_is_about_the_ue_that_the_core_knows() -> None:
    assert rule().filters[0]["srcAddress"] == [UE]
