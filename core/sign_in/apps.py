"""The Django app `core.sign_in`."""

from django.apps import AppConfig


class SignInConfig(AppConfig):
    """How people get in: sessions, second factors, passkeys, identity providers, invitations."""

    name = "core.sign_in"
    label = "sign_in"

    def ready(self) -> None:
        """Hear of roles that are given, so that a policy holds for sessions that are open already."""
        from core.accounts import services as accounts
        from core.sign_in import policy

        accounts.when_granted.append(policy.apply_to)
