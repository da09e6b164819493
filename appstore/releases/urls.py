"""Paths of this topic below /api/v1/."""

from django.urls import path

from appstore.releases import api

urlpatterns = [
    path("reviews", api.ReviewsView.as_view(), name="api-reviews"),
    path("reviews/<uuid:pk>", api.ReviewView.as_view(), name="api-review"),
    path("reviews/<uuid:pk>/approve", api.ApproveView.as_view(), name="api-review-approve"),
    path("reviews/<uuid:pk>/decline", api.DeclineView.as_view(), name="api-review-decline"),
    path("reviews/<uuid:pk>/retract", api.RetractView.as_view(), name="api-review-retract"),
    path("release-policy", api.PolicyView.as_view(), name="api-release-policy"),
    path("recalls", api.RecallListView.as_view(), name="api-recalls"),
    path("recalls/<uuid:pk>", api.RecallView.as_view(), name="api-recall"),
    path("recalls/<uuid:pk>/lift", api.LiftView.as_view(), name="api-recall-lift"),
]
