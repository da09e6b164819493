"""The Django app `mecm.sites`: where nodes stand, what connects them, and what the map shows of it."""

from django.apps import AppConfig


class SitesConfig(AppConfig):
    """Names the topic; it has no long work."""

    name = "mecm.sites"
    label = "sites"
