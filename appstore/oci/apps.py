"""The Django app `appstore.oci`: the registry face of the store."""

from django.apps import AppConfig


class OciConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.oci"
    label = "oci"
