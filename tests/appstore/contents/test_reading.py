"""What is found inside a package, and what is said when it cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appstore.contents import services
from appstore.contents.models import Contents
from appstore.packages import blobs
from appstore.packages.models import Package
from core.operations import services as operations
from core.operations.models import Operation
from tests.appstore import making
from tests.appstore.contents import inside

pytestmark = pytest.mark.django_db


def test_a_package_is_read_by_a_worker_after_its_check_and_never_by_the_request(upload: Any) -> None:
    pk = upload(inside.csar()).json()["id"]
    assert not Operation.objects.filter(kind=services.INSPECT).exists()
    operations.run_due(kinds=["package.check"])
    assert Operation.objects.get(kind=services.INSPECT).state == "pending"
    assert not Contents.objects.exists()
    operations.run_due()
    assert str(Contents.objects.get().package_id) == pk


def test_chart_images_and_their_software_are_listed(read: Any) -> None:
    facts = read(inside.csar(image_file=inside.image(inside.DEBIAN, {**inside.PYTHON, **inside.NODE}))).read()
    assert facts.problems == []
    assert facts.licences == ["Apache-2.0"]
    assert (facts.category, facts.keywords, facts.maintainers) == ("networking", ["greeting", "edge"], ["Acme"])
    assert [change.kind for change in facts.changes] == ["security", "added", "changed"]
    assert {each["kind"] for each in facts.objects} == {"Deployment", "Service"}
    assert [(p["kind"], p["port"]) for p in facts.ports] == [("container", 8080), ("service", 80)]
    (image,) = facts.images
    assert image.carried
    assert not image.pinned
    assert image.architecture == "linux/arm64/v8"
    assert image.used_by == ("Deployment/hello/web",)
    found = {(each.kind, each.name, each.version) for each in facts.components}
    assert ("chart", "hello", "1.2.0") in found
    assert ("deb", "libc6", "2.36-9+deb12u4") in found
    assert ("pypi", "flask", "3.0") in found
    assert ("npm", "left", "1.3.0") in found
    # What Debian has removed but not forgotten is not there.
    assert not any(each.name == "gone" for each in facts.components)
    assert "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12" in {c.purl for c in facts.components}


def test_subcharts_are_components_packed_or_not(read: Any) -> None:
    packed = making.tar_bytes({"db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 3.1.0\n"}, packed=True)
    folder = "apiVersion: v2\nname: cache\nversion: 7.0.0\nannotations: {licenses: BSD-3-Clause}\n"
    files: dict[str, Any] = {"charts/db-3.1.0.tgz": packed, "charts/cache/Chart.yaml": folder}
    facts = read(inside.csar(chart_file=inside.chart(**files))).read()
    found = {(c.name, c.version, c.licence, c.place) for c in facts.components if c.kind == "chart"}
    assert ("db", "3.1.0", "", "charts/db-3.1.0.tgz") in found
    assert ("cache", "7.0.0", "BSD-3-Clause", "charts/cache") in found


def test_a_plain_chart_is_read_as_well(read: Any) -> None:
    contents = read(inside.chart(**{"README.md": "# Hello\n", "LICENSE": MIT, "CHANGELOG.md": KEPT}), "hello-1.2.0.tgz")
    facts = contents.read()
    assert contents.readme.startswith("# Hello")
    assert facts.licences == ["Apache-2.0", "MIT"]
    assert facts.images[0].reference == "localhost/breakwater/hello:1.0"
    assert not facts.images[0].carried
    assert contents.values_schema == inside.SCHEMA


def test_reading_twice_has_one_effect(read: Any, actor: Any) -> None:
    contents = read(inside.csar(image_file=inside.image(inside.ALPINE), files={"Icon/icon.png": inside.png()}))
    before = Contents.objects.values().get()
    files = set(contents.package.blobs.values_list("pk", flat=True))
    services.request_inspection(contents.package, actor=actor)
    operations.run_due()
    after = Contents.objects.values().get()
    assert {k: v for k, v in before.items() if k != "made_at"} == {k: v for k, v in after.items() if k != "made_at"}
    assert set(contents.package.blobs.values_list("pk", flat=True)) == files


def test_the_bill_and_the_pictures_survive_the_garbage_collection_and_another_check(read: Any) -> None:
    contents = read(inside.csar(files={"Icon/icon.png": inside.png()}))
    from appstore.packages import services as packages

    packages.request_check(contents.package)
    operations.run_due()
    operations.run_due()
    blobs.collect_garbage(grace=-1)
    assert blobs.path_of(contents.sbom_sha256).exists()
    assert blobs.path_of(contents.pictures[0]["sha256"]).exists()


def test_a_chart_that_cannot_be_rendered_is_a_problem_and_the_rest_is_told(read: Any) -> None:
    contents = read(
        inside.csar(chart_file=inside.chart(**{"templates/hello.yaml": "kind: {{ .Values.no.such.thing }}"}))
    )
    facts = contents.read()
    assert any("cannot be rendered" in each for each in facts.problems)
    assert facts.permissions == []
    assert facts.licences == ["Apache-2.0"]


def test_an_odd_layer_is_a_problem_and_the_other_layers_are_read(read: Any) -> None:
    broken = making.tar_bytes(
        {
            "config.json": "[]",
            "a.tar": making.tar_bytes(inside.ALPINE),
            "b.tar": b"no tar at all" * 100,
            "manifest.json": json.dumps(
                [
                    {
                        "Config": "config.json",
                        "RepoTags": ["localhost/breakwater/hello:1.0"],
                        "Layers": ["a.tar", "b.tar"],
                    }
                ]
            ),
        }
    )
    facts = read(inside.csar(image_file=broken)).read()
    assert any("a layer cannot be read" in each for each in facts.problems)
    assert {c.name for c in facts.components if c.kind == "apk"} == {"musl", "busybox"}


def test_a_rejected_package_is_not_read(checked: Any) -> None:
    told = checked(making.zip_bytes({"hello.mf": "metadata:\n app_product_name: x\n", **making.edgegallery_files()}))
    assert told["state"] == "rejected"
    operations.run_due()
    assert not Contents.objects.exists()
    assert not Operation.objects.filter(kind=services.INSPECT).exists()


def test_a_release_of_which_nothing_is_known_is_read_when_it_changes(release: Any, actor: Any) -> None:
    from appstore.packages import services as packages

    package = release(inside.csar())
    Contents.objects.all().delete()
    packages.withdraw(package, actor=actor, reason="test")
    operations.run_due()
    assert Contents.objects.get().package_id == package.pk


def test_a_command_asks_for_what_nobody_has_read(read: Any, capsys: Any) -> None:
    from django.core.management import call_command

    read(inside.csar())
    call_command("inspect_packages")
    Contents.objects.update(reader=0)
    call_command("inspect_packages")
    assert capsys.readouterr().out.splitlines()[-2:] == ["0 packages will be read", "1 packages will be read"]
    operations.run_due()
    assert Contents.objects.get().reader > 0


def test_texts_that_no_database_holds_are_put_right(read: Any) -> None:
    chart = inside.chart(inside.CHART.replace("keywords: [greeting", 'keywords: ["a\\0b"'), **{"README.md": "a\0b"})
    contents = read(inside.csar(chart_file=chart, files={"Artifacts/Docs/template.md": ""}))
    assert "\0" not in json.dumps(contents.facts)
    assert "\\u0000" not in json.dumps(contents.facts)
    assert contents.readme == "a\ufffdb"


@pytest.mark.parametrize("name", ["sampleapp.csar", "test2048_1.0.csar"])
def test_real_packages_of_edgegallery_are_read(name: str, checked: Any) -> None:
    told = checked(making.sample(name).read_bytes(), name)
    # Their digests are not all right, so they are rejected; what is inside can be read all the same.
    contents = services.inspect(Package.objects.get(pk=told["id"]))
    assert contents is not None
    facts = contents.read()
    assert facts.objects or facts.problems
    assert facts.images or any("rendered" in each for each in facts.problems)
    assert facts.components


MIT = """MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software ...
The above copyright notice and this permission notice shall be included in all copies ...
"""
KEPT = """# Changelog

## [Unreleased]
### Added
- not yet there

## [1.2.0] - 2026-01-01
### Fixed
- something
"""
