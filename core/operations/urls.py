"""Paths of operations below /api/v1/."""

from django.urls import path

from core.operations import api

urlpatterns = [
    path("operations", api.OperationsView.as_view(), name="api-operations"),
    path("operations/<uuid:pk>", api.OperationView.as_view(), name="api-operation"),
    path("operations/<uuid:pk>/cancel", api.CancelView.as_view(), name="api-operation-cancel"),
    path("operations/<uuid:pk>/retry", api.RetryView.as_view(), name="api-operation-retry"),
    path("operations/<uuid:pk>/stream", api.stream, name="api-operation-stream"),
]
