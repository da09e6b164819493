"""The Django app `appstore.federation`: other stores."""

from django.apps import AppConfig


class FederationConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.federation"
    label = "federation"
