"""Paths of sign-in below /api/v1/."""

from django.urls import path

from core.sign_in import api

urlpatterns = [
    path("sessions", api.SessionsView.as_view(), name="api-sessions"),
    path("sessions/<uuid:ref>", api.OneSessionView.as_view(), name="api-one-session"),
    path("organisations/<uuid:pk>/invitations", api.InvitationsView.as_view(), name="api-invitations"),
    path("organisations/<uuid:pk>/invitations/<uuid:invitation>", api.InvitationView.as_view(), name="api-invitation"),
]
