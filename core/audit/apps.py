"""The Django app `core.audit`."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The append-only trail of who did what."""

    name = "core.audit"
    label = "audit"
