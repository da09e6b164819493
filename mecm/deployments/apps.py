"""The Django app `mecm.deployments`."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.deployments"
    label = "deployments"
