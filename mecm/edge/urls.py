"""Paths of the edge link, below /api/v1/. The WebSocket is in `hub`."""

from django.urls import path, re_path

from mecm.edge import api

urlpatterns = [
    path("edge/ca", api.AuthorityView.as_view(), name="edge-ca"),
    re_path(r"^edge/blobs/(?P<sha256>[0-9a-f]{64})$", api.BlobView.as_view(), name="edge-blob"),
    path("enrol", api.EnrolView.as_view(), name="edge-enrol"),
    path("nodes/self/renew", api.RenewView.as_view(), name="edge-renew"),
]
