"""Settings of the centre. Every one is declared once, with its type, its default and a sentence of help.

They are read from the environment as `BREAKWATER_<NAME>`; `manage.py settings_help` lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from core import languages
from core.env import Env, boolean, words
from core.vault import KeyFile, Ring, load_or_make_key, read_keys
from mecm.runtime.env import declare

env = Env("BREAKWATER")
BASE_DIR = Path(__file__).resolve().parent.parent

VAR_DIR = Path(
    env("VAR", str(BASE_DIR / "var"), help="folder for everything that is written: database, packages, keys")
)
VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
BLOB_DIR = Path(env("BLOBS", str(VAR_DIR / "blobs"), help="folder of stored packages, charts and images, by digest"))
BROKER_DIR = VAR_DIR / "broker"
CA_DIR = VAR_DIR / "ca"

DEBUG = env("DEBUG", False, cast=boolean, help="show tracebacks on pages; for development only")
WEB_BIND = env("WEB_BIND", "127.0.0.1", help="address that the web server of `manage.py up` listens on")
WEB_PORT = env("WEB_PORT", 8000, cast=int, help="TCP port of the web server of `manage.py up`")
PUBLIC_URL = env(
    "PUBLIC_URL", f"http://127.0.0.1:{WEB_PORT}", help="address under which people and edge nodes reach us"
).rstrip("/")
ALLOWED_HOSTS = env(
    "ALLOWED_HOSTS",
    sorted({"127.0.0.1", "localhost", "[::1]", urlsplit(PUBLIC_URL).hostname or "127.0.0.1"}),
    cast=words,
    help="host names that we answer to",
)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SIMULATED_RUNTIME = env("SIMULATED", False, cast=boolean, help="say on every page that no real runtime is behind this")

# The key file makes one secret per installation; a setting may give one for several web hosts.
_key_file = Path(
    env(
        "KEY_FILE",
        str(VAR_DIR / "keys" / "vault.key"),
        help="file of the keys that seal secrets at rest, 32 bytes each: the first seals, all open; made when missing",
    )
)
_keys = env(
    "KEYS",
    b"",
    cast=read_keys,
    help="these keys instead of the file: hexadecimal digits, the newest first",
    secret=True,
)
VAULT_KEY = Ring(_keys, "BREAKWATER_KEYS") if _keys else KeyFile(_key_file)
KEY_FILE = _key_file
SECRET_KEY = env(
    "SECRET_KEY", "", help="key of sessions; made once and kept beside the vault key when empty", secret=True
)
if not SECRET_KEY:
    SECRET_KEY = load_or_make_key(_key_file.with_name("session.key")).hex()

MAX_PACKAGE_BYTES = env(
    "MAX_PACKAGE_BYTES", 5 * 1024**3, cast=int, help="largest package that may be uploaded, in bytes"
)
UPLOADS_AT_ONCE = env(
    "UPLOADS_AT_ONCE",
    20,
    cast=int,
    help="unfinished uploads that one organisation may have; beyond it waits or cancels",
)
UPLOADS_BYTES = env(
    "UPLOADS_BYTES", 20 * 1024**3, cast=int, help="bytes that the unfinished uploads of one organisation may come to"
)
UPLOAD_TTL = env(
    "UPLOAD_TTL", 24 * 3600, cast=int, help="seconds after its last part for which an unfinished upload is kept"
)
SANDBOX_TESTS = env("SANDBOX_TESTS", 3, cast=int, help="test deployments that one organisation may have at a time")
SANDBOX_MINUTES = env("SANDBOX_MINUTES", 60, cast=int, help="longest time of a test deployment, in minutes from now")
UPLOAD_PART = env(
    "UPLOAD_PART", 8 * 1024**2, cast=int, help="bytes that pages send at a time; a crash costs at most one such part"
)
MAX_UNPACKED_BYTES = env(
    "MAX_UNPACKED_BYTES", 10 * 1024**3, cast=int, help="largest sum of a package's unpacked members"
)
OPERATOR = env("OPERATOR", "", help="slug of the organisation that runs this store; the oldest one when empty")
OCI_ANONYMOUS = env(
    "OCI_ANONYMOUS", True, cast=boolean, help="let everybody pull charts of public releases by `helm pull oci://`"
)
PUBLIC_CATALOGUE = env(
    "PUBLIC_CATALOGUE",
    True,
    cast=boolean,
    help="show public releases of the catalogue also to those who are not signed in",
)
STORE_NAME = env("STORE_NAME", "Breakwater", help="what this store calls itself to people and to other stores")
CHECKS = env("CHECKS", [], cast=words, help="folders with further certification checks, one check in a file")
ADVISORIES = env("ADVISORIES", "", help="file of known vulnerabilities (OSV as JSON lines) that checks may read")
FEDERATION_NETWORKS = env(
    "FEDERATION_NETWORKS",
    # A store that is itself on loopback, to try things out, may meet others there.
    ["127.0.0.0/8", "::1/128"] if urlsplit(PUBLIC_URL).hostname in ("127.0.0.1", "localhost", "::1") else [],
    cast=words,
    help="networks inside (CIDR) in which partner stores may be, also by http; all else is public and https",
)
FEDERATION_CA = env("FEDERATION_CA", "", help="file of CA certificates (PEM) that partner stores are trusted by, too")
FEDERATION_INTRODUCTIONS = env(
    "FEDERATION_INTRODUCTIONS", 20, cast=int, help="introductions of unknown stores that may wait for an answer"
)
OPERATION_LEASE = env("OPERATION_LEASE", 30, cast=int, help="seconds after which a silent worker counts as dead")
OPERATION_KEEP_DAYS = env("OPERATION_KEEP_DAYS", 90, cast=int, help="days for which finished operations are kept")
COUNT_EVERY = env("COUNT_EVERY", 10, cast=int, help="seconds for which downloads are collected before they are counted")
WEBHOOK_NETWORKS = env(
    "WEBHOOK_NETWORKS",
    [],
    cast=words,
    help="networks that are not public and to which webhooks may be sent nevertheless",
)
LOGIN_LIMIT = env("LOGIN_LIMIT", 5, cast=int, help="failed sign-ins of one name from one address before a pause")
LOGIN_WINDOW = env("LOGIN_WINDOW", 900, cast=int, help="length of that pause, in seconds")
DEVICE_CODE_MINUTES = env("DEVICE_CODE_MINUTES", 10, cast=int, help="minutes in which a sign-in by code is approved")
DEVICE_TOKEN_DAYS = env(
    "DEVICE_TOKEN_DAYS", 90, cast=int, help="days that a token of the command line is good for; 0 for no end"
)
SESSION_SEEN_EVERY = env(
    "SESSION_SEEN_EVERY", 300, cast=int, help="seconds after which a session in use is noted again"
)
SIGN_IN_NETWORKS = env(
    "SIGN_IN_NETWORKS",
    [],
    cast=words,
    help="networks inside (CIDR) in which identity providers may be, also by http; all else is public and https",
)
SIGN_IN_CA = env("SIGN_IN_CA", "", help="file of CA certificates (PEM) that identity providers are trusted by, too")
INVITATION_DAYS = env("INVITATION_DAYS", 7, cast=int, help="days for which an invitation can be accepted")
EMAIL_HOST = env("EMAIL_HOST", "", help="SMTP server; when empty, e-mails are written to the folder mail/ of VAR")
EMAIL_PORT = env("EMAIL_PORT", 587, cast=int, help="TCP port of the SMTP server")
EMAIL_HOST_USER = env("EMAIL_USER", "", help="user name at the SMTP server")
EMAIL_HOST_PASSWORD = env("EMAIL_PASSWORD", "", help="password at the SMTP server", secret=True)
EMAIL_USE_TLS = env("EMAIL_TLS", True, cast=boolean, help="use STARTTLS with the SMTP server")
DEFAULT_FROM_EMAIL = env("EMAIL_FROM", "breakwater@localhost", help="sender of e-mails")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = str(VAR_DIR / "mail")
EMAIL_TIMEOUT = 10
HEARTBEAT_LIMIT = env("HEARTBEAT_LIMIT", 40, cast=int, help="seconds of silence after which a node counts as offline")
BACKUP_PASSPHRASE = env(
    "BACKUP_PASSPHRASE", "", help="passphrase that seals the keys in a backup; asked for when empty", secret=True
)
ALARM_KEEP_DAYS = env("ALARM_KEEP_DAYS", 365, cast=int, help="days for which cleared alarms are kept")
FIGURES_KEEP_DAYS = env("FIGURES_KEEP_DAYS", 400, cast=int, help="days for which hourly figures of the fleet are kept")
NODE_FIGURES_MINUTES = env(
    "NODE_FIGURES_MINUTES", 5, cast=int, help="minutes between two samples of each node (5 to 60); kept for 26 hours"
)
MAP_TILE_URL = env(
    "MAP_TILE_URL", "", help="raster tiles of the maps, as https://host/{z}/{x}/{y}.png; our own world map when empty"
)
MAP_PMTILES_URL = env(
    "MAP_PMTILES_URL", "", help="PMTiles archive of the street level; the shipped extract of Helsinki when empty"
)
MAP_ATTRIBUTION = env("MAP_ATTRIBUTION", "", help="whom the map's own tiles are owed to, as their licence asks")
LOG_LEVEL = env("LOG_LEVEL", "INFO", help="DEBUG, INFO, WARNING or ERROR")


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for `sqlite:///path` or `postgres://user:password@host:port/name?option=value`."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path) or str(VAR_DIR / "centre.sqlite3"),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA busy_timeout=20000;",
            },
        }
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": dict(parse_qsl(parts.query)),
        }
    raise ValueError("give sqlite:///path or postgres://user:password@host:port/name")


DATABASES = {
    "default": env(
        "DATABASE_URL",
        database("sqlite://"),
        cast=database,
        help="sqlite:///path or postgres://user:password@host:port/name",
        secret=True,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "csp",
    "core.accounts",
    "core.sign_in",
    "core.audit",
    "core.device",
    "core.operations",
    "core.sealing",
    "appstore.packages",
    "appstore.keys",
    "appstore.trust",
    "appstore.contents",
    "appstore.certification",
    "appstore.releases",
    "appstore.catalog",
    "appstore.federation",
    "appstore.oci",
    "mecm.nodes",
    "mecm.edge",
    "mecm.deployments",
    "mecm.recalls",
    "mecm.sites",
    "mecm.rollouts",
    "developer.sandbox",
    "mecm.steering",
    "mecm.trials",
    "mecm.fleet",
    "mecm.backup",
    "mecm",
    "frontend",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "frontend.language.PortalLanguage",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.accounts.middleware.ActorMiddleware",
    "core.sign_in.middleware.SeenMiddleware",
    "appstore.catalog.counters.CountDownloads",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "mecm.urls"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "frontend.context.portal",
                "frontend.fleet.context.alarms",
            ]
        },
    }
]

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
SESSION_ENGINE = "core.sign_in.sessions"
SESSION_COOKIE_NAME = "breakwater_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
CSRF_COOKIE_NAME = "breakwater_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https")
    if env("BEHIND_PROXY", False, cast=boolean, help="trust X-Forwarded-Proto and -For of a proxy on this machine")
    else None
)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "SAMEORIGIN"

_SELF, _NONE = "'self'", "'none'"
_MAP_SOURCES = sorted(
    # Tile servers may have several names, as {s}.tiles.example.
    {
        f"{part.scheme}://{part.netloc.replace('{s}', '*')}"
        for part in map(urlsplit, (MAP_TILE_URL, MAP_PMTILES_URL))
        if part.netloc
    }
)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [_SELF],
        "script-src": [_SELF],
        "style-src": [_SELF],
        "img-src": [_SELF, "data:", *_MAP_SOURCES],
        "font-src": [_SELF],
        "connect-src": [_SELF, *_MAP_SOURCES],
        "worker-src": [_SELF],
        "object-src": [_NONE],
        "base-uri": [_SELF],
        "form-action": [_SELF],
        "frame-ancestors": [_SELF],
    }
}

LANGUAGE_CODE = languages.SOURCE
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = languages.found(LOCALE_PATHS[0])
LANGUAGE_COOKIE_NAME = "breakwater_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SECURE = SESSION_COOKIE_SECURE
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
# What an index includes is for PostgreSQL; SQLite does without.
SILENCED_SYSTEM_CHECKS = ["models.W040"]
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "frontend.assets.Assets"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ["png", "jpg", "webp", "gz", "br", "woff2", "pmtiles"]
WHITENOISE_AUTOREFRESH = DEBUG

# A body over this size is only read by the streaming upload, never into memory.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024**2
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

REST_FRAMEWORK = {
    # Authentication and pagination are those of core.http.ApiView; naming them here would import it in a circle.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "rest_framework.parsers.FormParser"],
    "DEFAULT_SCHEMA_CLASS": "core.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "core.http.exception_handler",
    "UNAUTHENTICATED_USER": None,
    # `?format=` is a filter of ours, not a choice of renderer.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Breakwater API",
    "DESCRIPTION": (
        "The REST API of a Breakwater centre. Send an API token as `Authorization: Bearer …`; errors are "
        "`application/problem+json` (RFC 9457); lists are pages of `results` with `count`, `next` and `previous`; what takes "
        "time is answered by 202 and an operation or a wish whose state can be asked for."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # Choices stay where they are used: names for them would change with every topic that has a `state`.
    "POSTPROCESSING_HOOKS": ["core.openapi.tidy", "mecm.openapi.complete"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# The rows are the queue (core.operations): what a broker loses costs one sweep, never work.
CELERY_BROKER_URL = env(
    "BROKER_URL", "filesystem://", help="filesystem:// (embedded), redis://host:port/0 or amqp://host", secret=True
)
if CELERY_BROKER_URL == "filesystem://":
    for _folder in ("in", "control"):
        (BROKER_DIR / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT = "core.operations.broker:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        # One folder for both: what is written by one process is read by the other.
        "data_folder_in": str(BROKER_DIR / "in"),
        "data_folder_out": str(BROKER_DIR / "in"),
        "control_folder": str(BROKER_DIR / "control"),
        "polling_interval": 0.05,
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "breakwater"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "sweep operations": {
        "task": "operations.sweep",
        "schedule": env("SWEEP_EVERY", 15, cast=int, help="seconds between sweeps"),
    },
    "watch direct nodes": {"task": "nodes.watch", "schedule": 30},
    "find lost steps of rollouts": {"task": "rollouts.sweep", "schedule": 30},
    "collect garbage": {"task": "packages.collect_garbage", "schedule": 3600},
    "follow partner stores": {"task": "federation.follow", "schedule": 60},
    # Metadata live for a day, so that a frozen mirror is noticed; they are signed anew long before.
    "build feeds": {"task": "federation.build", "schedule": 900},
    "sweep alarms": {
        "task": "fleet.sweep",
        "schedule": env("ALARMS_EVERY", 20, cast=int, help="seconds between two looks for alarms"),
    },
    "roll up figures": {"task": "fleet.roll_up", "schedule": 600},
    "drop ended sessions": {"task": "sign_in.drop_expired", "schedule": 3600},
    "look at trust again": {"task": "trust.look_again", "schedule": 24 * 3600},
}
OPERATION_BELL = "mecm.celery.ring"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "kombu.connection": {"level": "ERROR"},
        "celery.beat": {"level": "WARNING"},
        "docker": {"level": "WARNING"},
    },
}

UP = declare(env)
# The command line is used in the same shell, and these are its own (docs/command-line.md).
env.finish(others=["SERVER", "TOKEN", "CA", "ORGANISATION", "OUTPUT", "TRACE"])
