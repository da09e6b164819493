"""The Django app `core.accounts`."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Organisations, people, roles and tokens."""

    name = "core.accounts"
    label = "accounts"
