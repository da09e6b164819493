"""The Django app `mep.mp1`: ETSI MEC 011 on this node."""

from django.apps import AppConfig


class Mp1Config(AppConfig):
    """App instances, their services, subscriptions and rules."""

    name = "mep.mp1"
    label = "mp1"
