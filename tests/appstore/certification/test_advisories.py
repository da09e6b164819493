"""Which version is newer, and which component has a known weakness."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.certification import advisories, versions
from core.errors import Invalid

#: Older, newer.
ORDER = {
    "Debian": [
        ("1.0~rc1", "1.0"), ("1.0", "1.0-1"), ("1.0-1", "1.0-1+deb12u1"), ("1.9", "1.10"), ("2.0", "1:0.1"),
        ("1.0-1", "1.0-1.1"), ("7.6-0", "7.6p2-4"), ("1.0a", "1.0+"), ("1.0-1~bpo12+1", "1.0-1"), ("0", "0a"),
    ],
    "Alpine": [("1.2.3-r0", "1.2.3-r1"), ("1.2_rc1", "1.2"), ("1.2", "1.2_p1"), ("1.2", "1.2a"),
        ("1.2.9", "1.2.10"), ("1.2_alpha2", "1.2_beta1")],
    "PyPI": [("1.0rc1", "1.0"), ("1.0", "1.0.post1"), ("1.0.dev3", "1.0a1"), ("9.0", "1!1.0")],
    "npm": [("1.0.0-alpha", "1.0.0-alpha.1"), ("1.0.0-alpha.9", "1.0.0-alpha.10"),
        ("1.0.0-2", "1.0.0-a"), ("1.0.0-rc.1", "1.0.0"), ("1.9.0", "1.10.0")],
    "Red Hat": [("1.0~rc1-1", "1.0-1"), ("1.0-1", "1.0^git1-1"),
        ("1.0^git1-1", "1.0.1-1"), ("1.0-9.el9", "1.0-10.el9"), ("9-1", "1:1-1")],
}  # fmt: skip
TEXT = st.text("0123456789.abrc~+-:^_v", max_size=14)


@pytest.mark.parametrize(
    ("ecosystem", "older", "newer"), [(name, *pair) for name, pairs in ORDER.items() for pair in pairs]
)
def test_versions_stand_in_the_order_of_their_ecosystem(ecosystem: str, older: str, newer: str) -> None:
    assert versions.compare(ecosystem, older, newer) < 0
    assert versions.compare(ecosystem, newer, older) > 0


@pytest.mark.parametrize("ecosystem", [*ORDER, "Unheard Of"])
@given(one=TEXT, other=TEXT, third=TEXT)
def test_any_text_has_one_place_in_the_order(ecosystem: str, one: str, other: str, third: str) -> None:
    def compare(left: str, right: str) -> int:
        found = versions.compare(ecosystem, left, right)
        return (found > 0) - (found < 0)

    assert compare(one, one) == 0
    assert compare(one, other) == -compare(other, one)
    if ecosystem in ("Debian", "Unheard Of") and compare(one, other) <= 0 and compare(other, third) <= 0:
        assert compare(one, third) <= 0


def record(**members: Any) -> dict[str, Any]:
    events = members.pop("events", [{"introduced": "0"}, {"fixed": "2.1"}])
    package = members.pop("package", {"ecosystem": "PyPI", "name": "Greeter_Kit"})
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}], **members.pop("affected", {})}
    return {"id": "EX-1", "summary": "weak", "affected": [affected], **members}


def written(folder: Path, *records: Any, form: str = "lines") -> Path:
    path = folder / "db"
    if form == "lines":
        path.write_text("\n".join(["not json", *(json.dumps(each) for each in records), "[1]"]))
    elif form == "list":
        path.write_text(json.dumps([*records, 7]))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for number, each in enumerate(records):
                archive.writestr(f"EX-{number}.json", json.dumps(each))
            archive.writestr("README.md", "x")
    return path


GREETER = {"purl": "pkg:pypi/greeter-kit@2.0", "place": "image"}


@pytest.mark.parametrize("form", ["lines", "list", "zip"])
def test_a_database_is_read_in_each_of_its_forms(tmp_path: Path, form: str) -> None:
    (hit,) = advisories.search(written(tmp_path, record(), form=form), [GREETER])
    assert (hit.id, hit.component, hit.version, hit.fixed, hit.place) == ("EX-1", "greeter-kit", "2.0", "2.1", "image")


@pytest.mark.parametrize(
    ("events", "version", "hit"),
    [
        ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0", False),
        ([{"introduced": "2.0"}, {"fixed": "2.1"}], "2.0", True),
        ([{"introduced": "2.0.1"}], "2.0", False),
        ([{"introduced": "0"}, {"last_affected": "2.0"}], "2.0", True),
        ([{"introduced": "0"}, {"last_affected": "1.9"}], "2.0", False),
        ([{"fixed": "1.5"}, {"introduced": "0"}, {"introduced": "1.9"}, {"fixed": "2.2"}], "2.0", True),
        ([{"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.1"}], "2.0", False),
    ],
)
def test_ranges_are_judged_as_the_schema_says(events: list[Any], version: str, hit: bool) -> None:
    affected = record(events=events)["affected"][0]
    assert advisories.is_affected("PyPI", version, affected)[0] is hit


def test_what_was_withdrawn_or_is_about_others_does_not_count(tmp_path: Path) -> None:
    others = [
        record(withdrawn="2026-01-01T00:00:00Z"),
        record(package={"ecosystem": "npm", "name": "greeter-kit"}),
        {"affected": "nonsense"},
    ]
    assert list(advisories.search(written(tmp_path, *others), [GREETER])) == []


def test_a_package_of_a_distribution_is_judged_by_its_release_and_its_source(tmp_path: Path) -> None:
    bookworm = record(
        package={"ecosystem": "Debian:12", "name": "openssl"}, events=[{"introduced": "0"}, {"fixed": "3.0.9-1"}]
    )
    row = {"purl": "pkg:deb/debian/libssl3@3.0.8-1?arch=amd64&distro=debian-12&upstream=openssl", "place": "i"}
    path = written(tmp_path, bookworm)
    assert [hit.component for hit in advisories.search(path, [row])] == ["libssl3"] or list(
        advisories.search(path, [row])
    )
    trixie = {**row, "purl": row["purl"].replace("debian-12", "debian-13")}
    assert list(advisories.search(path, [trixie])) == []


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.0/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L", 2.5),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N", None),
        ("nonsense", None),
    ],
)
def test_scores_are_those_of_the_cvss_calculator(vector: str, score: float | None) -> None:
    assert advisories.cvss3(vector) == score


def test_a_database_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be opened"):
        list(advisories.search(tmp_path / "none", [GREETER]))
