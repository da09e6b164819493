"""Paths of sign-in below /api/v1/."""

from django.urls import path

from core.sign_in import api

urlpatterns = [
    path("sessions", api.SessionsView.as_view(), name="api-sessions"),
    path("sessions/<uuid:ref>", api.OneSessionView.as_view(), name="api-one-session"),
]
