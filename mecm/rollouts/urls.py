"""Paths of this topic."""

from django.urls import path

from mecm.rollouts import api

urlpatterns = [
    path("rollouts", api.RolloutsView.as_view(), name="api-rollouts"),
    path("rollouts/plan", api.PlanView.as_view(), name="api-rollouts-plan"),
    path("rollouts/<uuid:pk>", api.RolloutView.as_view(), name="api-rollout"),
    path("rollouts/<uuid:pk>/places", api.PlacesView.as_view(), name="api-rollout-places"),
    path("rollouts/<uuid:pk>/places.csv", api.CsvView.as_view(), name="rollout-csv"),
    path("rollouts/<uuid:pk>/places.json", api.JsonView.as_view(), name="rollout-json"),
    path("rollouts/<uuid:pk>/events", api.EventsView.as_view(), name="api-rollout-events"),
    path("rollouts/<uuid:pk>/plan", api.PlanAgainView.as_view(), name="api-rollout-plan"),
    path("rollouts/<uuid:pk>/start", api.StartView.as_view(), name="api-rollout-start"),
    path("rollouts/<uuid:pk>/pause", api.PauseView.as_view(), name="api-rollout-pause"),
    path("rollouts/<uuid:pk>/resume", api.ResumeView.as_view(), name="api-rollout-resume"),
    path("rollouts/<uuid:pk>/abort", api.AbortView.as_view(), name="api-rollout-abort"),
    path("rollouts/<uuid:pk>/rollback", api.RollbackView.as_view(), name="api-rollout-rollback"),
    path("rollouts/<uuid:pk>/retry", api.RetryView.as_view(), name="api-rollout-retry"),
    path("rollouts/<uuid:pk>/stream", api.StreamView.as_view(), name="rollout-stream"),
]
