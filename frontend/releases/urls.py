"""Pages of this topic."""

from django.urls import path

from frontend.releases import life, recalls, reviews

urlpatterns = [
    path("packages/<uuid:pk>/life", life.package_life, name="package-life"),
    path("packages/<uuid:pk>/deprecate", life.deprecate, name="deprecate"),
    path("packages/<uuid:pk>/undeprecate", life.undeprecate, name="undeprecate"),
    path("packages/<uuid:pk>/yank", life.yank, name="yank"),
    # The older name of yank.
    path("packages/<uuid:pk>/withdraw", life.yank, name="withdraw"),
    path("packages/<uuid:pk>/unyank", life.unyank, name="unyank"),
    path("packages/<uuid:pk>/quarantine", life.quarantine, name="quarantine"),
    path("packages/<uuid:pk>/unquarantine", life.unquarantine, name="unquarantine"),
    path("packages/<uuid:pk>/visibility", life.show_to, name="show-to"),
    path("packages/<uuid:pk>/notes", life.annotate, name="annotate"),
    path("packages/<uuid:pk>/recall", life.recall, name="recall-package"),
    path("reviews", reviews.reviews, name="reviews"),
    path("reviews/rules", reviews.set_policy, name="set-release-policy"),
    path("reviews/<uuid:pk>", reviews.review, name="review"),
    path("reviews/<uuid:pk>/approve", reviews.approve, name="approve-review"),
    path("reviews/<uuid:pk>/decline", reviews.decline, name="decline-review"),
    path("reviews/<uuid:pk>/retract", reviews.retract, name="retract-review"),
    path("recalls", recalls.recalls, name="recalls"),
    path("recalls/<uuid:pk>", recalls.recall, name="recall"),
    path("recalls/<uuid:pk>/live", recalls.recall_live, name="recall-live"),
    path("recalls/<uuid:pk>/lift", recalls.lift, name="lift-recall"),
]
