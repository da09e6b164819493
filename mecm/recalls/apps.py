"""The Django app `mecm.recalls`: where recalled packages run, and how far they were stopped."""

from django.apps import AppConfig


class RecallsConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.recalls"
    label = "recalls"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.recalls import handlers  # noqa: F401 - models are only loaded now
