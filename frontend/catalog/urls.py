"""Pages of this topic."""

from django.urls import path

from frontend.catalog import apps, compare, feedback, hooks

urlpatterns = [
    path("catalogue/<int:app>", apps.app_page, name="catalogue-app"),
    path("catalogue/<int:app>/favourite", apps.favour_app, name="favour-app"),
    path("catalogue/<int:app>/follow", apps.follow_app, name="follow-app"),
    path("apps/<slug:organisation>/<str:provider>/<path:name>", apps.app_by_name, name="app-by-name"),
    path("compare", compare.compare_page, name="compare"),
    path("packages/<uuid:pk>/app", apps.app_of_package, name="app-of-package"),
    path("packages/<uuid:pk>/reviews", feedback.reviews_page, name="package-reviews"),
    path("packages/<uuid:pk>/reviews/write", feedback.write_review, name="write-review"),
    path("feedback", feedback.reported_page, name="reported-reviews"),
    path("feedback/<uuid:pk>", feedback.review_page, name="feedback"),
    path("feedback/<uuid:pk>/answer", feedback.answer_review, name="answer-review"),
    path("feedback/<uuid:pk>/report", feedback.report_review, name="report-review"),
    path("feedback/<uuid:pk>/hide", feedback.hide_review, name="hide-review"),
    path("notices", apps.notices_page, name="notices"),
    path("notices/read", apps.read_notices, name="read-notices"),
    path("notices/unfollow", apps.unfollow, name="unfollow"),
    path("webhooks", hooks.webhooks_page, name="webhooks"),
    path("webhooks/<uuid:pk>", hooks.webhook_page, name="webhook"),
    path("webhooks/<uuid:pk>/ping", hooks.ping_webhook, name="ping-webhook"),
    path("webhooks/<uuid:pk>/resend", hooks.resend_webhook, name="resend-webhook"),
    path("webhooks/<uuid:pk>/remove", hooks.remove_webhook, name="remove-webhook"),
]
