"""The Django app `appstore.catalog`: what people find in the store."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CatalogConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.catalog"
    label = "catalog"

    def ready(self) -> None:
        """Make the handlers of long work known."""
        from appstore.catalog import handlers  # noqa: F401  (models are loaded only now)

        post_migrate.connect(_fill, sender=self, dispatch_uid="catalog-fill")


def _fill(**_: Any) -> None:
    """Ask for the index of releases that were there before it, so that an update leaves no empty catalogue."""
    from appstore.catalog.handlers import REBUILD
    from appstore.catalog.models import Index
    from appstore.packages.models import Package
    from core.operations import services as operations

    if not Index.objects.exists() and Package.objects.listed().exists():
        operations.request(REBUILD, "catalogue")
