"""The Django app `mecm`: commands of the centre."""

from django.apps import AppConfig


class MecmConfig(AppConfig):
    """Holds the centre's own commands; it has no models."""

    name = "mecm"
    label = "mecm"
