"""The Django app `mep.agent`: the link to the centre."""

from django.apps import AppConfig


class AgentConfig(AppConfig):
    """The link to the centre and the store of what it wishes."""

    name = "mep.agent"
    label = "agent"
