"""The pages of the map and of sites."""

from django.urls import path

from frontend.operator import maps
from frontend.sites import views

urlpatterns = [
    path("map", maps.map_page, name="map"),
    path("map/street", maps.street_page, name="map-street"),
    path("map/report", maps.map_report, name="map-report"),
    path("sites", views.sites_page, name="sites"),
    path("sites/new", views.new_site, name="new-site"),
    path("sites/import", views.import_sites, name="import-sites"),
    path("sites/<uuid:pk>", views.site_page, name="site"),
    path("sites/<uuid:pk>/change", views.change_site, name="change-site"),
    path("sites/<uuid:pk>/remove", views.remove_site, name="remove-site"),
    path("sites/<uuid:pk>/place", views.place_node, name="place-node"),
    path("sites/<uuid:pk>/take-away", views.take_node_away, name="take-node-away"),
    path("sites/<uuid:pk>/connect", views.connect, name="connect-site"),
    path("sites/<uuid:pk>/link", views.tell_link, name="tell-link"),
    path("sites/<uuid:pk>/disconnect", views.disconnect, name="disconnect-site"),
]
