"""Paths of packages below /api/v1/."""

from django.urls import path

from appstore.packages import api

urlpatterns = [
    path("packages", api.PackagesView.as_view(), name="api-packages"),
    path("packages/<uuid:pk>", api.PackageView.as_view(), name="api-package"),
    path("packages/<uuid:pk>/check", api.CheckView.as_view(), name="api-package-check"),
    path("packages/<uuid:pk>/publish", api.PublishView.as_view(), name="api-package-publish"),
    path("packages/<uuid:pk>/withdraw", api.WithdrawView.as_view(), name="api-package-withdraw"),
    path("packages/<uuid:pk>/content", api.ContentView.as_view(), name="api-package-content"),
    path("packages/<uuid:pk>/stream", api.stream, name="api-package-stream"),
]
