"""The Django app `core.accounts`."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Organisations, people, roles and tokens."""

    name = "core.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Let the API document know our tokens."""
        from core import schema  # noqa: F401  (it registers itself, and needs the apps to be loaded)
