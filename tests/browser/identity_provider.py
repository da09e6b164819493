"""A real OpenID Connect provider for tests: allauth's own, as a Django project of its own in a process of its own.

`python -m tests.browser.identity_provider PORT FOLDER REDIRECT_URI`. People and their groups stand in FOLDER/people.json
and are read anew at each sign-in: `{"keeper": ["edge-admins"]}`; everybody's password is PASSWORD.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.urls import include, path

PASSWORD = "a lamp in the tower"
CLIENT_ID, CLIENT_SECRET = "breakwater", "between the two of us"
URLS = "tests.browser.identity_provider"
urlpatterns: list[Any] = []


def configure(folder: Path) -> None:
    """Make this process that project."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    settings.configure(
        SECRET_KEY="of a test",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=URLS,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "provider.sqlite3")}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        SESSION_COOKIE_NAME="provider_session",
        CSRF_COOKIE_NAME="provider_csrf",
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
            "allauth", "allauth.account", "allauth.idp.oidc",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware", "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
            "OPTIONS": {"context_processors": [
                "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]},
        }],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGIN_URL="account_login",
        ACCOUNT_EMAIL_VERIFICATION="none",
        ACCOUNT_RATE_LIMITS=False,
        IDP_OIDC_PRIVATE_KEY=pem,
        IDP_OIDC_ADAPTER="tests.browser.identity_provider_groups.Adapter",
        PEOPLE_FILE=str(folder / "people.json"),
    )  # fmt: skip


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the process ends."""
    port, folder, redirect_uri = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    configure(folder)
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    urlpatterns.extend([path("accounts/", include("allauth.account.urls")), path("", include("allauth.idp.urls"))])
    call_command("migrate", verbosity=0)
    from allauth.idp.oidc.models import Client

    for name in json.loads((folder / "people.json").read_text()):
        User.objects.create_user(name, password=PASSWORD)
    client = Client(id=CLIENT_ID, name="Breakwater", skip_consent=True, scopes="openid\nprofile\nemail")
    client.set_secret(CLIENT_SECRET)
    client.set_redirect_uris([redirect_uri])
    client.save()
    make_server("127.0.0.1", port, get_wsgi_application(), server_class=_Server, handler_class=_Quiet).serve_forever()


if __name__ == "__main__":
    # The URL module that Django imports must be this very one, not a second copy under its long name.
    sys.modules[URLS] = sys.modules["__main__"]
    main()
