"""Paths of the device flow below /api/v1/."""

from django.urls import path

from core.device import api

urlpatterns = [
    path("device/authorization", api.DeviceAuthorizationView.as_view(), name="api-device-authorization"),
    path("device/token", api.DeviceTokenView.as_view(), name="api-device-token"),
    path("tokens/current", api.CurrentTokenView.as_view(), name="api-current-token"),
]
