"""Access tokens bound to a client certificate (RFC 8705 3), and which certificate a connection showed.

The certificate comes from the TLS layer alone: `mep.mp1.server` puts it into the ASGI scope of every request on
the connection, under `extensions`, where no header can reach.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.http import HttpRequest

#: The name in the scope's extensions, and the confirmation method in a token.
EXTENSION, METHOD = "tls", "x5t#S256"


class Mode(StrEnum):
    """Whether clients are asked for a certificate; in each mode a bound token stays bound."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


def mode() -> Mode:
    """Return what the operator wants."""
    return Mode(settings.MTLS)


def thumbprint(der: bytes) -> str:
    """Return the x5t#S256 of a certificate: SHA-256 over its DER, base64url without padding."""
    return urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()


def extension(der: bytes) -> dict[str, Any]:
    """Return what a scope says about a connection that showed this certificate."""
    return {METHOD: thumbprint(der)}


def shown(scope: Mapping[str, Any]) -> str:
    """Return the thumbprint of the certificate that the connection showed; empty when none."""
    extensions = scope.get("extensions")
    if not extensions or EXTENSION not in extensions:
        return ""
    return str(extensions[EXTENSION].get(METHOD, ""))


def shown_by(request: HttpRequest) -> str:
    """Return the same for a Django request; the scope is no header, so nobody can send it."""
    return shown(request.META.get("asgi.scope") or {})


def objection(bound: str, pinned: str, certificate: str, required: bool) -> str:
    """Return why a token may not be used over this connection; empty when it may.

    `bound` is the certificate that the token names, `pinned` the one that its app must show,
    `certificate` the one that the connection showed; each empty when there is none.
    """
    if bound and bound != certificate:
        return _objection("This access token is bound to a client certificate", certificate)
    if pinned and pinned != certificate:
        return _objection("This app instance must show its client certificate", certificate)
    if required and not bound:
        return "Only access tokens that are bound to a client certificate are taken; fetch one over a connection with yours"
    return ""


def _objection(why: str, certificate: str) -> str:
    return f"{why}, and the connection showed {'another one' if certificate else 'none'}"
