"""The Django app of the pages."""

from django.apps import AppConfig


class FrontendConfig(AppConfig):
    """Server-rendered pages for every audience."""

    name = "frontend"
    label = "frontend"
