"""The Django app `appstore.contents`: what is inside a release."""

from django.apps import AppConfig


class ContentsConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.contents"
    label = "contents"

    def ready(self) -> None:
        """Make the handlers of long work known."""
        from appstore.contents import handlers  # noqa: F401  (models are loaded only now)
