"""The applier, and its quick look into a chart."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.errors import Invalid
from engines.applier import Applier, AppSpec, Blob, MepAccess, absent, failure, values_for
from engines.contract import ReleaseStatus, State
from engines.peek import UNPACKED, Peek, peek

ACCESS = MepAccess("client-1", "secret-1", ca_cert="PEM")
SPEC = {
    "appInstanceId": "i-1",
    "name": "one",
    "namespace": "t-acme",
    "chart": {"sha256": "a" * 64, "size": 1, "url": "/x"},
}


def spec(**changes: Any) -> AppSpec:
    return AppSpec.read({**SPEC, **changes})


def chart(folder: Path, files: dict[str, bytes], name: str = "c") -> Path:
    path = folder / "chart.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for place, content in files.items():
            member = tarfile.TarInfo(f"{name}/{place}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_what_the_mep_gave_wins_over_what_the_operator_wrote() -> None:
    wished = {"global": {"mep": {"clientSecret": "mine"}, "other": 1}, "note": "x"}
    values = values_for(spec(values=wished), ACCESS, Peek())
    assert values["global"]["mep"]["clientSecret"] == "secret-1"
    assert values["global"]["other"] == 1
    assert values["note"] == "x"
    assert wished["global"]["mep"] == {"clientSecret": "mine"}


def test_a_chart_whose_schema_knows_no_global_is_left_alone() -> None:
    closed = Peek(schema={"additionalProperties": False, "properties": {"note": {}}})
    assert values_for(spec(values={"note": "x"}), ACCESS, closed) == {"note": "x"}
    assert "global" in values_for(
        spec(), ACCESS, Peek(schema={"additionalProperties": False, "properties": {"global": {}}})
    )


def test_the_placeholders_of_an_edgegallery_chart_are_filled_and_the_rest_stays() -> None:
    known = Peek(values={"appconfig": {"aksk": {"secretname": "s", "accesskey": "<akvalue>"}, "appnamespace": "n"}})
    values = values_for(spec(values={"appconfig": {"appnamespace": "mine"}}), ACCESS, known)
    assert values["appconfig"] == {
        "appnamespace": "mine",
        "aksk": {"accesskey": "client-1", "secretkey": "secret-1", "appInsId": "i-1"},
    }
    assert "appconfig" not in values_for(spec(), ACCESS, Peek(values={"appconfig": {"x": 1}}))


def test_no_secret_is_shown_by_accident() -> None:
    assert "secret-1" not in repr(ACCESS)
    assert "hunter2" not in repr(spec(values={"password": "hunter2"}))


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    key=some.sampled_from([*SPEC, "values", "images", "gracefulTerminationTimeout", "appDNSRule"]), value=json_values
)
def test_any_spec_is_read_or_refused(key: str, value: Any) -> None:
    try:
        read = spec(**{key: value})
    except Invalid:
        return
    assert 0 <= read.grace <= 3600
    assert all(len(blob.sha256) == 64 for blob in read.blobs())


@pytest.mark.parametrize("raw", [None, 7, {}, {"sha256": "A" * 64, "size": 1}, {"sha256": "a" * 64, "size": -1}])
def test_what_names_no_file_is_refused(raw: Any) -> None:
    with pytest.raises(Invalid, match="chart"):
        Blob.read(raw, "chart")


def test_a_failure_carries_the_problem_and_gone_is_gone() -> None:
    told = failure(Invalid("no DaemonSets here", findings=[1]))
    assert (told["state"], told["reason"], told["message"]) == ("failed", "invalid", "no DaemonSets here")
    assert told["problem"]["findings"] == [1]
    assert absent()["state"] == "absent"


# --- looking into a chart ----------------------------------------------------------------------------------------------
def test_values_and_schema_are_found_in_an_archive_and_in_a_folder(tmp_path: Path) -> None:
    files = {"Chart.yaml": b"x", "values.yaml": b"a: 1\n", "values.schema.json": b'{"type": "object"}'}
    packed = chart(tmp_path, {**files, "charts/sub/values.yaml": b"a: 2\n"})
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for place in (packed, folder):
        assert peek(place) == Peek({"a": 1}, {"type": "object"})


def test_a_chart_without_values_has_none(tmp_path: Path) -> None:
    assert peek(chart(tmp_path, {"Chart.yaml": b"x"})) == Peek()


@pytest.mark.parametrize(
    "files",
    [
        {"values.yaml": b"a: [1"},
        {"values.yaml": b"a: !!python/object/apply:os.system ['true']"},
        {"values.schema.json": b"{"},
        {"values.yaml": b"a: " + b"x" * (1 << 20)},
        {"values.schema.json": b'{"a":' * 100_000},
    ],
    ids=["broken yaml", "code", "broken json", "too large", "too deep"],
)
def test_values_that_cannot_be_read_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(Invalid):
        peek(chart(tmp_path, files))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", gzip.compress(b"no tar" * 500, mtime=0), b"\x1f\x8b\x08\x00cut"]
)
def test_what_is_no_chart_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chart.tgz"
    path.write_bytes(content)
    with pytest.raises(Invalid):
        peek(path)


def test_a_chart_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chart.tgz"
    member = tarfile.TarInfo("c/files/zeros")
    member.size = UNPACKED + 1024
    with gzip.open(path, "wb", 1) as packed:
        packed.write(member.tobuf())
        for _ in range(member.size // (1 << 20) + 1):
            packed.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(Invalid, match="unpacks to more"):
        peek(path)


class _Lingering:
    """An engine whose pods take a few looks to end."""

    def __init__(self, looks: int) -> None:
        self.looks, self.removals = looks, 0

    def remove(self, name: str, namespace: str) -> None:
        self.removals += 1

    def status(self, name: str, namespace: str) -> ReleaseStatus:
        self.looks -= bool(self.removals)
        return ReleaseStatus(name, namespace, State.PROGRESSING if self.looks > 0 else State.ABSENT)


class _Registry:
    """A MEP that remembers whom it forgot."""

    def __init__(self) -> None:
        self.discarded: list[str] = []

    def discard(self, app_instance_id: str) -> None:
        self.discarded.append(app_instance_id)


def test_an_app_is_gone_only_when_its_last_pod_is() -> None:
    engine, mep = _Lingering(looks=2), _Registry()
    applier = Applier(cast(Any, engine), cast(Any, mep), fetch=lambda blob: Path("unused"))
    assert not applier.remove(spec(), waited=0)
    assert mep.discarded == []
    assert applier.remove(spec(), waited=1)
    assert mep.discarded == ["i-1"]


def test_a_chart_may_share_parts_of_its_values(tmp_path: Path) -> None:
    values = b"common: &common {a: 1}\nweb: *common\n"
    assert peek(chart(tmp_path, {"values.yaml": values})).values["web"] == {"a": 1}
