"""The operator's map: a live page over columns of data, its street level, and folium's report to hand on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from core.errors import Denied
from frontend import tenancy
from frontend.page import page
from mecm.nodes.models import Node
from mecm.sites import live
from mecm.sites.models import Site, SiteLink

if TYPE_CHECKING:
    from branca.element import Figure

#: Rows that are there before the script is; the list of nodes has them all.
BESIDE = 50
#: Nodes that a report holds at most: it is one file, for a letter. So many it lists below the map.
REPORTED, WRITTEN = 10_000, 500
UNUSED = ("kubeconfig", "mep_token", "mep_ca", "facts")
NOBODY = "00000000-0000-0000-0000-000000000000"
COLOURS = {"online": "#2fb344", "new": "#7c8aa0", "enrolled": "#4299e1", "troubled": "#f59f00", "offline": "#d63939"}


class State(NamedTuple):
    """One state of a node, as the legend has it."""

    number: int
    key: str
    word: str


def states() -> list[State]:
    """Return the states in the order of `mecm.sites.live`, in the person's language."""
    words = {
        "online": _("online"),
        "new": _("not enrolled"),
        "enrolled": _("not seen yet"),
        "troubled": _("app failed"),
        "offline": _("offline"),
    }
    return [State(number, key, words[key]) for number, key in enumerate(live.STATES)]


@require_GET
@page
def map_page(request: HttpRequest) -> HttpResponse:
    """Show the map; its data come from the API, and the first rows are there without any script."""
    actor = _reader(request)
    context = {
        "section": "map",
        "nodes": Node.objects.visible_to(actor).select_related("organisation").defer(*UNUSED)[:BESIDE],
        "node_page": reverse("frontend:node", args=[NOBODY]),
        "site_page": reverse("frontend:site", args=[NOBODY]),
        "states": states(),
        "kinds": Site.Kind.choices,
        "link_states": SiteLink.State.choices,
        "words": json.dumps(_words()),
        **ground(),
    }
    return render(request, "frontend/operator/map.html", context)


@require_GET
@page
def street_page(request: HttpRequest) -> HttpResponse:
    """Show streets and buildings with the nodes among them."""
    _reader(request)
    source = settings.MAP_PMTILES_URL
    context = {
        "section": "map",
        "node_page": reverse("frontend:node", args=[NOBODY]),
        "site_page": reverse("frontend:site", args=[NOBODY]),
        "pmtiles": source or static("frontend/map/helsinki.pmtiles"),
        "demo": not source,
        "words": json.dumps({**_words(), "title": _("Street map of the nodes")}),
        "tiles": settings.MAP_TILE_URL,
        "by": settings.MAP_ATTRIBUTION if source else _("© OpenStreetMap contributors, ODbL"),
    }
    return render(request, "frontend/operator/street.html", context)


@require_GET
@page
def map_report(request: HttpRequest) -> HttpResponse:
    """Return the map of this moment as one HTML file that needs nobody, also not us, to be opened."""
    actor = _reader(request)
    live.picture.refresh()
    rows = live.picture.rows(live.Scope.of(actor))
    placed = [row for row in rows if row.longitude is not None]
    document = report(placed[:REPORTED], total=len(rows))
    answer = HttpResponse(document, content_type="text/html; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="nodes-{timezone.now():%Y%m%d-%H%M}.html"'
    return answer


def report(rows: list[live.Row], *, total: int) -> str:
    """Return folium's map of `rows` as one file: Leaflet, the countries and the nodes are inside."""
    # Folium brings numpy, takes every process half a second to load, and serves this file alone.
    import folium
    from branca.element import Element, Figure

    made = folium.Map(
        location=[30, 10], zoom_start=2, tiles=None, max_zoom=18, prefer_canvas=True, attribution_control=False
    )
    made.default_js = []
    made.default_css = []
    figure = made.get_root()
    assert isinstance(figure, Figure)
    figure.title = _("Map of nodes")
    folium.GeoJson(
        json.loads(_vendored("world/countries-110m.json")),
        style_function=lambda _feature: {"color": "#c3cedb", "weight": 0.8, "fillColor": "#fbfcfe", "fillOpacity": 1},
        control=False,
    ).add_to(made)
    known = states()
    features = [_point(row, known) for row in rows]
    if features:
        folium.GeoJson(
            {"type": "FeatureCollection", "features": features},
            marker=folium.CircleMarker(radius=7, weight=2, color="#ffffff", fill=True, fill_opacity=1),
            style_function=lambda feature: {"fillColor": feature["properties"]["colour"]},
            tooltip=folium.GeoJsonTooltip(fields=["name", "state", "place", "apps"], labels=False),
            control=False,
        ).add_to(made)
        made.fit_bounds(
            [
                [min(row.latitude or 0 for row in rows) - 1, min(row.longitude or 0 for row in rows) - 1],
                [max(row.latitude or 0 for row in rows) + 1, max(row.longitude or 0 for row in rows) + 1],
            ],
            max_zoom=8,
        )
    made.render()
    _carry_along(figure)
    words = _("{shown} of {total} nodes, {when}").format(
        shown=len(rows), total=total, when=f"{timezone.now():%Y-%m-%d %H:%M} UTC"
    )
    figure.html.add_child(Element(_legend(words, known)), name="legend")
    figure.html.add_child(Element(_written(rows, known)), name="table")
    return str(figure.render())


def ground() -> dict[str, Any]:
    """Return what a page's map lies on: our countries, or the tiles that a setting names."""
    return {
        "world": {scale: static(f"vendor/world/countries-{scale}.json") for scale in ("110m", "50m")},
        "tiles": settings.MAP_TILE_URL,
        "tiles_by": settings.MAP_ATTRIBUTION,
    }


def _reader(request: HttpRequest) -> Any:
    actor = tenancy.actor_of(request)
    if not actor.organisations("nodes.read"):
        raise Denied(_("Your roles do not show you nodes."))
    return actor


def site_words() -> dict[str, dict[str, str]]:
    """Return what kinds of sites and states of links are called, in the person's language."""
    return {
        "kinds": {str(value): str(word) for value, word in Site.Kind.choices},
        "link_states": {str(value): str(word) for value, word in SiteLink.State.choices},
    }


def _words() -> dict[str, Any]:
    return {
        "states": [{"key": each.key, "word": each.word} for each in states()],
        **site_words(),
        "in_view": _("{n} in view of {all}"),
        "first": _("the first {n} are listed"),
        "nowhere": _("{n} without a place"),
        "several": _("{n} nodes"),
        "here": _("{n} nodes at this place"),
        "failed": _("{n} failed"),
        "cpu": _("Free CPU"),
        "memory": _("Free GiB"),
        "deployments": _("Deployments"),
        "apps": _("Applications"),
        "no_apps": _("No application runs here."),
        "simulated": _("simulated"),
        "unknown": _("not known"),
        "open": _("Open the node"),
        "close": _("Close"),
    }


def _point(row: live.Row, known: list[State]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [row.longitude, row.latitude]},
        # Leaflet writes tooltips as HTML.
        "properties": {
            "name": escape(row.name),
            "state": known[row.state].word,
            "place": escape(row.site or row.organisation),
            "apps": escape(", ".join(row.apps)),
            "colour": COLOURS[known[row.state].key],
        },
    }


def _carry_along(figure: Figure) -> None:
    """Put Leaflet itself where folium would put links to it, and drop every other link."""
    from branca.element import Element, JavascriptLink

    header = figure.header
    for name, child in list(header._children.items()):
        if isinstance(child, JavascriptLink) or type(child).__name__ == "CssLink":
            del header._children[name]
    script = _vendored("leaflet/leaflet.js").replace("</script", "<\\/script")
    style = _vendored("leaflet/leaflet.css")
    header.add_child(Element(f"<script>{script}</script><style>{style}\n{_STYLE}</style>"), name="leaflet")


_STYLE = """html,body{height:auto;margin:0;font-family:system-ui,sans-serif;color:#14233b}
body{display:flex;flex-direction:column}.leaflet-container{background:#dfe8f1}
.folium-map{height:72vh!important;min-height:20rem;flex:none;border-block:1px solid #c3cedb}
header{order:-1;padding:10px 16px}h1{font-size:20px;margin:0 0 4px}
header p,footer{font-size:13px;margin:0}header p+p{margin-top:4px}footer{padding:6px 16px}
header i{display:inline-block;width:11px;height:11px;border-radius:50%;margin:0 4px 0 12px}header i:first-of-type{margin-left:0}
.rows{overflow-x:auto;padding:8px 16px 24px}table{border-collapse:collapse;font-size:13px;min-width:40rem}
caption{text-align:left;font-weight:600;padding:4px 0}
th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid #dbe2ea;vertical-align:top;overflow-wrap:anywhere}
@page{size:A4 landscape;margin:12mm}
@media print{*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.folium-map{height:135mm!important}
footer{break-after:page}
.leaflet-control-zoom{display:none}thead{display:table-header-group}tr{break-inside:avoid}}"""


def _legend(words: str, known: list[State]) -> str:
    marks = "".join(f'<i style="background:{COLOURS[each.key]}"></i>{escape(each.word)}' for each in known)
    owed = _("Countries: Natural Earth, public domain. Drawn with Leaflet and folium; this file needs no network.")
    without = _("The map needs JavaScript; the table does not.")
    return (
        f"<header><h1>{escape(_('Map of nodes'))}</h1><p><strong>{escape(words)}</strong></p><p>{marks}</p></header>"
        f"<footer>{escape(owed)}<noscript> {escape(without)}</noscript></footer>"
    )


def _written(rows: list[live.Row], known: list[State]) -> str:
    """Return the nodes as a table, those in trouble first: for paper, and for readers that run no scripts."""
    first = sorted(rows, key=lambda row: (-row.state, row.name))[:WRITTEN]
    heads = "".join(
        f'<th scope="col">{escape(word)}</th>'
        for word in (_("Node"), _("State"), _("Site"), _("Organisation"), _("Applications"), _("Place"))
    )
    lines = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(word)}</td>"
            for word in (
                row.name, known[row.state].word, row.site, row.organisation, ", ".join(row.apps),
                f"{row.latitude}, {row.longitude}",
            )
        )
        + "</tr>"
        for row in first
    )  # fmt: skip
    title = _("Nodes, those in trouble first")
    if len(rows) > len(first):
        title = _("The first {n} nodes, those in trouble first").format(n=len(first))
    table = f"<table><caption>{escape(title)}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="rows" tabindex="0" role="region" aria-label="{escape(title)}">{table}</div>'


def _vendored(name: str) -> str:
    found = finders.find(f"vendor/{name}")
    assert isinstance(found, str)
    return Path(found).read_text(encoding="utf-8")
