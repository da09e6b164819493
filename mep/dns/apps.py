"""The Django app `mep.dns`: the responder that serves the ACTIVE DNS rules."""

from django.apps import AppConfig


class DnsConfig(AppConfig):
    """The DNS responder; its rules are rows of `mep.mp1`."""

    name = "mep.dns"
    label = "dns"
