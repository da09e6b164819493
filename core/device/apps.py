"""The Django app `core.device`."""

from django.apps import AppConfig


class DeviceConfig(AppConfig):
    """Device authorization grants."""

    name = "core.device"
    label = "device"
