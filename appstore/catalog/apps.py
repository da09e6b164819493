"""The Django app `appstore.catalog`: what people find in the store."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.catalog"
    label = "catalog"
