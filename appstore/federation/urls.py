"""Paths of this topic below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from appstore.federation import api, feed_api

urlpatterns: list[URLPattern | URLResolver] = [
    path("federation/identity", api.IdentityView.as_view()),
    path("federation/introductions", api.IntroductionsView.as_view()),
    path("federation/rotations", api.RotationsView.as_view()),
    path("federation/messages", api.MessagesView.as_view()),
    path("federation/peers", api.PeersView.as_view()),
    path("federation/peers/<uuid:pk>", api.PeerDetailView.as_view()),
    path("federation/peers/<uuid:pk>/agreements", api.AgreementsView.as_view()),
    path("federation/feed", feed_api.TicketView.as_view(), name="federation-ticket"),
    path("federation/tuf/<str:name>", feed_api.MetadataView.as_view(), name="federation-metadata"),
    path(
        "federation/targets/<str:audience>/<str:file>",
        feed_api.TargetView.as_view(),
        name="federation-target",
    ),
    path("federation/blobs/<str:sha256>", feed_api.BlobView.as_view(), name="federation-blob"),
    path("federation/recalls", feed_api.RecallsView.as_view(), name="federation-recalls"),
    path("federation/revocations", feed_api.RevocationsView.as_view(), name="federation-revocations"),
    path(
        "federation/certificates/<uuid:ref>/<str:sha256>",
        feed_api.CertificateView.as_view(),
        name="federation-certificate",
    ),
]
