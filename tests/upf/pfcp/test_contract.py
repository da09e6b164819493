"""The contract of UPF adapters, kept on N4."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.contracts.upf import Harness, UpfContract
from tests.upf.pfcp.conftest import options
from tests.upf.pfcp.peer import Peer
from upf_adapter.contract import UpfAdapter
from upf_adapter.pfcp import PfcpUpf
from upf_adapter.pfcp.node import RECOVERY


class _Harness(Harness):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._starts = 0
        self.adapter: PfcpUpf = self._start()

    def _start(self) -> PfcpUpf:
        self._starts += 1
        chosen = msgspec.convert(options(self.peer, t1=0.3, n1=4), PfcpUpf.Options)
        # A process that starts again has another Recovery Time Stamp.
        return PfcpUpf(chosen, recovery=RECOVERY + self._starts)

    def installed(self) -> set[str]:
        """By the PDRs that the UPF has; a number that the adapter did not give shows as a question mark."""
        keys = self.adapter.sessions[0].writer.numbers["pdr"].elements()
        found = {keys.get(pdr, ("?", 0))[0] for held in self.peer.sessions.values() for pdr in held.pdrs}
        return found - {""}

    def reopen(self) -> UpfAdapter:
        self.adapter.close()
        self.adapter = self._start()
        return self.adapter

    def cut(self) -> None:
        self.peer.deaf = 1 << 30

    def mend(self) -> None:
        self.peer.deaf = 0

    def lose(self) -> None:
        self.peer.restart()
        self.peer.heartbeat()


class TestPfcp(UpfContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        peer = Peer()
        harness = _Harness(peer)
        yield harness
        harness.adapter.close()
        peer.close()
