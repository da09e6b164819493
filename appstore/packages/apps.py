"""The Django app `appstore.packages`."""

from django.apps import AppConfig


class PackagesConfig(AppConfig):
    """Registers the handlers of this topic once all models are loaded."""

    name = "appstore.packages"
    label = "packages"

    def ready(self) -> None:
        """Make the handlers of long work known."""
        from appstore.packages import handlers  # noqa: F401  (models are loaded only now)
