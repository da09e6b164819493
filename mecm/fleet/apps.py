"""The Django app `mecm.fleet`: alarms of the whole fleet, and its figures over time."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.fleet"
    label = "fleet"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.fleet import handlers, live  # noqa: F401 - models are only loaded now
