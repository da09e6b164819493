"""Paths of this topic."""

from django.urls import path

from mecm.nodes import api

urlpatterns = [
    path("nodes", api.NodesView.as_view(), name="nodes"),
    path("nodes/<uuid:pk>", api.NodeView.as_view(), name="node"),
    path("nodes/<uuid:pk>/kubeconfig", api.KubeconfigView.as_view(), name="node-kubeconfig"),
    path("nodes/<uuid:pk>/probe", api.ProbeView.as_view(), name="node-probe"),
    path("nodes/<uuid:pk>/mep", api.MepView.as_view(), name="node-mep"),
    path("nodes/<uuid:pk>/enrolment-tokens", api.EnrolmentTokensView.as_view(), name="node-enrolment-tokens"),
    path("nodes/<uuid:pk>/orphans", api.OrphansView.as_view(), name="node-orphans"),
    path("nodes/<uuid:pk>/orphans/<str:namespace>/<str:name>", api.OrphanView.as_view(), name="node-orphan"),
    path("geo/nodes", api.GeoNodesView.as_view(), name="geo-nodes"),
]
