"""Paths of the registry face below /v2/ (OCI Distribution Specification 1.1, "Endpoints")."""

from django.urls import path

from appstore.oci import views

urlpatterns = [
    path("", views.base, name="oci"),
    path("<path:name>/tags/list", views.tags, name="oci-tags"),
    path("<path:name>/manifests/<str:reference>", views.manifest, name="oci-manifest"),
    path("<path:name>/blobs/<str:digest>", views.blob, name="oci-blob"),
    path("<path:name>/referrers/<str:digest>", views.referrers, name="oci-referrers"),
    path("<path:rest>", views.unknown, name="oci-unknown"),
]
