"""The Django app `core.sealing`: columns that stand sealed in the database."""

from django.apps import AppConfig


class SealingConfig(AppConfig):
    """Holds the ids of the keys that rows are sealed by."""

    name = "core.sealing"
    label = "sealing"
