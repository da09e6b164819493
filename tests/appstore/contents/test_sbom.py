"""The bill of materials is CycloneDX 1.6, whatever names its authors chose, and the same each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from appstore.contents import sbom
from appstore.contents.facts import Component, Facts, ImageFact

ABOUT = sbom.About("hello", "Acme", "1.0", "b" * 64, datetime(2026, 1, 1, tzinfo=UTC))
IMAGE = ImageFact("localhost/x/hello:1.0", "sha256:" + "a" * 64, pinned=False, carried=True, architecture="linux/arm64")


def example() -> Facts:
    return Facts(
        images=[IMAGE],
        licences=["Apache-2.0", "MIT OR ISC"],
        components=[
            Component("chart", "hello", "1.0", "pkg:helm/hello@1.0", "Apache-2.0", "chart"),
            Component("image", "localhost/x/hello", "1.0", "pkg:oci/hello@sha256:" + "a" * 64, "", "package"),
            Component("deb", "bash", "5", "pkg:deb/debian/bash@5?arch=amd64", "odd licence", "localhost/x/hello:1.0"),
        ],
    )


def test_a_bill_has_everything_with_digests_and_says_what_lies_in_what() -> None:
    told = json.loads(sbom.bill(ABOUT, example(), {"Artifacts/a.txt": "c" * 64}))
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    root = told["metadata"]["component"]
    assert (root["name"], root["version"], root["publisher"]) == ("hello", "1.0", "Acme")
    assert root["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert root["licenses"][0]["expression"] == "Apache-2.0 AND (MIT OR ISC)"
    parts = {each["name"]: each for each in told["components"]}
    assert parts["bash"]["purl"] == "pkg:deb/debian/bash@5?arch=amd64"
    assert parts["bash"]["licenses"] == [{"license": {"name": "odd licence"}}]
    assert parts["localhost/x/hello"]["type"] == "container"
    assert parts["localhost/x/hello"]["hashes"][0]["content"] == "a" * 64
    assert parts["Artifacts/a.txt"] == {
        "bom-ref": "file-0", "name": "Artifacts/a.txt", "type": "file",
        "hashes": [{"alg": "SHA-256", "content": "c" * 64}],
    }  # fmt: skip
    links = {each["ref"]: each.get("dependsOn", []) for each in told["dependencies"]}
    assert links["image-1"] == ["software-2"]
    assert "software-2" not in links["release"]


def test_the_same_release_gives_the_same_bytes() -> None:
    assert sbom.bill(ABOUT, example(), {"a": "c" * 64}) == sbom.bill(ABOUT, example(), {"a": "c" * 64})


TEXT = st.text(max_size=12)
COMPONENTS = st.builds(Component, st.sampled_from(["deb", "image", "chart"]), TEXT, TEXT, st.just(""), TEXT, TEXT)


@settings(max_examples=20)
@given(st.lists(COMPONENTS, max_size=4), TEXT, st.dictionaries(TEXT, st.just("d" * 64), max_size=3))
def test_every_bill_fits_the_schema_whatever_the_names(components: Any, name: str, files: Any) -> None:
    facts = Facts(components=components, images=[IMAGE])
    text = sbom.bill(sbom.About(name, name, name, "b" * 64, ABOUT.made_at), facts, files).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
