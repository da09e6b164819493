"""The Django app `mecm.steering`: what operators want of traffic and DNS rules, beyond what packages say."""

from django.apps import AppConfig


class SteeringConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.steering"
    label = "steering"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.steering import handlers  # noqa: F401 - models are only loaded now
