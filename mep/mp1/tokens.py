"""Access tokens for app instances: OAuth 2.0 client credentials (RFC 6749 4.4), signed JWTs, refused at once when revoked.

A token is checked in two steps: its signature and times once (cached by its text), and on each request whether
its app instance may still use it. So revocation needs no list: the state of the app instance is the list.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import jwt
from django.conf import settings

from core.errors import Unauthenticated
from mep.mp1 import keys, mtls
from mep.mp1.models import App, new_id
from mep.mp1.secrets import Vault, vault
from mep.mp1.states import AppState, may_use_tokens

AUDIENCE = "mp1"
SCOPE = "mp1"
#: `typ` of an access token (RFC 9068 2.1), so that nothing else that our keys ever sign can pass for one.
TYPE = "at+jwt"


class BadToken(Unauthenticated):
    """The bearer token is missing or worth nothing; `error` is the code of RFC 6750 3.1."""

    title = "A valid access token is needed"

    def __init__(self, detail: str, error: str = "invalid_token") -> None:
        super().__init__(detail)
        self.error = error


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    app: str
    expires: float
    client: str = ""
    certificate: str = ""
    """x5t#S256 of the client certificate that the token is bound to; empty when to none."""


def secret_purpose(app_id: str) -> str:
    """Return the purpose under which an app's client secret is sealed."""
    return f"client-secret:{app_id}"


def client(client_id: str, secret: str) -> App | None:
    """Return the app instance whose credentials these are; None for any mistake, told apart by nobody.

    A client that does not exist costs the same work as a wrong secret, so that time tells nothing either.
    """
    app = App.objects.filter(client_id=client_id).first()
    sealed, purpose = _decoy(vault(), vault().present) if app is None else (bytes(app.secret), secret_purpose(app.pk))
    known = vault().open(sealed, purpose)
    # Digests, because the comparison takes as long as the texts are.
    right = hmac.compare_digest(sha256(known).digest(), sha256(secret.encode()).digest())
    if app is None or not right:
        return None
    return app if may_use_tokens(AppState(app.state)) else None


@lru_cache(maxsize=4)
def _decoy(sealer: Vault, present: str) -> tuple[bytes, str]:
    """Return a secret that nobody knows, sealed by the present key: one that was forgotten would give the decoy away."""
    return sealer.seal(secrets.token_urlsafe(32).encode(), secret_purpose("")), secret_purpose("")


def issue(app: App, now: float | None = None, certificate: str = "") -> str:
    """Return a fresh access token for the app instance, bound to the client certificate with that x5t#S256 if any."""
    now = time.time() if now is None else now
    signer = keys.signer()
    claims = {
        "iss": settings.API_ROOT,
        "aud": AUDIENCE,
        "sub": app.pk,
        "client_id": app.client_id,
        "scope": SCOPE,
        "iat": int(now),
        "exp": int(now) + settings.TOKEN_LIFETIME,
        "jti": new_id(),
        **({"cnf": {mtls.METHOD: certificate}} if certificate else {}),
    }
    return jwt.encode(claims, signer.private, algorithm="ES256", headers={"kid": signer.kid, "typ": TYPE})


def bearer(header: str) -> str:
    """Return the token of an Authorization header."""
    scheme, _, token = header.strip().partition(" ")
    if not header.strip():
        raise BadToken("An access token is needed: Authorization: Bearer <token from /mep/token>", error="")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadToken("The Authorization header must be: Bearer <token>", error="invalid_request")
    return token.strip()


class Verifier:
    """Verifies tokens against the present keys and remembers what it has verified."""

    LIMIT = 4096

    def __init__(self, load: Callable[[], dict[str, Any]] = keys.public_keys) -> None:
        self._load = load
        self._keys: dict[str, Any] = {}
        self._seen: dict[str, Claims] = {}
        self._lock = threading.Lock()

    def claims(self, token: str, now: float | None = None) -> Claims:
        """Return what the token says; `BadToken` says why it is worth nothing."""
        now = time.time() if now is None else now
        found = self._seen.get(token)
        if found is None:
            found = self._verified(token)
            with self._lock:
                if len(self._seen) >= self.LIMIT:
                    self._seen.clear()
                self._seen[token] = found
        if found.expires <= now:
            raise BadToken("The access token has expired; fetch a new one")
        return found

    def forget(self) -> None:
        """Drop what was remembered: the keys have changed."""
        with self._lock:
            self._seen.clear()
            self._keys = {}

    def _verified(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TYPE:
                raise BadToken(f"This is no access token: its typ is not {TYPE}")
            # Only a name among our own keys; `jwk`, `jku` and `x5u`, with which a token would bring its key, are not read.
            kid = header.get("kid", "")
            if kid not in self._keys:
                self._keys = self._load()
            key = self._keys.get(kid)
            if key is None:
                raise BadToken("The access token is signed with a key that is not ours, or no longer")
            payload = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=AUDIENCE,
                issuer=settings.API_ROOT,
                options={"require": ["exp", "iat", "sub", "aud", "iss", "jti", "client_id"]},
            )
        except jwt.ExpiredSignatureError:
            raise BadToken("The access token has expired; fetch a new one") from None
        except jwt.PyJWTError as problem:
            raise BadToken(f"The access token is not valid: {problem}") from None
        bound = str((payload.get("cnf") or {}).get(mtls.METHOD, ""))
        return Claims(str(payload["sub"]), float(payload["exp"]), str(payload["client_id"]), bound)


#: One per process.
verifier = Verifier()


def holder(token: str, certificate: str = "") -> App:
    """Return the app instance that the token belongs to; `BadToken` when the token or the app is no good.

    `certificate` is the x5t#S256 of the client certificate that the connection showed, empty when none.
    """
    found = verifier.claims(token)
    app = App.objects.filter(pk=found.app).first()
    # Another client id: the app instance was discarded and one of the same name made; that one never asked for this.
    if app is None or app.client_id != found.client:
        raise BadToken("The app instance of this access token is gone")
    if not may_use_tokens(AppState(app.state)):
        raise BadToken("The app instance of this access token is terminated")
    no = mtls.objection(found.certificate, app.certificate, certificate, mtls.mode() is mtls.Mode.REQUIRED)
    if no:
        raise BadToken(no)
    return app
