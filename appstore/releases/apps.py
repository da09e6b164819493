"""The Django app `appstore.releases`: the life of a release after its check."""

from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.releases"
    label = "releases"
