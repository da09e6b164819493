"""Paths of test deployments below /api/v1/."""

from django.urls import path

from developer.sandbox import api

urlpatterns = [
    path("sandbox/nodes", api.NodesView.as_view(), name="api-sandbox-nodes"),
    path("sandbox/tests", api.TestsView.as_view(), name="api-sandbox-tests"),
    path("sandbox/tests/<uuid:pk>", api.TestView.as_view(), name="api-sandbox-test"),
    path("sandbox/tests/<uuid:pk>/prolong", api.ProlongView.as_view(), name="api-sandbox-prolong"),
    path("sandbox/tests/<uuid:pk>/stream", api.stream, name="api-sandbox-stream"),
]
