"""The Django app `mecm.trials`."""

from django.apps import AppConfig


class TrialsConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.trials"
    label = "trials"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.trials import handlers  # noqa: F401 - models are only loaded now
