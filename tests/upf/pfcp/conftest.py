"""One UPF of our own on loopback, and adapters that speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.upf.pfcp.peer import Peer
from upf_adapter import create
from upf_adapter.pfcp import PfcpUpf


@pytest.fixture
def peer() -> Iterator[Peer]:
    upf = Peer()
    yield upf
    upf.close()


def options(upf: Peer | None = None, **changes: Any) -> dict[str, Any]:
    """Return options for one UE, patient enough for a busy machine; keywords change them."""
    return {
        "peer": "127.0.0.1",
        "peer_port": upf.port if upf else 8805,
        "bind": "127.0.0.1",
        "bind_port": 0,
        "t1": 3.0,
        "n1": 3,
        "heartbeat": 30.0,
        "core_instance": "internet",
        "sessions": [{"ue": ["10.45.0.2"], "radio": {"address": "192.0.2.7", "teid": 77}}],
        "destinations": {"10.60.0.0/16": "mec.apps"},
    } | changes


@pytest.fixture
def adapter(peer: Peer) -> Iterator[Callable[..., PfcpUpf]]:
    """Make adapters for the UPF; they are closed behind the test."""
    made: list[PfcpUpf] = []

    def make(**changes: Any) -> PfcpUpf:
        each = create("pfcp", options(peer, **changes))
        assert isinstance(each, PfcpUpf)
        made.append(each)
        return each

    yield make
    for each in made:
        each.close()
