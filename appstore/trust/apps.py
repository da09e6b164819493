"""The Django app `appstore.trust`: whom an organisation trusts, and what that says of a package."""

from django.apps import AppConfig


class TrustConfig(AppConfig):
    """Makes the handlers of this topic known once all models are loaded."""

    name = "appstore.trust"
    label = "trust"
