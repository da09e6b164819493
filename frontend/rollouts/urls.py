"""Pages of this topic."""

from django.urls import path

from frontend.rollouts import making, views

urlpatterns = [
    path("rollouts", views.rollouts, name="rollouts"),
    path("rollouts/new", making.choose_release, name="new-rollout"),
    path("packages/<uuid:pk>/rollout", making.make, name="make-rollout"),
    path("packages/<uuid:pk>/rollout/preview", making.preview, name="preview-rollout"),
    path("rollouts/<uuid:pk>", views.rollout, name="rollout"),
    path("rollouts/<uuid:pk>/live", views.rollout_live, name="rollout-live"),
    path("rollouts/<uuid:pk>/nodes", views.rollout_nodes, name="rollout-nodes"),
    path("rollouts/<uuid:pk>/start", views.start, name="start-rollout"),
    path("rollouts/<uuid:pk>/plan", views.plan_again, name="replan-rollout"),
    path("rollouts/<uuid:pk>/pause", views.pause, name="pause-rollout"),
    path("rollouts/<uuid:pk>/resume", views.resume, name="resume-rollout"),
    path("rollouts/<uuid:pk>/abort", views.abort, name="abort-rollout"),
    path("rollouts/<uuid:pk>/rollback", views.roll_back, name="roll-back-rollout"),
    path("rollouts/<uuid:pk>/retry", views.retry, name="retry-rollout"),
]
