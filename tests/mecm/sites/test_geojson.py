"""A stranger's GeoJSON: taken whole or not at all, and every refusal names the feature and the place in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BreakwaterError, Invalid
from mecm.sites import geojson

RING = [[9.0, 53.0], [10.0, 53.0], [10.0, 54.0], [9.0, 53.0]]


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"name": "Quay", **properties}}


def many(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def point(*at: Any) -> dict[str, Any]:
    return {"type": "Point", "coordinates": list(at)}


def polygon(ring: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "type"),
        ({"type": "FeatureCollection", "features": {}}, "type"),
        (many(7), "features[0]"),
        (many(feature(point(9, 53)), feature(point(9, 91), name="B")), "features[1].geometry.coordinates"),
        (many(feature(point(9))), "features[0].geometry.coordinates"),
        (many(feature(point(9, 53, 1, 1))), "features[0].geometry.coordinates"),
        (many(feature(point(True, 53))), "features[0].geometry.coordinates"),
        (many(feature(point(10**400, 53))), "features[0].geometry.coordinates"),
        (many(feature({"type": "LineString", "coordinates": RING})), "features[0].geometry"),
        (many(feature(polygon(RING[:3]))), "features[0].geometry.coordinates[0]"),
        (many(feature(polygon([*RING[:3], [1, 1]]))), "features[0].geometry.coordinates[0]"),
        (many(feature(polygon([RING[0], "x", *RING[2:]]))), "features[0].geometry.coordinates[0][1]"),
        (many(feature({"type": "MultiPolygon", "coordinates": []})), "features[0].geometry.coordinates"),
        (many(feature(point(9, 53), name="")), "features[0].properties.name"),
        (many(feature(point(9, 53), name="a\x00b")), "features[0].properties.name"),
        (many(feature(point(9, 53), name="x" * 81)), "features[0].properties.name"),
        (many(feature(point(9, 53), kind="castle")), "features[0].properties.kind"),
        (many(feature(point(9, 53), kind=["edge"])), "features[0].properties.kind"),
        (many(feature(point(9, 53), radius_m=0)), "features[0].properties.radius_m"),
        (many(feature(point(9, 53), radius_m=1e300)), "features[0].properties.radius_m"),
        (many(feature(point(9, 53), labels={"a": 1})), "features[0].properties.labels"),
        (many(feature(point(9, 53)), feature(point(9, 54))), "features[1].properties.name"),
        (many(feature(None, kind="link", source="A")), "features[0].properties.target"),
        (many(feature(polygon(RING), position=[200, 0])), "features[0].properties.position"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(document: Any, field: str) -> None:
    with pytest.raises(Invalid) as problem:
        geojson.read(document)
    errors = problem.value.context.get("errors") or [{"field": problem.value.context.get("field")}]
    assert errors[0]["field"] == field


def test_a_file_that_is_too_much_is_refused_before_it_is_worked_on() -> None:
    ring = [[9.0, 53.0]] * 60_000
    with pytest.raises(Invalid, match="more than 50000 positions"):
        geojson.read(many(feature(polygon(ring))))
    with pytest.raises(Invalid, match="at most 2000"):
        geojson.read(many(*[7] * 2001))
    with pytest.raises(Invalid, match="longer than"):
        geojson.parse(b" " * (geojson.BYTES + 1))
    with pytest.raises(Invalid, match="nested"):
        geojson.parse(b"[" * 200_000)
    for content in (b"\xff\xfe", b"{", b'{"a": NaN}', b'{"a": Infinity}'):
        with pytest.raises(Invalid, match="no JSON"):
            geojson.parse(content)
    assert len(_problems(many(*[7] * 500))) == geojson.TOLD


def _problems(document: Any) -> list[Any]:
    with pytest.raises(Invalid) as problem:
        geojson.read(document)
    return list(problem.value.context["errors"])


def test_an_area_without_a_position_stands_in_its_middle() -> None:
    (wish,), _ = geojson.read(feature(polygon(RING), kind="edge", radius_m=None))
    assert (round(wish.longitude, 3), round(wish.latitude, 3)) == (9.667, 53.333)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["type", "features", "geometry", "coordinates", "properties", "name", "kind", "labels", "position"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.builds(lambda geometry, properties: many(
    {"type": "Feature", "geometry": geometry, "properties": properties}), _json, _json) | _json)  # fmt: skip
def test_no_document_is_worse_than_invalid(document: Any) -> None:
    try:
        geojson.read(document)
    except BreakwaterError as problem:
        json.dumps(problem.problem(), default=str)
