"""The pages of the map: a report that stands alone, rows without any script, and whom the streets are owed to."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from frontend.operator import maps
from mecm.sites import live

WORLD = Path("frontend/static/vendor/world")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what another test's nodes were."""
    live.picture.forget()


def metadata(archive: bytes) -> slice:
    # PMTiles 3, 3.1: the metadata's offset and length are the fourth and fifth number of the header.
    offset, length = struct.unpack_from("<QQ", archive, 24)
    return slice(offset, offset + length)


def row(**facts: Any) -> live.Row:
    usual = live.Row("0" * 32, "berth-7", "acme", 9.9, 53.5, live.ONLINE, (), 100, 100, ("crane",), 1, 0, "Quay", False)
    return usual._replace(**facts)


def test_the_report_needs_nobody_to_be_opened() -> None:
    made = maps.report([row(), row(name="b", state=live.OFFLINE)], total=3)
    assert re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=", made) == []
    assert "cdn" not in made
    assert "Leaflet 1.9" in made
    assert "2 of 3 nodes" in made
    assert '"name": "berth-7"' in made


def test_the_report_is_read_on_paper_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "WRITTEN", 2)
    made = maps.report([row(name="a"), row(name="b", state=live.OFFLINE), row(name="c")], total=3)
    assert re.findall(r"<tr><td>(\w)</td><td>([\w ]+)</td>", made) == [("b", "offline"), ("a", "online")]
    assert "The first 2 nodes, those in trouble first" in made
    assert "Countries: Natural Earth" in made
    assert re.search(r"3 of 3 nodes, \d{4}-\d\d-\d\d \d\d:\d\d UTC", made)
    assert "@media print" in made


def test_nodes_are_asked_for_before_any_script_runs(pages: Any, node: Any) -> None:
    text = pages.get("/map").content.decode()
    assert '<link rel="preload" as="fetch" href="/api/v1/map/nodes" crossorigin>' in text
    assert text.index('preload" as="fetch') < text.index("map/page.js")


def test_the_report_takes_names_as_text_not_as_code() -> None:
    made = maps.report([row(name="<img src=x onerror=alert(1)>", site="</script><script>alert(2)")], total=1)
    assert "<img src=x" not in made
    assert "<script>alert(2)" not in made


def test_a_report_holds_what_its_reader_may_see(pages: Any, browser_of: Any, stranger: Any, make_node: Any) -> None:
    make_node("harbour-lights")
    ours = pages.get("/map/report")
    assert ours.headers["Content-Disposition"].startswith('attachment; filename="nodes-')
    assert "harbour-lights" in ours.content.decode()
    assert "harbour-lights" not in browser_of(stranger).get("/map/report").content.decode()


def test_the_first_nodes_are_listed_without_any_script(pages: Any, make_node: Any) -> None:
    shown = make_node("harbour-lights")
    text = pages.get("/map").content.decode()
    assert f'<a href="/nodes/{shown.pk}">harbour-lights</a>' in text


def test_tiles_of_a_setting_are_named_in_the_page(pages: Any, settings: Any, node: Any) -> None:
    settings.MAP_TILE_URL, settings.MAP_PMTILES_URL = (
        "https://tiles.example/{z}/{x}/{y}.png",
        "https://maps.example/a.pmtiles",
    )
    settings.MAP_ATTRIBUTION = "Tiles of <Example>"
    text = pages.get("/map").content.decode()
    assert 'data-tiles="https://tiles.example/{z}/{x}/{y}.png"' in text
    assert "Tiles of &lt;Example&gt;" in text
    assert 'data-pmtiles="https://maps.example/a.pmtiles"' in pages.get("/map/street").content.decode()


def test_the_shipped_streets_name_whom_they_are_owed_to(pages: Any, node: Any) -> None:
    assert "© OpenStreetMap contributors, ODbL" in pages.get("/map/street").content.decode()
    archive = Path("frontend/static/frontend/map/helsinki.pmtiles").read_bytes()
    assert archive[:7] == b"PMTiles"
    assert b"places" in gzip.decompress(archive[metadata(archive)])
    assert len(archive) < 300_000


@pytest.mark.parametrize("scale", ["110m", "50m"])
def test_no_country_smears_a_band_across_the_map(repository: Path, scale: str) -> None:
    world = json.loads((repository / WORLD / f"countries-{scale}.json").read_text())
    assert len(world["features"]) > 170
    for country in world["features"]:
        for polygon in country["geometry"]["coordinates"]:
            for ring in polygon:
                longitudes = [point[0] for point in ring]
                assert min(longitudes) >= -180
                assert max(longitudes) <= 180
                if country["properties"]["name"] == "Antarctica":
                    continue  # it goes round the pole, so its ring follows the lower edge
                assert all(abs(after - before) < 90 for before, after in itertools.pairwise(longitudes))
