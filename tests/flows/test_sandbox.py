"""A developer's test deployment with a real centre, a real edge node and a real container runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dockerd import docker_socket
from tests.flows import variants
from tests.flows.test_certification_live import TrialLab, lab
from tests.waiting import until

__all__ = ["docker_socket", "lab"]
pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def test_a_package_is_tried_watched_and_removed_without_a_trace(lab: TrialLab, tmp_path: Path) -> None:
    made = lab.tell("package", path=str(variants.build(tmp_path, provider="Tried")))
    test = lab.tell("try_out", package_id=made)

    def seen() -> Any:
        told = lab.tell("see", test_id=test)
        assert told["state"] != "failed", told
        return told if told["state"] == "ready" and (told.get("mep") or {}).get("services") else None

    told = until(seen, 90, 0.5, what="the application to be ready and registered")
    assert told["mep"]["app"]["state"] == "READY"
    assert told["instance"]["workloads"][0]["ready"] == 1
    assert told["logs"]
    assert told["problem"] == ""
    assert lab.left() != []
    lab.tell("end_test", test_id=test)
    until(lambda: lab.tell("see", test_id=test)["state"] == "ended", 60, 0.5, what="the end")
    assert lab.left() == []
    assert lab.tell("held") == {"trials": 0, "deployments": 0, "wishes": [], "reports": []}
