"""Paths of this topic."""

from django.urls import path

from mecm.deployments import api, where_api

urlpatterns = [
    path("deployments", api.DeploymentsView.as_view(), name="deployments"),
    path("deployments/plan", api.PlanView.as_view(), name="deployments-plan"),
    path("packages/<uuid:pk>/where", where_api.WhereView.as_view(), name="package-where"),
    path("deployments/<uuid:pk>", api.DeploymentView.as_view(), name="deployment"),
    path("deployments/<uuid:pk>/rollback", api.RollbackView.as_view(), name="deployment-rollback"),
    path("deployments/<uuid:pk>/abandon", api.AbandonView.as_view(), name="deployment-abandon"),
    path("deployments/<uuid:pk>/revisions", api.RevisionsView.as_view(), name="deployment-revisions"),
    path("deployments/<uuid:pk>/events", api.EventsView.as_view(), name="deployment-events"),
    path("deployments/<uuid:pk>/logs", api.LogsView.as_view(), name="deployment-logs"),
    path("deployments/<uuid:pk>/stream", api.StreamView.as_view(), name="deployment-stream"),
]
