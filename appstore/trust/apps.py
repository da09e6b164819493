"""The Django app `appstore.trust`: whom an organisation trusts, and what that says of a package."""

from django.apps import AppConfig


class TrustConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.trust"
    label = "trust"

    def ready(self) -> None:
        """Make the handlers of long work known."""
        from appstore.trust import publishers, signings  # noqa: F401  (models are loaded only now)
