"""The Django app `appstore.federation`: other stores."""

from django.apps import AppConfig


class FederationConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.federation"
    label = "federation"

    def ready(self) -> None:
        """Make the handlers of long work and the kinds of messages known."""
        from appstore.federation import feed_handlers, handlers  # noqa: F401  (models are loaded only now)
