"""Paths of this topic below /api/v1/."""

from django.urls import path

from appstore.catalog import api, api_feedback

urlpatterns = [
    path("catalogue", api.CatalogueView.as_view(), name="api-catalogue"),
    path("catalogue/apps/<int:app>", api.AppView.as_view(), name="api-catalogue-app"),
    path("catalogue/apps/<int:app>/favourite", api.FavouriteView.as_view(), name="api-catalogue-favourite"),
    path("catalogue/apps/<int:app>/follow", api.FollowView.as_view(), name="api-catalogue-follow"),
    path(
        "catalogue/named/<slug:organisation>/<str:provider>/<path:name>",
        api.NamedAppView.as_view(),
        name="api-catalogue-named",
    ),
    path("catalogue/apps/<int:app>/reviews", api_feedback.ReviewsView.as_view(), name="api-app-reviews"),
    path("feedback/<uuid:pk>", api_feedback.ReviewView.as_view(), name="api-feedback"),
    path("feedback/<uuid:pk>/answer", api_feedback.AnswerView.as_view(), name="api-feedback-answer"),
    *(
        path(
            f"feedback/<uuid:pk>/{deed}",
            api_feedback.ReviewDeedView.as_view(),
            {"deed": deed},
            name=f"api-feedback-{deed}",
        )
        for deed in ("report", "hide", "restore")
    ),
    path("notices", api_feedback.NoticesView.as_view(), name="api-notices"),
    path("webhooks", api_feedback.WebhooksView.as_view(), name="api-webhooks"),
    path("webhooks/<uuid:pk>", api_feedback.WebhookView.as_view(), name="api-webhook"),
    path("webhooks/<uuid:pk>/ping", api_feedback.PingView.as_view(), name="api-webhook-ping"),
    path("webhooks/<uuid:pk>/deliveries", api_feedback.DeliveriesView.as_view(), name="api-webhook-deliveries"),
    path("packages/<uuid:pk>/badges/<slug:kind>.svg", api.BadgeView.as_view(), name="api-badge"),
]
