"""The Django app `appstore.certification`: checks, runs and certificates."""

from django.apps import AppConfig


class CertificationConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.certification"
    label = "certification"

    def ready(self) -> None:
        """Register the long work of this topic."""
        from appstore.certification import handlers  # noqa: F401  (registers itself)
