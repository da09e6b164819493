"""The Django app `mecm.backup`: the whole centre in one file, and back."""

from django.apps import AppConfig


class BackupConfig(AppConfig):
    """Holds the record of what was backed up and proved."""

    name = "mecm.backup"
    label = "backup"
