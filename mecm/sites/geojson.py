"""GeoJSON (RFC 7946) of sites, read as what it is: a stranger's file. Every problem names the feature and the place in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.errors import Invalid
from core.words import say
from mecm.sites.models import WIDEST, Site, SiteLink

MEDIA_TYPE = "application/geo+json"
#: Bounds of one file: features, positions in all, and problems that are told at once.
FEATURES, POSITIONS, TOLD = 2000, 50_000, 20
BYTES = 3 * 2**20
_LABELS, _LABEL_TEXT = 50, 100


@dataclass(frozen=True)
class SiteWish:
    """A site as a file or a form describes it, checked."""

    name: str
    kind: str
    longitude: float
    latitude: float
    radius_m: int | None = None
    area: dict[str, Any] | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkWish:
    """A link as a file describes it: the names of its ends."""

    source: str
    target: str
    state: str
    note: str = ""


class _Wrong(Exception):
    def __init__(self, place: str, detail: str) -> None:
        super().__init__(detail)
        self.place = place


def parse(content: bytes) -> Any:
    """Return the JSON in `content`; `Invalid` when it is none, too long, nested too deeply or not in UTF-8."""
    if len(content) > BYTES:
        raise Invalid(say("The file is longer than {bytes} MiB.", bytes=BYTES >> 20), field="file")
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise Invalid(say("The file is nested too deeply."), field="file") from None
    except ValueError as problem:
        raise Invalid(say("The file is no JSON: {problem}", problem=str(problem)[:120]), field="file") from None


def read(document: Any) -> tuple[list[SiteWish], list[LinkWish]]:
    """Return the sites and links that a FeatureCollection (or one Feature) describes, or say all that is wrong."""
    kind = document.get("type") if isinstance(document, Mapping) else None
    features = [document] if kind == "Feature" else document.get("features") if kind == "FeatureCollection" else None
    if not isinstance(features, list):
        raise Invalid(say("This is no GeoJSON FeatureCollection."), field="type")
    if len(features) > FEATURES:
        raise Invalid(
            say(
                "There are {features_count} features; at most {features} are taken at once.",
                features_count=len(features),
                features=FEATURES,
            ),
            field="features",
        )
    budget = _Budget()
    sites: list[SiteWish] = []
    links: list[LinkWish] = []
    problems: list[dict[str, str]] = []
    names: dict[str, int] = {}
    for index, feature in enumerate(features):
        try:
            wish = _feature(feature, budget)
        except _Wrong as wrong:
            named = _name_of(feature)
            place = f"features[{index}]" + (f".{wrong.place}" if wrong.place else "")
            problems.append({"field": place, "detail": f"{named}{wrong}"})
            if len(problems) >= TOLD or budget.spent:
                break
            continue
        if isinstance(wish, LinkWish):
            links.append(wish)
        elif wish.name in names:
            detail = say("{name} is the name of feature {names}, too", name=repr(wish.name), names=names[wish.name])
            problems.append({"field": f"features[{index}].properties.name", "detail": detail})
        else:
            names[wish.name] = index
            sites.append(wish)
    if problems:
        raise Invalid("; ".join(f"{each['field']}: {each['detail']}" for each in problems[:3]), errors=problems)
    return sites, links


def area(geometry: Any) -> dict[str, Any]:
    """Return a checked Polygon or MultiPolygon; `Invalid` names the place in it."""
    try:
        return _area(geometry, _Budget())
    except _Wrong as wrong:
        raise Invalid(
            say(
                "area{place}{wrong_place}: {wrong}",
                place="." if wrong.place else "",
                wrong_place=wrong.place,
                wrong=wrong,
            ),
            field="area",
        ) from None


def labels(value: Any) -> dict[str, str]:
    """Return checked labels."""
    plain = isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(text, str) and 0 < len(key) <= _LABEL_TEXT and len(text) <= _LABEL_TEXT
        and "\x00" not in key + text
        for key, text in value.items()
    )  # fmt: skip
    if not plain or len(value) > _LABELS:
        raise Invalid(say("labels must be up to {labels} pairs of short texts", labels=_LABELS), field="labels")
    return dict(value)


def collection(sites: Iterable[Site], links: Iterable[SiteLink]) -> dict[str, Any]:
    """Return sites and links as a FeatureCollection that `read` takes again; links are lines."""
    known = {site.pk: site for site in sites}
    features = [_of_site(site) for site in known.values()]
    features += [_of_link(link, known) for link in links if link.source_id in known and link.target_id in known]
    return {"type": "FeatureCollection", "features": features}


def _of_site(site: Site) -> dict[str, Any]:
    position = [site.longitude, site.latitude]
    properties = {"name": site.name, "kind": site.kind, "labels": site.labels, "position": position}
    if site.radius_m:
        properties["radius_m"] = site.radius_m
    geometry = site.area or {"type": "Point", "coordinates": position}
    return {"type": "Feature", "id": str(site.pk), "geometry": geometry, "properties": properties}


def _of_link(link: SiteLink, known: Mapping[Any, Site]) -> dict[str, Any]:
    source, target = known[link.source_id], known[link.target_id]
    line = [[source.longitude, source.latitude], [target.longitude, target.latitude]]
    properties = {"kind": "link", "source": source.name, "target": target.name, "state": link.state, "note": link.note}
    geometry = {"type": "LineString", "coordinates": line}
    return {"type": "Feature", "id": str(link.pk), "geometry": geometry, "properties": properties}


class _Budget:
    """How many positions one file may still have."""

    def __init__(self) -> None:
        self.left = POSITIONS

    @property
    def spent(self) -> bool:
        return self.left < 0

    def take(self, place: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise _Wrong(place, say("there are more than {positions} positions in all", positions=POSITIONS))


def _feature(feature: Any, budget: _Budget) -> SiteWish | LinkWish:
    if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
        raise _Wrong("", say("is no Feature"))
    properties = feature.get("properties")
    if not isinstance(properties, Mapping):
        raise _Wrong("properties", say("must be an object with a name"))
    if properties.get("kind") == "link":
        return _link(properties)
    geometry = feature.get("geometry")
    if not isinstance(geometry, Mapping):
        geometry = {}
    shape = geometry.get("type")
    surface = None
    if shape == "Point":
        longitude, latitude = _position(geometry.get("coordinates"), "geometry.coordinates", budget)
    elif shape in ("Polygon", "MultiPolygon"):
        surface = _area(geometry, budget, "geometry.")
        if properties.get("position") is not None:
            longitude, latitude = _position(properties["position"], "properties.position", budget)
        else:
            longitude, latitude = middle(surface)
    else:
        raise _Wrong("geometry", say("must be a Point, a Polygon or a MultiPolygon"))
    try:
        marked = labels(properties.get("labels") or {})
    except Invalid as error:
        raise _Wrong("properties.labels", error.detail) from None
    return SiteWish(
        name=_text(properties, "name", 80, needed=True),
        kind=_choice(properties, "kind", Site.Kind.values, Site.Kind.EDGE),
        longitude=longitude,
        latitude=latitude,
        radius_m=_radius(properties.get("radius_m")),
        area=surface,
        labels=marked,
    )


def _link(properties: Mapping[str, Any]) -> LinkWish:
    return LinkWish(
        source=_text(properties, "source", 80, needed=True),
        target=_text(properties, "target", 80, needed=True),
        state=_choice(properties, "state", SiteLink.State.values, SiteLink.State.UNKNOWN),
        note=_text(properties, "note", 200),
    )


def _area(geometry: Any, budget: _Budget, place: str = "") -> dict[str, Any]:
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise _Wrong(place.rstrip("."), say("must be a Polygon or a MultiPolygon"))
    given = geometry.get("coordinates")
    where = f"{place}coordinates"
    if kind == "Polygon":
        return {"type": kind, "coordinates": _rings(given, where, budget)}
    if not isinstance(given, list) or not given:
        raise _Wrong(where, say("must be a list of polygons"))
    return {"type": kind, "coordinates": [_rings(each, f"{where}[{i}]", budget) for i, each in enumerate(given)]}


def _rings(given: Any, place: str, budget: _Budget) -> list[list[list[float]]]:
    if not isinstance(given, list) or not given:
        raise _Wrong(place, say("must be a list of rings"))
    return [_ring(each, f"{place}[{index}]", budget) for index, each in enumerate(given)]


def _ring(given: Any, place: str, budget: _Budget) -> list[list[float]]:
    if not isinstance(given, list):
        raise _Wrong(place, say("must be a list of positions"))
    ring = [_position(each, f"{place}[{index}]", budget) for index, each in enumerate(given)]
    # RFC 7946, 3.1.6: four or more positions, and the last is the first.
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise _Wrong(place, say("must have four or more positions, the last equal to the first"))
    return ring


def _position(given: Any, place: str, budget: _Budget) -> list[float]:
    budget.take(place)
    # RFC 7946, 3.1.1: a height may follow, and is not kept.
    if not isinstance(given, list) or not 2 <= len(given) <= 3 or not all(_is_number(each) for each in given):
        raise _Wrong(place, say("must be [longitude, latitude]"))
    longitude, latitude = float(given[0]), float(given[1])
    if not -180 <= longitude <= 180 or not -90 <= latitude <= 90:
        raise _Wrong(
            place, say("is not on Earth: longitude comes first, from -180 to 180, then latitude, from -90 to 90")
        )
    return [longitude, latitude]


def middle(surface: Mapping[str, Any]) -> list[float]:
    """Return a position for an area: the middle of the corners of its largest outer ring."""
    outer = [surface["coordinates"]] if surface["type"] == "Polygon" else surface["coordinates"]
    ring = max((polygon[0] for polygon in outer), key=len)[:-1]
    return [sum(each[0] for each in ring) / len(ring), sum(each[1] for each in ring) / len(ring)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9 and math.isfinite(value)


def _text(properties: Mapping[str, Any], name: str, longest: int, *, needed: bool = False) -> str:
    value = properties.get(name, "")
    if not isinstance(value, str) or len(value.strip()) > longest or "\x00" in value or (needed and not value.strip()):
        raise _Wrong(
            f"properties.{name}",
            say("must be a text of {needed} to {longest} characters", needed=1 if needed else 0, longest=longest),
        )
    return value.strip()


def _choice(properties: Mapping[str, Any], name: str, known: Iterable[str], usual: str) -> str:
    value = properties.get(name, usual)
    if not isinstance(value, str) or value not in known:
        raise _Wrong(f"properties.{name}", say("must be one of {known}", known=", ".join(known)))
    return str(value)


def _radius(value: Any) -> int | None:
    if value is None:
        return None
    if not _is_number(value) or not 1 <= value <= WIDEST:
        raise _Wrong("properties.radius_m", say("must be a number of metres from 1 to {widest}", widest=WIDEST))
    return int(value)


def _name_of(feature: Any) -> str:
    properties = feature.get("properties") if isinstance(feature, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    return f"{name[:40]!r} " if isinstance(name, str) and name else ""


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
