"""Settings of the edge platform. Every one is read from the environment as `MEP_<NAME>`.

The agent declares its own in `mep/agent/env.py`: `declare(env) -> dict[str, Any]` is called below,
so that all problems of a node are told together.
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.env import Env, words
from mep.mp1 import locality

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env("MEP")


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Read a comma-separated list of networks; `loopback` and `private` are short for the usual ones."""
    short = {
        "loopback": ("127.0.0.0/8", "::1/128"),
        "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    }
    return tuple(ipaddress.ip_network(net) for word in words(text) for net in short.get(word, (word,)))


def servers(text: str) -> tuple[tuple[str, int], ...]:
    """Read a comma-separated list of `address`, `address:port` or `[address]:port`; the port is 53 when absent."""
    found = []
    for word in words(text):
        host, port = word, "53"
        if word.startswith("["):
            host, _, rest = word[1:].partition("]")
            port = rest.removeprefix(":") or "53"
        elif word.count(":") == 1:
            host, port = word.split(":")
        if not 0 < int(port) < 65536:
            raise ValueError(f"{port} is not a port")
        found.append((str(ipaddress.ip_address(host)), int(port)))
    return tuple(found)


def one_of(*known: str) -> Callable[[str], str]:
    """Return a reader of one of a few words."""

    def choice(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}")
        return text

    return choice


# --- the process ---
VAR: Path = env(
    "VAR", BASE_DIR / "var" / "mep", cast=Path, help="folder of the node's state: database, keys, certificates"
)
DB: Path = env("DB", VAR / "mep.sqlite3", cast=Path, help="the node's SQLite database")
DEBUG = False
LOG_LEVEL: str = env("LOG_LEVEL", "INFO", help="DEBUG, INFO, WARNING or ERROR")

# --- Mp1 ---
MP1_BIND: str = env("MP1_BIND", "0.0.0.0", help="address that Mp1 listens on")  # noqa: S104 - apps live on other networks
MP1_PORT: int = env("MP1_PORT", 8443, cast=int, help="TCP port of Mp1 (HTTPS)")
SERVER_NAMES: list[str] = env(
    "SERVER_NAMES",
    [],
    cast=words,
    help="more names and addresses for the server certificate (mep, localhost, 127.0.0.1 are in)",
)
API_ROOT: str = env(
    "API_ROOT",
    f"https://mep:{MP1_PORT}",
    help="address of this MEP as apps know it; used in links where no request tells it",
).rstrip("/")
PREFIX: str = env("PREFIX", "", help="path before the APIs besides the plain one and /mep, for example /edge7").strip(
    "/"
)
MAX_BODY_BYTES: int = env("MAX_BODY_BYTES", 1 << 20, cast=int, help="largest request body that Mp1 reads")
MM5_TOKEN: str = env("MM5_TOKEN", "", help="bearer token of the management API; empty switches it off", secret=True)
TRANSPORTS: str = env("TRANSPORTS", "", help="JSON file with the TransportInfo objects that this platform offers")
MAX_SERVICES_PER_APP: int = env(
    "MAX_SERVICES_PER_APP", 100, cast=int, help="services that one app instance may register"
)
MAX_SUBSCRIPTIONS_PER_APP: int = env(
    "MAX_SUBSCRIPTIONS_PER_APP", 100, cast=int, help="subscriptions that one app instance may hold"
)

APP_RULES: str = env(
    "APP_RULES",
    "strict",
    cast=one_of("strict", "free"),
    help="what an app may make of its own traffic and DNS rules: no more than was approved for it, or what it likes",
)

# --- locality ---
LOCALITY = env(
    "LOCALITY",
    (),
    cast=locality.place,
    help="scopes that this host is in, for example MEC_HOST=edge-7,ZONE=north,ZONE_GROUP=country",
)
ELSEWHERE = env(
    "ELSEWHERE",
    locality.Regions(),
    cast=locality.regions,
    help="networks whose askers are not on this host, with their scopes: `10.9.0.0/16 ZONE=north; 10.10.0.0/16`",
)

# --- OAuth2 ---
TOKEN_LIFETIME: int = env("TOKEN_LIFETIME", 3600, cast=int, help="seconds that an access token is valid")
KEY_LIFETIME: int = env("KEY_LIFETIME", 7 * 86400, cast=int, help="seconds after which a new signing key takes over")

# --- limits and client certificates ---
RATE_PER_APP: float = env(
    "RATE_PER_APP", 1000.0, cast=float, help="requests per second that one app instance may make; 0: no limit"
)
RATE_BURST: int = env("RATE_BURST", 2000, cast=int, help="requests that it may make at once after a pause")
TOKEN_FAILURES: int = env(
    "TOKEN_FAILURES", 10, cast=int, help="failed token requests per minute for one client from one address; 0: no limit"
)
MAX_CONNECTIONS: int = env("MAX_CONNECTIONS", 1000, cast=int, help="connections that Mp1 serves at once")
MTLS: str = env(
    "MTLS",
    "off",
    cast=one_of("off", "optional", "required"),
    help="client certificates: not asked for, taken when shown, or every access token must be bound to one",
)
CLIENT_CA: str = env(
    "CLIENT_CA", "", help="PEM file with CAs whose client certificates are taken besides those of the node's own CA"
)

# --- liveness, notifications ---
LIVENESS_DEFAULT: int = env(
    "LIVENESS_DEFAULT", 30, cast=int, help="heartbeat interval for services that let us choose (s)"
)
LIVENESS_MIN: int = env("LIVENESS_MIN", 1, cast=int, help="shortest heartbeat interval that is granted (s)")
LIVENESS_MAX: int = env("LIVENESS_MAX", 3600, cast=int, help="longest heartbeat interval that is granted (s)")
LIVENESS_GRACE: float = env("LIVENESS_GRACE", 1.0, cast=float, help="seconds that a heartbeat may be late")
CALLBACK_NETWORKS = env(
    "CALLBACK_NETWORKS",
    networks("private"),
    cast=networks,
    help="networks that notifications may be sent to; add `loopback` to allow the node itself",
)
CALLBACK_TIMEOUT: float = env("CALLBACK_TIMEOUT", 5.0, cast=float, help="seconds that one delivery may take")
NOTIFICATION_LIFETIME: int = env(
    "NOTIFICATION_LIFETIME", 3600, cast=int, help="seconds after which an undelivered notification is given up"
)
NOTIFICATION_BACKLOG: int = env(
    "NOTIFICATION_BACKLOG", 1000, cast=int, help="notifications that may wait for one subscription; the oldest give way"
)
GRACEFUL_TIMEOUT: int = env(
    "GRACEFUL_TIMEOUT", 10, cast=int, help="seconds for a graceful termination when nobody says"
)

STATE_PASSPHRASE: str = env(
    "STATE_PASSPHRASE", "", help="passphrase of `manage.py mep_state` when nobody is there to ask", secret=True
)

# --- user plane and DNS ---
UPF: str = env("UPF", "memory", help="short name of the UPF adapter")
UPF_CONFIG: str = env("UPF_CONFIG", "", help="JSON file with the options of the UPF adapter; empty: its defaults")
UPF_NOTIFY_ROOT: str = env(
    "UPF_NOTIFY_ROOT", "", help="address under which the 5G core reaches this MEP; empty: MEP_API_ROOT"
).rstrip("/")
UPF_EVENTS_KEPT: int = env("UPF_EVENTS_KEPT", 1000, cast=int, help="notifications of the user plane that are kept")
DNS_BIND: list[str] = env(
    "DNS_BIND", ["127.0.0.1", "::1"], cast=words, help="addresses that the DNS responder listens on"
)
DNS_PORT: int = env("DNS_PORT", 5354, cast=int, help="UDP and TCP port of the DNS responder")
DNS_UPSTREAMS = env(
    "DNS_UPSTREAMS", (), cast=servers, help="resolvers for names without a rule; none: such names are refused"
)
DNS_NETWORKS = env(
    "DNS_NETWORKS", networks("loopback,private"), cast=networks, help="networks that the responder answers"
)
DNS_TTL: int = env("DNS_TTL", 30, cast=int, help="seconds that an answer may be cached when its rule has no ttl")
DNS_TIMEOUT: float = env(
    "DNS_TIMEOUT", 2.0, cast=float, help="seconds after which an unanswered forwarded query is SERVFAIL"
)
DNS_RATE: float = env(
    "DNS_RATE", 1000.0, cast=float, help="queries a second that one source may send over UDP; 0: any number"
)
DNS_BURST: float = env("DNS_BURST", 2000.0, cast=float, help="queries that one source may send at once over UDP")
DNS_PROCESSES: int = env(
    "DNS_PROCESSES", 1, cast=int, help="responder processes that share the addresses (SO_REUSEPORT)"
)
DNS_BACKEND: str = env(
    "DNS_BACKEND", "embedded", help="who answers: embedded, or an external server (rfc2136, powerdns), or memory"
)
DNS_CONFIG: str = env("DNS_CONFIG", "", help="JSON file with the options of an external DNS backend")
DNS_SECRET: str = env("DNS_SECRET", "", help="TSIG key or API key of an external DNS backend", secret=True)
DNS_SECRET_FILE: str = env("DNS_SECRET_FILE", "", help="file with that key, in place of MEP_DNS_SECRET")

# --- the local console ---
CONSOLE_BIND: str = env("CONSOLE_BIND", "127.0.0.1", help="address that the console listens on")
CONSOLE_PORT: int = env("CONSOLE_PORT", 8444, cast=int, help="TCP port of the console (HTTPS); 0: no console")
CONSOLE_NAME: str = env("CONSOLE_NAME", "", help="what the console calls this node; empty: MEP_NODE_NAME")
CONSOLE_SESSION: int = env("CONSOLE_SESSION", 8 * 3600, cast=int, help="seconds after which one has to sign in again")

# --- operations (long work as rows, here without a broker) ---
OPERATION_LEASE: int = env("OPERATION_LEASE", 120, cast=int, help="seconds that one worker may hold an operation")
OPERATION_KEEP_DAYS: int = env("OPERATION_KEEP_DAYS", 30, cast=int, help="days that finished operations are kept")
OPERATION_BELL = ""

if find_spec("mep.agent.env"):
    # Typed by the agent; a node without an agent (tests of Mp1 alone) needs none of it.
    from mep.agent.env import declare

    globals().update(declare(env))

env.finish()
VAR.mkdir(parents=True, exist_ok=True, mode=0o700)

# --- Django ---
# Nothing of Django is signed here: no sessions, no cookies, no forms. The key only has to be unguessable.
SECRET_KEY = os.urandom(32).hex()
INSTALLED_APPS = ["core.operations", "mep.mp1", "mep.dns", "mep.agent", "mep.console", "mep.upf"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "mep.urls"
ALLOWED_HOSTS = ["*"]  # links are built from known names only, see mep/mp1/links.py
USE_TZ = True
TIME_ZONE = "UTC"
# Mp1 and DNS speak English to programs; the console, a process of its own, speaks to people.
USE_I18N = False
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DB,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;",
        },
        # A file, because the fast path and the responder look at the database through connections of their own.
        "TEST": {"NAME": Path(tempfile.gettempdir()) / f"mep-test-{os.getpid()}.sqlite3"},
    }
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
        "ring": {"class": "mep.console.ring.RingHandler", "folder": VAR / "log"},
    },
    "root": {"handlers": ["stderr", "ring"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
        # Refusals are answers of the API, not incidents.
        "django.request": {"level": "ERROR"},
    },
}
