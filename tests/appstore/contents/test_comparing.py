"""What differs between two releases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.certification.contract import Part
from appstore.contents import services
from appstore.contents.comparing import compare
from appstore.contents.facts import Component, Facts, ImageFact, Permission
from tests.appstore.contents import inside

HOST = Permission("host-network", "high", "Deployment/a", "uses the network of the host")
PORT = Permission("host-port", "medium", "Deployment/a/web", "takes the port 1", "1/TCP")


def facts(**members: Any) -> Facts:
    return Facts(**members)


def test_the_same_facts_do_not_differ() -> None:
    one = facts(
        permissions=[HOST], components=[Component("deb", "a", "1", "", "MIT", "i")], signer="x", parts={"chart": "1"}
    )
    found = compare(one, one)
    assert not found
    assert not found.needs_review
    assert found.parts == []


def test_a_new_permission_asks_for_review_and_the_grave_come_first() -> None:
    found = compare(facts(), facts(permissions=[PORT, HOST]))
    assert [step.severity for step in found.permissions.added] == ["high", "medium"]
    assert found.permissions.added[0].what == "Deployment/a uses the network of the host"
    assert found.needs_review
    assert "1 grave permission " in found.reasons[0]


def test_a_permission_that_is_gone_or_changed_asks_for_review_too() -> None:
    gone = compare(facts(permissions=[PORT]), facts())
    assert [step.before for step in gone.permissions.removed] == ["Deployment/a/web takes the port 1"]
    changed = compare(facts(permissions=[HOST]), facts(permissions=[replace(HOST, words="other words")]))
    assert [(s.before, s.after) for s in changed.permissions.changed] == [
        ("Deployment/a uses the network of the host", "Deployment/a other words")
    ]
    assert gone.needs_review
    assert changed.needs_review


def test_a_chart_that_cannot_be_rendered_asks_for_review() -> None:
    assert compare(facts(), facts(rendered=False)).needs_review


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("", "a", "the release before was not signed"), ("a", "", "It is not signed"), ("a", "b", "another certificate")],
)
def test_another_signer_asks_for_review(old: str, new: str, words: str) -> None:
    found = compare(facts(signer=old), facts(signer=new))
    assert words in found.reasons[0]
    assert found.needs_review


def test_software_and_images_are_told_with_their_versions() -> None:
    def lib(name: str, version: str) -> Component:
        return Component("deb", name, version, place="localhost/x/hello:1")

    old = facts(components=[lib("a", "1"), lib("b", "1")], images=[ImageFact("localhost/x/hello:1", carried=True)])
    new = facts(components=[lib("a", "2"), lib("c", "1")], images=[ImageFact("localhost/x/hello:2", carried=True)])
    found = compare(old, new)
    assert [(s.what, s.before, s.after) for s in found.components.changed] == [("deb a in hello", "1", "2")]
    assert [s.what for s in found.components.added] == ["deb c in hello"]
    assert [s.what for s in found.components.removed] == ["deb b in hello"]
    assert [(s.before, s.after) for s in found.images.changed] == [("1, in the package", "2, in the package")]
    assert not found.needs_review


NAMES = st.sampled_from("abc")
ROWS = st.builds(
    Facts,
    permissions=st.lists(st.builds(Permission, NAMES, st.sampled_from(["high", "low"]), NAMES, NAMES), max_size=4),
    components=st.lists(st.builds(Component, NAMES, NAMES, NAMES), max_size=4),
    licences=st.lists(NAMES, max_size=3),
    ports=st.lists(st.fixed_dictionaries({"kind": NAMES, "place": NAMES, "port": st.integers(1, 3)}), max_size=3),
    objects=st.lists(st.fixed_dictionaries({"kind": NAMES, "name": NAMES}), max_size=3),
    signer=NAMES,
    parts=st.dictionaries(st.sampled_from([str(part) for part in Part]), NAMES),
)


@given(ROWS, ROWS)
def test_what_came_one_way_goes_the_other_way(old: Facts, new: Facts) -> None:
    there, back = compare(old, new), compare(new, old)
    for (_, one), (_, two) in zip(there.topics(), back.topics(), strict=True):
        assert sorted(s.what for s in one.added) == sorted(s.what for s in two.removed)
        assert len(one.changed) == len(two.changed)
    assert there.parts == back.parts
    assert there.needs_review == back.needs_review
    assert not compare(old, old)


@given(ROWS)
def test_facts_are_the_same_after_they_were_stored(one: Facts) -> None:
    assert Facts.of(one.as_dict()) == one


HOOK = """apiVersion: batch/v1
kind: Job
metadata: {name: prepare, annotations: {"helm.sh/hook": pre-install}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b, command: [COMMAND]}]}}}
"""


@pytest.mark.django_db
class TestReleases:
    """Two releases of one application in the store."""

    def test_only_the_parts_that_differ_are_named(self, release: Any, read: Any) -> None:
        picture = inside.image(inside.DEBIAN)
        release(inside.csar(image_file=picture))
        docs = read(inside.csar(version="1.1", image_file=picture, files={"Artifacts/Docs/template.md": "# new\n"}))
        found = services.difference(docs.package)
        assert found is not None
        assert set(found.parts) == {"documents", "manifest", "signature", "whole"}
        assert set(docs.parts) == {str(part) for part in Part}
        chart = read(
            inside.csar(
                version="1.2", image_file=picture, chart_file=inside.chart(**{"templates/x.yaml": inside.GREEDY})
            )
        )
        found = services.difference(chart.package)
        assert found is not None
        assert "chart" in found.parts
        assert not {"images", "descriptor", "documents"} & set(found.parts)
        assert found.needs_review
        assert found.previous == "1.0"
        images = read(inside.csar(version="1.3", image_file=inside.image(inside.ALPINE)))
        found = services.difference(images.package)
        assert found is not None
        assert "images" in found.parts
        assert "chart" not in found.parts

    def test_a_readme_in_the_chart_does_not_change_the_chart(self, release: Any, read: Any) -> None:
        release(inside.chart(), "hello.tgz")
        newer = inside.chart(inside.CHART, **{"README.md": "# New\n"})
        contents = read(newer, "hello.tgz")
        found = services.difference(contents.package)
        assert found is not None
        assert "chart" not in found.parts
        assert "documents" in found.parts

    def test_a_hook_that_was_changed_asks_for_review(self, release: Any, read: Any) -> None:
        def package(version: str, command: str) -> bytes:
            job = HOOK.replace("COMMAND", command)
            return inside.csar(version=version, chart_file=inside.chart(**{"templates/job.yaml": job}))

        release(package("1.0", "true"))
        found = services.difference(read(package("1.1", "false")).package)
        assert found is not None
        assert found.needs_review
        assert [step.severity for step in found.permissions.added] == ["medium"]

    def test_a_hook_that_gains_rights_is_a_grave_permission_in_words(self, release: Any, read: Any) -> None:
        def package(version: str, more: str) -> bytes:
            job = HOOK.replace("COMMAND", "true").replace("image: b", f"image: b{more}")
            return inside.csar(version=version, chart_file=inside.chart(**{"templates/job.yaml": job}))

        release(package("1.0", ""))
        contents = read(package("1.1", ", securityContext: {privileged: true}"))
        found = services.difference(contents.package)
        assert found is not None
        assert found.reasons[0] == "It asks for 1 grave permission that it did not ask for before."
        assert found.permissions.added[0].what == (
            "Job/prepare/a in a hook that runs before installation: "
            "runs privileged: it may do everything that the host may"
        )
        facts = services.facts_of(contents.package)
        assert facts is not None
        assert ("b", ("Job/prepare/a",)) in [(image.reference, image.used_by) for image in facts.images]
        assert {"kind": "Job", "name": "prepare", "namespace": ""} in facts.objects

    def test_a_hook_that_is_made_only_with_other_values_is_told_by_its_file(self, release: Any, read: Any) -> None:
        job = "{{ if .Values.migrate }}\n" + HOOK + "{{ end }}"
        contents = read(inside.csar(chart_file=inside.chart(**{"templates/job.yaml": job})))
        facts = services.facts_of(contents.package)
        assert facts is not None
        assert [(each.place, each.code) for each in facts.permissions] == [("templates/job.yaml", "hook")]

    def test_a_first_release_is_compared_with_nothing(self, read: Any) -> None:
        assert services.difference(read(inside.csar()).package) is None

    def test_what_a_stranger_may_not_see_is_not_compared_with(self, release: Any, stranger_api: Any, api: Any) -> None:
        release(inside.csar(), visibility="organisation")
        newer = release(inside.csar(version="1.1", files={"Artifacts/Docs/template.md": "# secret before\n"}))
        assert api.get(f"/api/v1/packages/{newer.pk}/difference").json()["previous"] == "1.0"
        assert stranger_api.get(f"/api/v1/packages/{newer.pk}/difference").status_code == 404


@pytest.mark.parametrize(
    ("version", "others", "chosen"),
    [
        ("1.10.0", ["1.9.0", "1.2.0"], "1.9.0"),
        ("1.0.5", ["2.0.0", "1.0.4"], "1.0.4"),
        ("1.0.0", ["1.0.0-rc.1", "0.9"], "1.0.0-rc.1"),
        ("1.0.0-rc.2", ["1.0.0-rc.10", "1.0.0-rc.1"], "1.0.0-rc.1"),
        ("0.9", ["2.0.0", "1.0.0"], "2.0.0"),
        ("spring", ["winter", "autumn"], "winter"),
        ("1.0", [], None),
    ],
)
def test_the_release_before_is_the_nearest_lower_version_else_the_latest(
    version: str, others: list[str], chosen: Any
) -> None:
    assert services.before(version, [(other, other) for other in others]) == chosen


VERSIONS = st.from_regex(r"(0|[1-9][0-9]?)(\.(0|[1-9])){0,2}(-[a-z0-9]{1,3})?", fullmatch=True)


@given(VERSIONS, VERSIONS)
def test_of_two_versions_one_is_before_the_other_or_both_are_the_same(one: str, two: str) -> None:
    forth, back = services.version_key(one), services.version_key(two)
    assert (forth < back) + (back < forth) + (forth == back) == 1
