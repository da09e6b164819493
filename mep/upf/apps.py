"""The Django app `mep.upf`: what user planes tell this MEP."""

from django.apps import AppConfig


class UpfConfig(AppConfig):
    """The notification endpoint of user planes and the log of what they told."""

    name = "mep.upf"
    label = "upf"
