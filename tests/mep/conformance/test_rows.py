"""Every row of the two tables of MEC 011 V3.1.1: its success, and each error that it lists.

The names of the tests say which: `GET /services answers 414 when the target is longer than the server reads`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from tests.mep.conformance.tables import LISTED, ROWS, USUAL
from tests.mep.conformance.world import CHANGED, ORIGIN, Row, Way, World
from tests.mep.test_service_mgmt import problem

CASES = [(row, way) for row in ROWS for way in row.errors]
GETS = [row for row in ROWS if row.method == "GET"]
CONDITIONAL = [row for row in ROWS if row.method in ("PUT", "PATCH", "DELETE")]


def prepared(world: World, row: Row) -> None:
    if row.before:
        row.before(world)


@pytest.mark.parametrize("prefix", ["", "/mep"], ids=["", "under /mep"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_row_succeeds(world: World, row: Row, prefix: str) -> None:
    prepared(world, row)
    answer = world.send(row.sent(path=prefix + row.path))
    assert answer.status_code == row.success, answer.content
    if row.success == 204:
        assert answer.content == b""
        assert "Content-Type" not in answer
        return
    assert answer["Content-Type"] == "application/json"
    assert answer["ETag"].removeprefix("W/").startswith('"')
    if row.success == 201:
        where = answer["Location"]
        assert where.startswith(f"{ORIGIN}{world.path(prefix + row.path)}/"), "it leads back the way the request came"
        again = world.app.get(where.removeprefix(ORIGIN))
        assert again.json() == answer.json()
        assert again["ETag"] == answer["ETag"]


@pytest.mark.parametrize(("row", "way"), CASES, ids=[f"{row} answers {way.status}: {way.words}" for row, way in CASES])
def test_the_row_answers(world: World, row: Row, way: Way, settings: Any) -> None:
    settings.ELSEWHERE = settings.ELSEWHERE  # so that what a way changes is put back
    prepared(world, row)
    if way.before:
        way.before(world)
    answer = world.send(row.sent(**way.change))
    if way.status < 400:
        assert answer.status_code == way.status, answer.content
        return
    told = problem(answer, way.status)
    assert len(told["detail"]) > 15, "every refusal says why"
    if way.status == 401:
        assert answer["WWW-Authenticate"].startswith("Bearer ")


def test_no_row_forgets_an_error_that_its_table_lists() -> None:
    missing: dict[str, set[int]] = defaultdict(set)
    for row in ROWS:
        covered = {way.listed for way in row.errors}
        missing[str(row)] |= LISTED.get(str(row), USUAL) - covered - {429}  # 429: test_throttled_rows
    assert {row: errors for row, errors in missing.items() if errors} == {}
    assert LISTED.keys() <= {str(row) for row in ROWS}


@pytest.mark.parametrize("row", [*ROWS], ids=str)
def test_without_a_token_every_row_is_401(world: World, row: Row) -> None:
    answer = world.send(row.sent(headers={"Authorization": ""}))
    problem(answer, 401)
    assert answer["WWW-Authenticate"] == 'Bearer realm="mp1"'


@pytest.mark.parametrize("row", GETS, ids=str)
def test_a_version_that_the_asker_has_is_304(world: World, row: Row) -> None:
    if row.path.endswith("current_time"):
        pytest.skip("the time is another one with every request")
    etag = world.send(row.sent())["ETag"]
    for tags in (etag, f'"x", {etag}', "*", f"W/{etag.removeprefix('W/')}"):
        answer = world.send(row.sent(headers={"If_None_Match": tags}))
        assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)
    assert world.send(row.sent(headers={"If_None_Match": '"another"'})).status_code == 200


@pytest.mark.parametrize("row", CONDITIONAL, ids=str)
def test_a_change_of_an_old_version_is_412_and_changes_nothing(world: World, row: Row) -> None:
    read = row.sent(method="GET", body=None)
    before = world.send(read)
    problem(world.send(row.sent(**CHANGED.change)), 412)
    assert world.send(read).content == before.content
    changed = world.send(row.sent(headers={"If_Match": f'"older", {before["ETag"]}'}))
    assert changed.status_code == row.success, changed.content


@pytest.mark.parametrize("path", sorted({row.path for row in ROWS}))
def test_methods_that_the_table_does_not_have_are_405_with_those_that_it_has(world: World, path: str) -> None:
    known = {row.method for row in ROWS if row.path == path}
    known |= {"PUT"} if path.endswith("/liveness") else set()  # older clients send heartbeats so
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} - known:
        answer = world.app.send(method, world.path(path), {})
        problem(answer, 405)
        assert set(answer["Allow"].split(", ")) == known | ({"HEAD"} if "GET" in known else set())


@pytest.mark.parametrize(
    "path", ["/", "/mec_service_mgmt/v1", "/mec_service_mgmt/v2/services", "/mep/mec_app_support/v1/x"]
)
def test_what_is_no_resource_is_404(world: World, path: str) -> None:
    problem(world.app.get(path), 404)


@pytest.mark.parametrize("row", GETS, ids=str)
def test_head_tells_what_get_would_without_the_body(world: World, row: Row) -> None:
    if row.path.endswith("current_time"):
        pytest.skip("the time is another one with every request")
    told, asked = world.send(row.sent()), world.send(row.sent(method="HEAD"))
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked["ETag"] == told["ETag"]
