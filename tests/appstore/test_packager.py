"""Packages that we write: the same bytes each time, and read back as they were meant."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appstore.packages.formats import detect
from appstore.packages.packager import app_d_id, build_csar, pack_chart
from core.appd import (
    AppDescriptor,
    Compute,
    ServiceDependency,
    ServiceProduced,
    Transport,
    read_dns_rules,
    read_traffic_rules,
)
from core.archives import open_archive, read_archive
from core.errors import Invalid
from core.findings import Level
from tests.appstore import making

RELEASED = {"released_at": "2026-01-31T12:00:00Z"}
APPD = AppDescriptor(
    name="hello",
    provider="Acme",
    version="1.10",
    description="Says hello\nto all",
    mec_versions=("3.1.1",),
    services_required=(ServiceDependency("location", "2.0"),),
    services_produced=(ServiceProduced("hello", "1.0", None, (Transport(),), ("d1",), ("r1",)),),
    traffic_rules=read_traffic_rules(
        {
            "trafficRuleId": "r1", "filterType": "FLOW", "priority": 3, "action": "FORWARD_DECAPSULATED",
            "trafficFilter": {"dstAddress": "192.0.2.0/24", "dstPort": "80", "tag": "x", "qCI": 1},
            "dstInterface": {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "10.1.1.1"}},
        }, "x", [],
    ),
    dns_rules=read_dns_rules(
        {"dnsRuleId": "d1", "domainName": "hello.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.7"}, "x", []
    ),
    compute=Compute(500, 128 << 20, 1 << 30, "X86"),
    max_latency_ms=20,
    graceful_termination_timeout=5,
)  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A docker-archive."""
    path = tmp_path / "hello-image.tar"
    path.write_bytes(making.image_bytes())
    return path


def build(tmp_path: Path, chart: Path, name: str = "out.csar", **more: Any) -> Path:
    return build_csar(tmp_path / "built" / name, metadata=RELEASED, appd=APPD, chart=chart, **more)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, chart_folder: Path, image: Path) -> None:
    one = build(tmp_path, chart_folder, "one.csar", images=[image])
    (chart_folder / "values.yaml").touch()
    two = build(tmp_path, chart_folder, "two.csar", images=[image])
    assert one.read_bytes() == two.read_bytes()
    with open_archive(one) as archive:
        names = archive.names()
    assert names[:2] == ["TOSCA-Metadata/TOSCA.meta", "hello.mf"]
    assert names[2:] == sorted(names[2:])
    assert sorted(p.name for p in one.parent.iterdir()) == ["one.csar", "two.csar"]


def test_what_was_written_is_read_back(tmp_path: Path, chart_folder: Path, image: Path) -> None:
    extra = {"Artifacts/Docs/template.md": b"# Hello\n"}
    with open_archive(build(tmp_path, chart_folder, images=[image], extra=extra)) as archive:
        found = detect(archive)
        reading = found.read(archive)
        assert archive.read("Artifacts/Docs/template.md") == b"# Hello\n"
    assert found.name == "etsi-csar"
    assert [f.code for f in reading.findings] == ["signature-missing"]
    written = replace(
        APPD,
        description="Says hello\nto all",
        app_d_id=app_d_id(APPD),
        chart="Artifacts/Deployment/Charts/hello.tgz",
        images=reading.descriptor.images,
    )
    assert reading.descriptor == written
    assert [(i.member, i.name) for i in reading.images] == [("Image/hello-image.tar", "localhost/breakwater/hello:1.0")]


def test_an_edgegallery_reader_takes_it_too(tmp_path: Path, chart_folder: Path, image: Path) -> None:
    from appstore.packages.formats.edgegallery import EdgeGalleryCsar

    with open_archive(build(tmp_path, chart_folder, images=[image])) as archive:
        assert EdgeGalleryCsar.claim(archive)
        reading = EdgeGalleryCsar().read(archive)
    assert [f for f in reading.findings if f.level is Level.ERROR] == []
    assert reading.descriptor.traffic_rules == APPD.traffic_rules
    assert reading.descriptor.services_produced == APPD.services_produced


def test_a_change_after_packing_is_found(tmp_path: Path, chart_folder: Path) -> None:
    import zipfile

    path = build(tmp_path, chart_folder)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name in sorted(files):
        if name.endswith(".mf"):
            continue
        changed = {**files, name: files[name] + b" "}
        archive = read_archive(io.BytesIO(making.zip_bytes(changed)))
        wrong = [f.place for f in detect(archive).read(archive).findings if f.code == "manifest-hash-mismatch"]
        assert wrong == [name]


def test_mec_037_wants_its_names_in_the_manifest(tmp_path: Path, chart_folder: Path) -> None:
    import zipfile

    path = build(tmp_path, chart_folder)
    with zipfile.ZipFile(path) as archive:
        files: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    manifest = files["hello.mf"].decode()
    for key in re.findall(r"^(vnf\w*|mec_versions|compatible_\w+):", manifest, re.MULTILINE):
        if key == "vnfm_info":
            continue
        content = making.zip_bytes({**files, "hello.mf": re.sub(rf"^{key}:.*\n", "", manifest, flags=re.MULTILINE)})
        archive = read_archive(io.BytesIO(content))
        told = [f.message for f in detect(archive).read(archive).findings if f.code == "manifest-mandatory"]
        assert told == [f"It has no {key}"]
    other = making.zip_bytes(
        {**files, "hello.mf": manifest.replace("vnf_product_name: hello", "vnf_product_name: bye")}
    )
    archive = read_archive(io.BytesIO(other))
    assert "manifest-differs" in {f.code for f in detect(archive).read(archive).findings}


def test_a_packed_chart_is_the_same_each_time(tmp_path: Path, chart_folder: Path) -> None:
    one = pack_chart(chart_folder, tmp_path / "one.tgz").read_bytes()
    (chart_folder / "Chart.yaml").touch()
    assert pack_chart(chart_folder, tmp_path / "two.tgz").read_bytes() == one
    assert read_archive(io.BytesIO(one)).names() == [
        "hello/Chart.yaml",
        "hello/templates/hello.yaml",
        "hello/values.yaml",
    ]


def test_what_cannot_be_packed_is_refused_and_leaves_nothing(tmp_path: Path, chart_folder: Path, image: Path) -> None:
    with pytest.raises(Invalid, match="released_at"):
        build_csar(tmp_path / "built" / "a.csar", metadata={}, appd=APPD, chart=chart_folder)
    image.write_bytes(making.image_bytes(name=""))
    with pytest.raises(Invalid, match="one named image"):
        build(tmp_path, chart_folder, images=[image])
    image.write_bytes(b"no image")
    with pytest.raises(Invalid):
        build(tmp_path, chart_folder, images=[image])
    assert list((tmp_path / "built").iterdir()) == []
