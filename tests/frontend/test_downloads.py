"""Every list with a table can be taken home as a file: the same rows, for the same person, safe to open.

The walk of tests/frontend/test_every_page.py asks each page for its files, since it renders all of them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from django.urls import reverse

from frontend import download as downloading
from frontend.download import Table, columns

pytestmark = pytest.mark.django_db

#: Pages with a table that is no list to take home, and why.
NONE_NEEDED = {
    "package": "what one package says of itself; its findings can be taken home, its descriptor by the API",
    "package-live": "the part of the page of a package that follows its check",
    "node": "what runs on one node and what its MEP reported, live; deployments and traffic rules have lists",
    "node-live": "the live part of that page",
    "upgrade": "what one upgrade would change, for whoever decides now",
    "sandbox-test": "what one test deployment does at the moment; the API tells it",
    "sandbox-test-live": "the live part of that page",
    "rollback": "what one step back would change, for whoever decides now",
    "compare-revisions": "the difference of two generations",
    "new-rollout": "chooses a release; packages have a list",
    "review": "the difference that one review is about",
    "agreement-version": "one signed document; the API tells it as it was signed",
    "alarm": "the history of one alarm; alarms have a list",
    "fleet": "figures of the moment; alarms, nodes and deployments have lists, the figures an API",
    "map": "the picture's table of what is in view; nodes have a list",
    "map-street": "what stands round one node; nodes and sites have lists",
    "certification-suites": "documents with a version and a digest; the API tells them whole",
    "profile": "one's own tokens, a handful",
    "security": "one's own sessions and ways in, a handful",
    "identity-providers": "settings of sign-in, a handful",
    "reference-group": "the API reference; the OpenAPI document is the file",
}
_LINK = re.compile(r'href="([^"]*\bform(?:at)?=(csv|json)[^"]*)"')


def _links(url: str, text: str) -> dict[str, str]:
    """Return where a page offers its list, by form."""
    found = {}
    for link, form in _LINK.findall(text):
        link = link.replace("&amp;", "&")
        found.setdefault(form, url.partition("?")[0] + link if link.startswith("?") else link)
    return found


def _bytes(response: Any) -> str:
    return b"".join(response.streaming_content).decode() if response.streaming else response.content.decode()


def offers_its_list(name: str, pages: Any, url: str, text: str, at_most: Any) -> bool:
    """Demand that a page with a table offers it as a file, at a fixed number of queries; return whether it has a table."""
    if "<table" not in text:
        return False
    if name in NONE_NEEDED:
        return True
    links = _links(url, text)
    assert set(links) == {"csv", "json"}, "has a table and does not offer it"
    with at_most(13):
        answer = pages.get(links["csv"])
        content = _bytes(answer)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    rows = list(csv.reader(io.StringIO(content)))
    assert len(rows) > 1, "its file has no rows"
    assert {len(row) for row in rows} == {len(rows[0])}, "the rows of its file differ in length"
    told = json.loads(_bytes(pages.get(links["json"])))
    assert len(told) == len(rows) - 1, "its two files differ"
    assert list(told[0]) == rows[0], "the columns of its two files differ"
    return True


class _Seat:
    def __init__(self, name: str, row: int) -> None:
        self.name, self.row, self.at = name, row, {"deck": [1, 2]}


_SEATS = Table("seats", columns("name", "at", number="row", deck="at.deck"))


def test_no_cell_is_a_formula_to_a_spreadsheet() -> None:
    for evil in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        row = list(csv.reader(io.StringIO(_bytes(_SEATS.file("csv", [_Seat(evil, -5)])))))[1]
        assert row[0] == f"'{evil}"
        assert row[2] == "-5", "a number is no formula"
    assert json.loads(_bytes(_SEATS.file("json", [_Seat("=1+1", 1)])))[0]["name"] == "=1+1"


def test_a_list_that_is_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "MOST", 2)
    seats = [_Seat("a", number) for number in range(3)]
    rows = list(csv.reader(io.StringIO(_bytes(_SEATS.file("csv", seats)))))
    assert len(rows) == 4
    assert "cut here, after 2 rows" in rows[-1][0]
    told = json.loads(_bytes(_SEATS.file("json", seats)))
    assert "cut here" in told[-1]["cut"]
    assert "cut" not in _bytes(_SEATS.file("json", seats[:2]))


def test_a_file_has_what_the_filter_leaves_and_nothing_of_others(
    pages: Any, make_node: Any, stranger_organisation: Any, django_assert_max_num_queries: Any
) -> None:
    from mecm.nodes.models import Node

    Node.objects.create(organisation=stranger_organisation, name="berth-theirs", engine="memory")
    for number in range(60):
        make_node(f"berth-{number}")
    make_node("quay")
    url = reverse("frontend:nodes")
    with django_assert_max_num_queries(13):
        rows = json.loads(_bytes(pages.get(url, {"format": "json"})))
    assert len(rows) == 61
    assert [row["name"] for row in json.loads(_bytes(pages.get(url, {"format": "json", "q": "quay"})))] == ["quay"]
    # A form that we do not write, or another table, is the page.
    for asked in ({"format": "xml"}, {"format": "csv", "table": "deployments"}):
        assert pages.get(url, asked).headers["Content-Type"].startswith("text/html")


def test_findings_are_for_those_whose_package_it_is(
    pages: Any, browser_of: Any, stranger: Any, make_package: Any
) -> None:
    found = make_package("odd", findings=[{"level": "warning", "code": "x", "place": "a", "message": "=HYPERLINK()"}])
    url = reverse("frontend:package", args=[found.pk])
    rows = list(csv.reader(io.StringIO(_bytes(pages.get(url, {"format": "csv", "table": "findings"})))))
    assert rows[1][:5] == ["warning", "x", "a", "", "'=HYPERLINK()"]
    theirs = browser_of(stranger).get(url, {"format": "csv", "table": "findings"})
    assert theirs.headers["Content-Type"].startswith("text/html")
    assert "HYPERLINK" not in theirs.content.decode()
