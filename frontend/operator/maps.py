"""The map of nodes: folium makes it, our host serves every byte of it, and no tile server is asked."""

from __future__ import annotations

from typing import Any

import folium
from branca.element import Figure, MacroElement
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET
from folium.template import Template

from core.errors import Denied
from frontend import tenancy
from frontend.page import page
from mecm.nodes.models import Node

#: Rows beside the map; the list of nodes has them all.
BESIDE = 100
UNUSED = ("kubeconfig", "mep_token", "mep_ca", "facts")


class OfflineMap(folium.Map):
    """A folium map that loads Leaflet from our host and has no tiles.

    `identity` names its element, so that page and script agree. Plugins for layers without tiles need `max_zoom`.
    """

    def __init__(self, identity: str, **options: Any) -> None:
        super().__init__(tiles=None, max_zoom=18, **options)
        self._id = identity
        self.default_js = [("leaflet", static("vendor/leaflet/leaflet.js"))]
        self.default_css = [("leaflet_css", static("vendor/leaflet/leaflet.css"))]

    def parts(self) -> tuple[str, str]:
        """Return its HTML and its script apart, because our pages allow no inline script."""
        figure = self.get_root()
        assert isinstance(figure, Figure)
        figure.render()
        return figure.html.render(), figure.script.render()


class BaseMap(MacroElement):
    """Countries of Natural Earth as a canvas layer: coarse at first, finer when one zooms in."""

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            breakwaterMap.base({{ this._parent.get_name() }}, {{ this.files|tojson }});
        {% endmacro %}
        """
    )

    def __init__(self) -> None:
        super().__init__()
        self._name = "BaseMap"
        self.files = {scale: static(f"vendor/world/countries-{scale}.json") for scale in ("110m", "50m")}


class NodeLayer(MacroElement):
    """Nodes from a GeoJSON address, fetched by the browser and kept fresh; `page` is where a node's page is."""

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            breakwaterMap.nodes({{ this._parent.get_name() }}, {{ this.options|tojson }});
        {% endmacro %}
        """
    )

    def __init__(self, url: str, node_page: str, every: int = 10) -> None:
        super().__init__()
        self._name = "NodeLayer"
        self.options = {"url": url, "page": node_page, "every": every}


def node_map() -> OfflineMap:
    """Return the map of nodes; it holds no data of any tenant, so it is the same for everybody."""
    nothing = "00000000-0000-0000-0000-000000000000"
    made = OfflineMap("nodes", location=[30, 10], zoom_start=2, zoom_snap=0.25, max_bounds_viscosity=1.0)
    made.add_child(BaseMap())
    made.add_child(NodeLayer("/api/v1/geo/nodes", reverse("frontend:node", args=[nothing]).replace(nothing, "{id}")))
    return made


@require_GET
@page
def map_page(request: HttpRequest) -> HttpResponse:
    """Show the nodes that the person may see, with a list beside it for those who read rather than look."""
    actor = tenancy.actor_of(request)
    if not actor.organisations("nodes.read"):
        raise Denied("Your roles do not show you nodes.")
    html, _ = node_map().parts()
    nodes = list(Node.objects.visible_to(actor).select_related("organisation").defer(*UNUSED)[: BESIDE + 1])
    context = {
        "section": "map",
        "map_html": mark_safe(html),  # noqa: S308  (folium's own element; its name is ours)
        "nodes": nodes[:BESIDE],
        "more": len(nodes) > BESIDE,
    }
    return render(request, "frontend/operator/map.html", context)


@require_GET
@page
def map_script(request: HttpRequest) -> HttpResponse:
    """Return folium's script as a file of our host, which a strict content security policy allows."""
    _, script = node_map().parts()
    response = HttpResponse(script, content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "private, max-age=300"
    return response
