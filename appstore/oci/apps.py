"""The Django app `appstore.oci`: the registry face of the store."""

from django.apps import AppConfig


class OciConfig(AppConfig):
    """Charts by `helm pull oci://`."""

    name = "appstore.oci"
    label = "oci"
