"""Paths of this topic."""

from django.urls import path

from mecm.recalls import api

urlpatterns = [
    path("recalls/known", api.RecallsView.as_view(), name="recalls-known"),
    path("recalls/<uuid:pk>/progress", api.ProgressView.as_view(), name="recall-progress"),
    path("recalls/<uuid:pk>/stream", api.StreamView.as_view(), name="recall-stream"),
]
