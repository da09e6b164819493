"""The Django app `mecm.edge`."""

from django.apps import AppConfig


class EdgeConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.edge"
    label = "edge"
