"""The map: made by folium, served by us, and without a word to anybody outside."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from frontend.operator.maps import node_map

WORLD = Path("frontend/static/vendor/world")


def test_folium_names_nothing_outside_our_host() -> None:
    made = node_map()
    assert re.findall(r"https?://[^\s\"']+", made.get_root().render()) == []


def test_page_and_script_speak_of_the_same_element(pages: Any, node: Any) -> None:
    page, script = pages.get("/map"), pages.get("/map/script.js")
    element = re.search(r'class="folium-map" id="(\w+)"', page.content.decode())
    assert element
    assert f'L.map(\n                "{element[1]}"' in script.content.decode()
    assert script.headers["Content-Type"].startswith("text/javascript")
    for call in ("breakwaterMap.base(", "breakwaterMap.nodes(", '"/api/v1/geo/nodes"', '"/nodes/{id}"'):
        assert call in script.content.decode()


def test_the_script_holds_nothing_of_any_tenant(pages: Any, node: Any) -> None:
    assert node.name not in pages.get("/map/script.js").content.decode()


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
