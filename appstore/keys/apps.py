"""The Django app `appstore.keys`: signing keys of this store."""

from django.apps import AppConfig


class KeysConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.keys"
    label = "keys"
