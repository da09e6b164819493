"""Paths of dealing with partners, below /api/v1/."""

from django.urls import URLPattern, path

from appstore.federation import manage_api as api

_PEER = "federation/peers/<uuid:pk>"

urlpatterns: list[URLPattern] = [
    path("federation/look", api.LookView.as_view()),
    path("federation/meet", api.MeetView.as_view()),
    path(f"{_PEER}/confirm", api.ConfirmView.as_view()),
    path(f"{_PEER}/refuse", api.RefuseView.as_view()),
    path(f"{_PEER}/suspend", api.SuspendView.as_view()),
    path(f"{_PEER}/resume", api.ResumeView.as_view()),
    path(f"{_PEER}/end", api.EndView.as_view()),
    path(f"{_PEER}/sync", api.SyncView.as_view()),
    path(f"{_PEER}/deliver", api.DeliverView.as_view()),
    path(f"{_PEER}/propose", api.ProposeView.as_view()),
    path(f"{_PEER}/agreements/<int:version>/accept", api.AcceptView.as_view()),
    path(f"{_PEER}/agreements/<int:version>/decline", api.DeclineView.as_view()),
    path(f"{_PEER}/agreements/<int:version>/end", api.EndAgreementView.as_view()),
]
