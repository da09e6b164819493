"""The sample packages: built from the charts, skipped when up to date, and read by our own store without complaint."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from core.findings import Level
from engines.contract import EngineSettings
from engines.memory import MemoryEngine
from tools import samples


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return samples.build(tmp_path_factory.mktemp("samples"))


@pytest.mark.live
def test_three_packages_are_made(packages: list[Path]) -> None:
    assert [path.name for path in packages] == ["producer-1.0.0.csar", "producer-1.1.0.csar", "consumer-1.0.0.csar"]
    left = sorted(path.name for path in packages[0].parent.iterdir())
    assert left == sorted([*(path.name for path in packages), ".built-from.json"])


@pytest.mark.live
def test_work_that_is_up_to_date_is_skipped(packages: list[Path]) -> None:
    before = [path.stat().st_mtime_ns for path in packages]
    samples.build(packages[0].parent)
    assert [path.stat().st_mtime_ns for path in packages] == before


@pytest.mark.live
def test_a_package_that_was_taken_away_is_built_again(packages: list[Path], tmp_path: Path) -> None:
    content = packages[2].read_bytes()
    packages[2].unlink()
    samples.build(packages[0].parent)
    assert packages[2].read_bytes() == content


@pytest.mark.live
def test_each_package_carries_its_image(packages: list[Path]) -> None:
    for path, image in zip(packages, ("producer:1.0.0", "producer:1.1.0", "consumer:1.0.0"), strict=True):
        with zipfile.ZipFile(path) as package:
            (described,) = json.loads(package.read("Image/SwImageDesc.json"))
            assert described["name"] == f"localhost/breakwater/{image}"
            assert described["swImage"] in package.namelist()


@pytest.mark.parametrize("app", ["producer", "consumer"])
@pytest.mark.parametrize("with_mep", [True, False])
def test_the_charts_can_be_planned(app: str, with_mep: bool, tmp_path: Path) -> None:
    mep = dict.fromkeys(("url", "tokenUrl", "caCert", "appInstanceId", "clientId", "clientSecret"), "x")
    values = {"global": {"mep": {"enabled": True, **mep}}} if with_mep else {}
    engine = MemoryEngine(EngineSettings(name="test", state_dir=tmp_path))
    plan = engine.plan(samples.CHARTS / app, values, name="demo", namespace="t-demo")
    assert [finding for finding in plan.findings if finding.level is Level.ERROR] == []
    assert ("Secret" in {manifest.kind for manifest in plan.manifests}) is with_mep
    assert plan.images == (f"localhost/breakwater/{app}:1.0.0",)


def test_every_port_names_its_protocol(tmp_path: Path) -> None:
    """Server-side apply before Kubernetes 1.21 refuses a port without one."""
    engine = MemoryEngine(EngineSettings(name="test", state_dir=tmp_path))
    for app in ("producer", "consumer"):
        plan = engine.plan(samples.CHARTS / app, {}, name="demo", namespace="t-demo")
        for manifest in plan.manifests:
            text = yaml.safe_dump(json.loads(json.dumps(manifest.body, default=dict)))
            assert text.count("containerPort:") + text.count("targetPort:") == text.count("protocol: TCP")
