"""Paths of this topic."""

from django.urls import path

from mecm.sites import api

urlpatterns = [
    path("sites", api.SitesView.as_view(), name="sites"),
    path("sites/<uuid:pk>", api.SiteView.as_view(), name="site"),
    path("sites/<uuid:pk>/nodes", api.SiteNodesView.as_view(), name="site-nodes"),
    path("sites/<uuid:pk>/links", api.SiteLinksView.as_view(), name="site-links"),
    path("site-links/<uuid:pk>", api.LinkView.as_view(), name="site-link"),
    path("map/sites", api.MapSitesView.as_view(), name="map-sites"),
    path("map/nodes", api.MapNodesView.as_view(), name="map-nodes"),
    path("map/nodes/stream", api.MapStreamView.as_view(), name="map-nodes-stream"),
]
