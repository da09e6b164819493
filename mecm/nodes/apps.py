"""The Django app `mecm.nodes`."""

from django.apps import AppConfig


class NodesConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.nodes"
    label = "nodes"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.nodes import handlers  # noqa: F401 - models are only loaded now
