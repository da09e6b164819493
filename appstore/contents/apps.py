"""The Django app `appstore.contents`: what is inside a release."""

from django.apps import AppConfig


class ContentsConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.contents"
    label = "contents"
