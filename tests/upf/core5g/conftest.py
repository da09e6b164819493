"""The peers of these tests: a NEF, a BSF and a PCF of our own on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import upf_adapter
from tests.upf.core5g.peers import Bsf, Nef, Pcf

ROUTES = [
    {"destination": "10.60.0.0/24", "dnai": "edge-dnai-1", "profile": "mec-local-breakout"},
    {"destination": "10.60.1.7", "dnai": "edge-dnai-2", "address": "203.0.113.1", "port": 2152},
]
UE = "10.45.0.2"
CALLBACK = "https://mep.example/upf/v1/unguessable"


@pytest.fixture
def nef() -> Iterator[Nef]:
    with Nef() as peer:
        yield peer


@pytest.fixture
def pcf() -> Iterator[Pcf]:
    with Pcf() as peer:
        yield peer


@pytest.fixture
def bsf(pcf: Pcf) -> Iterator[Bsf]:
    with Bsf() as peer:
        peer.bindings[UE] = pcf.url
        yield peer


def nef_options(nef: Nef, /, **changes: Any) -> dict[str, Any]:
    return {
        "url": nef.url,
        "af_id": "breakwater af",
        "owner": "edge-7",
        "routes": ROUTES,
        "af_service_id": "mec-svc-1",
        "dnn": "internet",
        "snssai": {"sst": 1, "sd": "000001"},
        "notification_url": CALLBACK,
        "check_every": 0.0,
        "retry_first": 0.05,
        "access": {"timeout": 1.0},
        **changes,
    }


def pcf_options(bsf: Bsf, state: Path, /, **changes: Any) -> dict[str, Any]:
    return {
        "bsf": bsf.url,
        "routes": ROUTES,
        "notification_url": CALLBACK,
        "state_file": str(state),
        "check_every": 0.0,
        "retry_first": 0.05,
        "access": {"timeout": 1.0},
        **changes,
    }


@pytest.fixture
def to_nef(nef: Nef) -> Iterator[Callable[..., Any]]:
    """Make adapters on the NEF; keywords change their options."""
    made = []

    def make(**changes: Any) -> Any:
        made.append(upf_adapter.create("nef", nef_options(nef, **changes)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def to_pcf(bsf: Bsf, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Make adapters on the PCF, found through the BSF; keywords change their options."""
    made = []

    def make(**changes: Any) -> Any:
        made.append(upf_adapter.create("pcf", pcf_options(bsf, tmp_path / "sessions", **changes)))
        return made[-1]

    yield make
    for each in made:
        each.close()
