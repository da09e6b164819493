"""Package formats: the real samples, every known layout, and what each mistake is called."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from appstore.packages import formats
from appstore.packages.formats import Reading, detect
from core.appd import AppDescriptor
from core.archives import Damaged, Limits, open_archive, read_archive
from core.findings import Level
from tests.appstore import making

APPRULES = "22406fba-fd5d-4f55-b3fa-89a45fee913a-apprules.csar"


def read(content: bytes) -> tuple[str, Reading]:
    """The name of the format and what it read."""
    archive = read_archive(io.BytesIO(content))
    found = detect(archive)
    return found.name, found.read(archive)


def codes(reading: Reading, level: Level = Level.ERROR) -> list[str]:
    """The codes of the findings of one level."""
    return sorted(finding.code for finding in reading.findings if finding.level is level)


def read_sample(name: str) -> Reading:
    """What a real package says."""
    with open_archive(making.sample(name)) as archive:
        found = detect(archive)
        assert found.name == "edgegallery-csar"
        return found.read(archive)


class TestSamples:
    """The three real packages."""

    def test_test2048_is_read_whole(self) -> None:
        reading = read_sample("test2048_1.0.csar")
        appd = reading.descriptor
        assert (appd.name, appd.provider, appd.version, appd.app_class) == ("test2048", "Huawei", "v1.0", "container")
        assert (appd.compute.cpu_millis, appd.compute.memory_bytes, appd.compute.storage_bytes) == (
            4000,
            4 << 30,
            20 << 30,
        )
        assert reading.chart == "Artifacts/Deployment/Charts/test2048.tgz"
        assert codes(reading) == []
        missing = [f for f in reading.findings if f.code == "listed-member-missing"]
        assert [f.place for f in missing] == ["Image/SwImageDesc.json"]

    def test_the_signature_of_test2048_verifies_and_is_not_trusted(self) -> None:
        signature = read_sample("test2048_1.0.csar").signature
        assert (signature.state, signature.covers, signature.self_signed, signature.trusted) == (
            "valid",
            "sources",
            True,
            False,
        )
        assert signature.algorithm == "rsa-1024 with sha256"
        assert "1024" in signature.weak
        assert "edgegallery.org" in signature.signer

    def test_the_rules_sample_gives_its_rules_and_services(self) -> None:
        appd = read_sample(APPRULES).descriptor
        (traffic,) = appd.traffic_rules
        assert traffic["trafficRuleId"] == "trafficRule1"
        assert traffic["action"] == "PASSTHROUGH"
        assert traffic["trafficFilter"][0]["dstAddress"] == ["172.30.2.0/28"]
        assert traffic["trafficFilter"][0]["tag"] == ["1234"]
        assert traffic["dstInterface"][0]["tunnelInfo"]["tunnelDstAddress"] == "10.10.10.10"
        (dns,) = appd.dns_rules
        assert dns == {
            "dnsRuleId": "dnsRule1", "domainName": "positioningservice.org", "ipAddressType": "IP_V4",
            "ipAddress": "172.30.2.17", "ttl": 100,
        }  # fmt: skip
        assert [s.ser_name for s in appd.services_required] == ["service-discovery"]
        assert [s.ser_name for s in appd.services_optional] == ["appService2"]
        (produced,) = appd.services_produced
        assert (produced.ser_name, produced.version) == ("positioning-service", "1.0")
        assert [i.name for i in appd.images] == ["positioning_service:1.0", "mep-agent:latest"]

    def test_the_rules_sample_has_two_wrong_hashes(self) -> None:
        reading = read_sample(APPRULES)
        wrong = [f for f in reading.findings if f.code == "manifest-hash-mismatch"]
        assert {f.place for f in wrong} == {"Artifacts/Deployment/Charts/testposiu.tgz", "APPD/MainServiceTemplate.zip"}
        assert codes(reading) == ["manifest-hash-mismatch", "manifest-hash-mismatch"]

    def test_the_wrapped_sample_is_read_and_its_mismatch_found(self) -> None:
        reading = read_sample("sampleapp.csar")
        assert reading.descriptor.name == "positioning-serviceTest2"
        assert reading.descriptor.services_produced[0].ser_name == "positioning-service"
        assert reading.chart.startswith("positioning_with_mepagent_new/Artifacts/")
        assert "wrapper-folder" in codes(reading, Level.WARNING)
        assert set(codes(reading)) == {"manifest-hash-mismatch"}


class TestEdgeGallery:
    """EdgeGallery's CSAR, made on the spot."""

    @pytest.mark.parametrize("appd", ["zip", "folder"])
    @pytest.mark.parametrize("wrapper", ["", "hello_1.0/"])
    @pytest.mark.parametrize("images", [True, False])
    def test_every_layout_is_read(self, appd: str, wrapper: str, images: bool) -> None:
        name, reading = read(making.edgegallery(appd=appd, wrapper=wrapper, images=images))
        assert name == "edgegallery-csar"
        assert codes(reading) == []
        described = reading.descriptor
        assert (described.name, described.provider, described.version) == ("hello", "Acme", "1.0")
        assert described.services_produced[0].version == "1.10"  # and not the number 1.1
        assert described.dns_rules[0]["domainName"] == "hello.example"
        assert described.compute.memory_bytes == 256 << 20
        assert reading.chart == f"{wrapper}Artifacts/Deployment/Charts/hello.tgz"
        assert [i.member for i in reading.images] == ([f"{wrapper}Image/hello.tar"] if images else [])
        assert ("listed-member-missing" in codes(reading, Level.WARNING)) is not images

    def test_both_spellings_of_the_release_date_are_taken(self) -> None:
        files = making.edgegallery_files()
        for key in ("app_release_data_time", "app_release_date_time"):
            values = {"app_release_data_time": "", key: "2021-07-02 14:50"}
            _, reading = read(making.zip_bytes({"hello.mf": making.manifest_of(files, **values), **files}))
            assert codes(reading) == []

    def test_the_same_release_has_the_same_id_wherever_it_is_read(self) -> None:
        one, two = (read(making.edgegallery(appd=appd))[1].descriptor for appd in ("zip", "folder"))
        assert one.app_d_id == two.app_d_id

    @pytest.mark.parametrize("appd", ["zip", "folder"])
    def test_a_descriptor_is_the_same_after_json(self, appd: str) -> None:
        described = read(making.edgegallery(appd=appd))[1].descriptor
        assert AppDescriptor.from_dict(json.loads(json.dumps(described.to_dict()))) == described

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda f: f.pop("hello.mf"), "manifest-missing"),
            (lambda f: f.update({"other.mf": f["hello.mf"]}), "manifest-several"),
            (lambda f: f.pop("TOSCA-Metadata/TOSCA.meta"), "tosca-meta-missing"),
            (lambda f: f.pop("APPD/MainServiceTemplate.zip"), "appd-missing"),
            (lambda f: f.pop("Artifacts/Deployment/Charts/hello.tgz"), "chart-missing"),
            (lambda f: f.update({"APPD/MainServiceTemplate.zip": b"no zip"}), "not-an-archive"),
            (
                lambda f: f.update({"Artifacts/Deployment/Charts/hello.tgz": making.zip_bytes({"a": "b"})}),
                "chart-invalid",
            ),
            (lambda f: f.update({"Image/SwImageDesc.json": "[{]"}), "bad-json"),
            (lambda f: f.update({"Image/SwImageDesc.json": "{}"}), "image-list-invalid"),
            (lambda f: f.update({"TOSCA-Metadata/TOSCA.meta": b"\xff\xfe"}), "not-text"),
        ],
    )
    def test_what_is_missing_or_broken_is_called_so(self, change: Any, expected: str) -> None:
        files = {"hello.mf": making.manifest_of(making.edgegallery_files()), **making.edgegallery_files()}
        change(files)
        assert expected in codes(read(making.zip_bytes(files))[1])

    @pytest.mark.parametrize(
        "key", ["app_product_name", "app_provider_id", "app_package_version", "app_release_data_time"]
    )
    def test_mandatory_names_of_the_manifest(self, key: str) -> None:
        files = making.edgegallery_files()
        reading = read(making.zip_bytes({"hello.mf": making.manifest_of(files, **{key: ""}), **files}))[1]
        assert "manifest-mandatory" in codes(reading)

    @pytest.mark.parametrize(
        "template",
        [
            "a: [", "just text", "topology_template: 5", "a: &a [*a]", "!!python/object/apply:os.system ['id']",
            "topology_template: {node_templates: [1, 2]}",
            "topology_template: {node_templates: {app_configuration: 7}}",
        ],
    )  # fmt: skip
    def test_a_hostile_template_is_a_finding(self, template: str) -> None:
        reading = read(making.edgegallery(appd="folder", template=template))[1]
        assert set(codes(reading) + codes(reading, Level.WARNING)) & {
            "bad-yaml",
            "yaml-bomb",
            "template-invalid",
            "template-version",
        }

    def test_a_key_that_is_there_twice_is_told(self) -> None:
        reading = read(making.edgegallery(template=making.TEMPLATE + "description: a\ndescription: b\n"))[1]
        assert "yaml-duplicate-key" in codes(reading, Level.WARNING)

    def test_a_package_of_a_virtual_machine_is_read_and_refused(self) -> None:
        files = making.edgegallery_files(images=False)
        files.pop("Artifacts/Deployment/Charts/hello.tgz")
        files["Image/SwImageDesc.json"] = json.dumps(
            [{"name": "ubuntu", "version": "20", "swImage": "Image/ubuntu.zip"}]
        )
        files["Image/ubuntu.zip"] = making.zip_bytes({"ubuntu/ubuntu.qcow2": "disk"})
        reading = read(making.zip_bytes({"hello.mf": making.manifest_of(files, app_class="vm"), **files}))[1]
        assert codes(reading) == ["vm-not-supported"]
        assert reading.descriptor.images[0].archive == "Image/ubuntu.zip"
        assert reading.images == ()


class TestManifest:
    """Digests, both ways."""

    def verdicts(self, change: Any) -> list[tuple[str, str, Level]]:
        files = making.edgegallery_files()
        whole = {"hello.mf": making.manifest_of(files), **files}
        change(whole)
        found = read(making.zip_bytes(whole))[1].findings
        return [(f.code, f.place, f.level) for f in found if f.code.startswith("manifest-")]

    def test_a_changed_file_is_found(self) -> None:
        assert self.verdicts(lambda f: f.update({"Artifacts/Docs/template.md": "# other"})) == [
            ("manifest-hash-mismatch", "Artifacts/Docs/template.md", Level.ERROR)
        ]

    def test_a_listed_file_that_is_not_there_is_found(self) -> None:
        assert self.verdicts(lambda f: f.pop("Artifacts/Docs/template.md")) == [
            ("manifest-source-missing", "Artifacts/Docs/template.md", Level.ERROR)
        ]

    def test_a_file_that_is_not_listed_is_found(self) -> None:
        found = self.verdicts(lambda f: f.update({"Image/extra.tar": making.image_bytes(), "notes.txt": "x"}))
        assert found == [
            ("manifest-unlisted", "Image/extra.tar", Level.WARNING),
            ("manifest-unlisted", "notes.txt", Level.INFO),
        ]

    @pytest.mark.parametrize(
        ("old", "new", "code"),
        [
            ("Algorithm: SHA-256", "Algorithm: MD5", "manifest-algorithm"),
            ("Algorithm: SHA-256\n", "", "manifest-algorithm"),
            (r"Hash: \w+\n", "", "manifest-hash-missing"),
            (r"(Source: Artifacts/Docs.*\n)", r"\1Algorithm: SHA-256\nHash: 00\n\1", "manifest-duplicate"),
            ("metadata:\n", "metadata:\napp_product_name: other\n", "manifest-duplicate"),
        ],
    )
    def test_each_odd_entry_has_its_name(self, old: str, new: str, code: str) -> None:
        def change(files: dict[str, Any]) -> None:
            files["hello.mf"] = re.sub(old, new, files["hello.mf"])

        assert code in {found for found, _, level in self.verdicts(change) if level is Level.ERROR}

    def test_other_digests_of_the_family_are_taken(self) -> None:
        import hashlib

        def change(files: dict[str, Any]) -> None:
            content = files["Artifacts/Docs/template.md"].encode()
            digest = hashlib.sha512(content).hexdigest().upper()
            files["hello.mf"] = re.sub(
                r"(Source: Artifacts/Docs/template.md\n)Algorithm: SHA-256\nHash: \w+", rf"\1Algorithm: sha512\nHash: {digest}",
                files["hello.mf"],
            )  # fmt: skip

        assert self.verdicts(change) == []

    def test_windows_line_ends_are_taken(self) -> None:
        assert self.verdicts(lambda f: f.update({"hello.mf": f["hello.mf"].replace("\n", "\r\n")})) == []


class TestHelm:
    """Plain charts."""

    def test_a_chart_is_a_package(self) -> None:
        name, reading = read(making.chart_bytes())
        assert name == "helm-chart"
        assert codes(reading) == []
        assert reading.chart_is_package
        appd = reading.descriptor
        assert (appd.name, appd.provider, appd.version, appd.description) == ("hello", "Acme", "1.2.0", "Says hello")

    def test_it_may_carry_a_descriptor(self) -> None:
        described = (
            "appServiceProduced: [{serName: hello, version: '1.0'}]\nappLatency: {maxLatency: 20}\n"
            "compute: {cpuMillis: 250, memoryBytes: 1000000}\nappProvider: Other\n"
        )
        appd = read(making.chart_bytes(**{"mec/appd.yaml": described}))[1].descriptor
        assert (appd.provider, appd.max_latency_ms, appd.compute.cpu_millis) == ("Other", 20, 250)
        assert appd.services_produced[0].ser_name == "hello"

    def test_an_annotation_may_name_it(self) -> None:
        chart = making.CHART_YAML + "annotations: {breakwater/appd: files/a.yaml, breakwater/provider: Third}\n"
        reading = read(making.chart_bytes(**{"Chart.yaml": chart, "files/a.yaml": "appDescription: From a file\n"}))[1]
        assert (reading.descriptor.provider, reading.descriptor.description) == ("Third", "From a file")
        reading = read(making.chart_bytes(**{"Chart.yaml": chart}))[1]
        assert codes(reading) == ["listed-member-missing"]

    @pytest.mark.parametrize(
        ("files", "code"),
        [
            ({"Chart.yaml": "name: hello\nversion: 1.0.0\nmaintainers: [{name: A}]\n"}, "chart-invalid"),
            ({"Chart.yaml": making.CHART_YAML.replace("1.2.0", "one")}, "chart-invalid"),
            ({"Chart.yaml": making.CHART_YAML + "type: library\n"}, "chart-invalid"),
            ({"Chart.yaml": making.CHART_YAML + "dependencies: [{name: redis}]\n"}, "chart-invalid"),
            ({"Chart.yaml": making.CHART_YAML.replace("maintainers: [{name: Acme}]\n", "")}, "appd-mandatory"),
            ({"Chart.yaml": "- a"}, "chart-invalid"),
            ({"Chart.yaml": "a: ["}, "bad-yaml"),
            ({"values.yaml": "- a"}, "chart-invalid"),
            ({"values.schema.json": "{"}, "bad-json"),
            ({"templates/hello.yaml": ""}, "chart-empty"),
            ({"files/large.bin": "x" * (6 << 20)}, "chart-too-large"),
        ],
    )
    def test_what_is_wrong_with_a_chart_is_told(self, files: dict[str, str], code: str) -> None:
        assert code in codes(read(making.chart_bytes(**files))[1])

    def test_a_chart_beside_something_else_is_told(self) -> None:
        content = making.tar_bytes(
            {"hello/Chart.yaml": making.CHART_YAML, "other/file": "x", "hello/templates/a": "b"}, packed=True
        )
        assert "chart-invalid" in codes(read(content)[1])


@pytest.mark.parametrize(
    "content",
    [making.zip_bytes({"a.txt": "b"}), making.tar_bytes({"a.txt": "b"}, packed=True), making.zip_bytes({})],
    ids=["zip", "tar", "empty zip"],
)
def test_an_archive_of_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(Damaged) as problem:
        detect(read_archive(io.BytesIO(content)))
    assert problem.value.finding == "format-unknown"


def test_every_format_is_known_by_its_name() -> None:
    for name, kind in formats.registry:
        assert kind.name == name


def test_a_type_file_in_the_package_never_counts_as_descriptor(tmp_path: Path) -> None:
    files = making.edgegallery_files(appd="folder")
    files.pop("APPD/TOSCA_VNFD.meta")
    files["APPD/Definition/a_types.yaml"] = "tosca_definitions_version: tosca_simple_yaml_1_3\n"
    meta = str(files["TOSCA-Metadata/TOSCA.meta"]).replace("APPD/Definition/MainServiceTemplate.yaml", "APPD")
    files["TOSCA-Metadata/TOSCA.meta"] = meta
    reading = read(making.zip_bytes({"hello.mf": making.manifest_of(files), **files}))[1]
    assert codes(reading) == []
    assert reading.descriptor.services_produced


def test_limits_hold_for_archives_inside(tmp_path: Path) -> None:
    content = making.edgegallery()
    archive = read_archive(io.BytesIO(content), Limits(nested_bytes=100))
    assert "member-too-large" in codes(detect(archive).read(archive))
