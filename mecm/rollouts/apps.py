"""The Django app `mecm.rollouts`: one release brought to many nodes, in waves."""

from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "mecm.rollouts"
    label = "rollouts"

    def ready(self) -> None:
        """Make the handlers known."""
        from mecm.rollouts import handlers  # noqa: F401 - models are only loaded now
