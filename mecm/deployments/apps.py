"""The Django app `mecm.deployments`."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.deployments"
    label = "deployments"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.deployments import handlers  # noqa: F401 - models are only loaded now
