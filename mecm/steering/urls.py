"""Paths of this topic."""

from django.urls import path

from mecm.steering import api

urlpatterns = [
    path("nodes/<uuid:pk>/rules/<str:kind>", api.NodeRules.as_view(), name="node-rules"),
    path("nodes/<uuid:pk>/packet-test", api.PacketTest.as_view(), name="node-packet-test"),
    path("deployments/<uuid:pk>/rules/<str:kind>", api.DeploymentRules.as_view(), name="deployment-rules"),
    path("deployments/<uuid:pk>/rules/<str:kind>/<str:rule>", api.DeploymentRule.as_view(), name="deployment-rule"),
    path(
        "deployments/<uuid:pk>/rules/<str:kind>/<str:rule>/reset", api.ResetRule.as_view(), name="deployment-rule-reset"
    ),
]
