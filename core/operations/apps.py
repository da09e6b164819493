"""The Django app `core.operations`: long work as rows."""

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Long work as rows; used by the centre and by an edge node alike."""

    name = "core.operations"
    label = "operations"
