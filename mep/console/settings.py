"""Settings of the console's own process: those of the edge platform, and what pages need beside them."""

from __future__ import annotations

from typing import Any

from core import languages
from mep.console import keep
from mep.mp1.links import ALWAYS
from mep.settings import *  # noqa: F403
from mep.settings import BASE_DIR, CONSOLE_BIND, CONSOLE_SESSION, INSTALLED_APPS, SERVER_NAMES, VAR

SECRET_KEY = keep.load(VAR).key
ROOT_URLCONF = "mep.console.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.staticfiles", "django_htmx"]
# Only the names in the certificate: whoever comes by another one was led here by somebody else's DNS.
ALLOWED_HOSTS = [
    *dict.fromkeys([*ALWAYS, *SERVER_NAMES, *([] if CONSOLE_BIND in ("0.0.0.0", "::") else [CONSOLE_BIND])])  # noqa: S104
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "mep.console.door.guard",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "mep.console.frame.frame",
            ]
        },
    }
]

# The session is in the cookie, signed: the console keeps no rows about people. It carries when it ends and what
# voids it (see door.py), so a stolen old cookie is worth nothing after signing out or after another password.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_NAME = "__Host-mep-console"
SESSION_COOKIE_AGE = CONSOLE_SESSION
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_NAME = "__Host-mep-console-csrf"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_FAILURE_VIEW = "mep.console.door.stranger"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
# The texts are those of the centre's catalogues, read from the folder.
USE_I18N = True
LANGUAGE_CODE = languages.SOURCE
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = languages.found(LOCALE_PATHS[0])
LANGUAGE_COOKIE_NAME = "__Host-mep-console-language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE = LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Strict"
STATIC_URL = "/static/"
# The look is the centre's: its files are read from the folder, none of its code is imported.
STATICFILES_DIRS = [BASE_DIR / "frontend" / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
# A form, not a body of Mp1.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
