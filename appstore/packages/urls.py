"""Paths of packages below /api/v1/."""

from django.urls import path

from appstore.packages import api, life_api, tus

urlpatterns = [
    path("uploads", tus.UploadsView.as_view(), name="api-uploads"),
    path("uploads/<uuid:pk>", tus.UploadView.as_view(), name="api-upload"),
    path("packages", api.PackagesView.as_view(), name="api-packages"),
    path("packages/<uuid:pk>", api.PackageView.as_view(), name="api-package"),
    path("packages/<uuid:pk>/check", api.CheckView.as_view(), name="api-package-check"),
    path("packages/<uuid:pk>/publish", api.PublishView.as_view(), name="api-package-publish"),
    path("packages/<uuid:pk>/deprecate", life_api.DeprecateView.as_view(), name="api-package-deprecate"),
    path("packages/<uuid:pk>/undeprecate", life_api.UndeprecateView.as_view(), name="api-package-undeprecate"),
    path("packages/<uuid:pk>/yank", life_api.YankView.as_view(), name="api-package-yank"),
    path("packages/<uuid:pk>/withdraw", life_api.YankView.as_view(), name="api-package-withdraw"),
    path("packages/<uuid:pk>/unyank", life_api.UnyankView.as_view(), name="api-package-unyank"),
    path("packages/<uuid:pk>/quarantine", life_api.QuarantineView.as_view(), name="api-package-quarantine"),
    path("packages/<uuid:pk>/unquarantine", life_api.UnquarantineView.as_view(), name="api-package-unquarantine"),
    path("packages/<uuid:pk>/visibility", life_api.VisibilityView.as_view(), name="api-package-visibility"),
    path("packages/<uuid:pk>/notes", life_api.NotesView.as_view(), name="api-package-notes"),
    path("packages/<uuid:pk>/history", api.HistoryView.as_view(), name="api-package-history"),
    path("packages/<uuid:pk>/content", api.ContentView.as_view(), name="api-package-content"),
    path("packages/<uuid:pk>/stream", api.stream, name="api-package-stream"),
]
