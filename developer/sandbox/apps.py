"""The Django app `developer.sandbox`."""

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "developer.sandbox"
    label = "developer_sandbox"

    def ready(self) -> None:
        """Make the handlers known."""
        from developer.sandbox import handlers  # noqa: F401 - models are only loaded now
