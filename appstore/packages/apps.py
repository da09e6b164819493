"""The Django app `appstore.packages`."""

from django.apps import AppConfig


class PackagesConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "appstore.packages"
    label = "packages"
