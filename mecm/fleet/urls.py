"""Paths of this topic."""

from django.urls import path

from mecm.fleet import api

urlpatterns = [
    path("alarms", api.AlarmsView.as_view(), name="alarms"),
    path("alarms/acknowledge", api.AcknowledgeManyView.as_view(), name="alarms-acknowledge"),
    path("alarms/stream", api.StreamView.as_view(), name="alarms-stream"),
    path("alarms/<uuid:pk>", api.AlarmView.as_view(), name="alarm"),
    path("alarms/<uuid:pk>/acknowledge", api.AcknowledgeView.as_view(), name="alarm-acknowledge"),
    path("alarms/<uuid:pk>/history", api.HistoryView.as_view(), name="alarm-history"),
    path("fleet/stream", api.FleetStreamView.as_view(), name="fleet-stream"),
    path("figures", api.FiguresView.as_view(), name="figures"),
    path("nodes/<uuid:pk>/figures", api.NodeFiguresView.as_view(), name="node-figures"),
    path("nodes/<uuid:pk>/stream", api.NodeStreamView.as_view(), name="node-stream"),
]
