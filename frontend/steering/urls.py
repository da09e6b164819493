"""Addresses of the pages about steering."""

from django.urls import path

from frontend.steering import building, listing, views

urlpatterns = [
    path("nodes/<uuid:pk>/packet", views.try_packet, name="try-packet"),
    path("nodes/<uuid:pk>/rules", listing.node_rules, name="node-rules"),
    path("deployments/<uuid:pk>/rules", listing.deployment_rules, name="deployment-rules"),
    path("deployments/<uuid:pk>/new-rule/<str:kind>", building.new_rule, name="new-rule"),
    path("deployments/<uuid:pk>/preview-rule/<str:kind>", building.preview_rule, name="preview-rule"),
    path("deployments/<uuid:pk>/rules/<str:kind>/<str:rule>", building.change_rule, name="change-rule"),
    path("deployments/<uuid:pk>/rules/<str:kind>/<str:rule>/switch", listing.switch, name="switch-rule"),
    path("deployments/<uuid:pk>/rules/<str:kind>/<str:rule>/reset", listing.reset, name="reset-rule"),
    path("deployments/<uuid:pk>/rules/<str:kind>/<str:rule>/remove", listing.remove, name="remove-rule"),
]
