"""Paths of accounts below /api/v1/."""

from django.urls import path

from core.accounts import api

urlpatterns = [
    path("session", api.SessionView.as_view(), name="api-session"),
    path("organisations", api.OrganisationsView.as_view(), name="api-organisations"),
    path("organisations/<uuid:pk>/members", api.MembersView.as_view(), name="api-members"),
    path("organisations/<uuid:pk>/members/<int:membership>", api.MemberView.as_view(), name="api-member"),
    path("tokens", api.TokensView.as_view(), name="api-tokens"),
    path("tokens/<uuid:pk>", api.TokenView.as_view(), name="api-token"),
]
