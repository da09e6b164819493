"""Paths of this topic below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from appstore.federation import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("federation/identity", api.IdentityView.as_view()),
    path("federation/introductions", api.IntroductionsView.as_view()),
    path("federation/rotations", api.RotationsView.as_view()),
    path("federation/messages", api.MessagesView.as_view()),
    path("federation/peers", api.PeersView.as_view()),
    path("federation/peers/<uuid:pk>", api.PeerDetailView.as_view()),
    path("federation/peers/<uuid:pk>/agreements", api.AgreementsView.as_view()),
]
