"""Paths of this topic."""

from django.urls import path

from mecm.steering import api

urlpatterns = [
    path("nodes/<uuid:pk>/traffic-rules", api.NodeRules.as_view(), name="node-traffic-rules"),
    path("nodes/<uuid:pk>/dns-rules", api.NodeDnsRules.as_view(), name="node-dns-rules"),
    path("nodes/<uuid:pk>/packet-test", api.PacketTest.as_view(), name="node-packet-test"),
    path("deployments/<uuid:pk>/traffic-rules", api.DeploymentRules.as_view(), name="deployment-traffic-rules"),
    path(
        "deployments/<uuid:pk>/traffic-rules/<str:rule>", api.DeploymentRule.as_view(), name="deployment-traffic-rule"
    ),
    path("deployments/<uuid:pk>/traffic-rules/<str:rule>/reset", api.ResetRule.as_view(), name="reset-traffic-rule"),
    path("deployments/<uuid:pk>/dns-rules", api.DeploymentDnsRules.as_view(), name="deployment-dns-rules"),
    path("deployments/<uuid:pk>/dns-rules/<str:rule>", api.DeploymentDnsRule.as_view(), name="deployment-dns-rule"),
    path("deployments/<uuid:pk>/dns-rules/<str:rule>/reset", api.ResetDnsRule.as_view(), name="reset-dns-rule"),
]
