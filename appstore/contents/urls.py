"""Paths of this topic below /api/v1/."""

from django.urls import path

from appstore.contents import api

urlpatterns = [
    path("packages/<uuid:pk>/contents", api.ContentsView.as_view(), name="api-package-contents"),
    path("packages/<uuid:pk>/sbom", api.SbomView.as_view(), name="api-package-sbom"),
    path("packages/<uuid:pk>/values-schema", api.ValuesSchemaView.as_view(), name="api-package-values-schema"),
    path("packages/<uuid:pk>/difference", api.DifferenceView.as_view(), name="api-package-difference"),
    path("packages/<uuid:pk>/readme", api.ReadmeView.as_view(), name="api-package-readme"),
    path("packages/<uuid:pk>/icon", api.IconView.as_view(), name="api-package-icon"),
    path("packages/<uuid:pk>/media/<str:name>", api.MediaView.as_view(), name="api-package-media"),
]
