"""The local console as a Django app; its pages live in a process of their own."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Commands, the note about seen alarms, templates and static files."""

    name = "mep.console"
    label = "console"
