"""The token endpoint (RFC 6749 4.4, client credentials) and the keys that verify its tokens."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl, unquote_plus

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from mep.mp1 import keys, mtls, throttle, tokens
from mep.mp1.http import Call, Open, answer
from mep.mp1.models import App


class Refusal(Exception):
    """An error response of RFC 6749 5.2."""

    def __init__(self, error: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.error, self.detail, self.status = error, detail, status


def token(call: Call) -> HttpResponse:
    """POST /mep/token"""
    try:
        form = _form(call.request)
        client_id, secret = _credentials(call.request, form)
        grant = form.get("grant_type", "")
        if not grant:
            raise Refusal("invalid_request", "grant_type is missing")
        if grant != "client_credentials":
            raise Refusal("unsupported_grant_type", "Only the grant client_credentials is supported")
        if set(form.get("scope", "").split()) - {tokens.SCOPE, "all"}:
            raise Refusal("invalid_scope", f"The only scope is {tokens.SCOPE}")
        app = _client(call, client_id, secret)
        certificate = _certificate(call, app)
    except Refusal as no:
        return _refused(no)
    body = {
        "access_token": tokens.issue(app, certificate=certificate),
        "token_type": "Bearer",
        "expires_in": settings.TOKEN_LIFETIME,
        "scope": tokens.SCOPE,
    }
    return _uncached(answer(body))


def jwks(call: Call) -> HttpResponse:
    """GET /mep/jwks.json"""
    return answer(keys.jwks(), Cache_Control="public, max-age=60")


def _form(request: HttpRequest) -> dict[str, str]:
    if request.META.get("QUERY_STRING"):
        raise Refusal("invalid_request", "Parameters belong into the body, never into the URI")
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Refusal("invalid_request", "The body is not application/x-www-form-urlencoded") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refusal("invalid_request", "A parameter is given twice")
    return form


def _credentials(request: HttpRequest, form: dict[str, str]) -> tuple[str, str]:
    header = request.headers.get("Authorization", "").strip()
    if header and ("client_secret" in form):
        raise Refusal("invalid_request", "Give the credentials once: in the header or in the body")
    if not header:
        if not form.get("client_id") or "client_secret" not in form:
            raise Refusal("invalid_client", "The client must authenticate, with HTTP Basic or in the body", 401)
        return form["client_id"], form["client_secret"]
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (ValueError, binascii.Error):
        raise Refusal("invalid_client", "The Authorization header must be HTTP Basic", 401) from None
    client_id, _, secret = text.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)  # RFC 6749 2.3.1 encodes both


def _client(call: Call, client_id: str, secret: str) -> App:
    """Return the app instance that signs in; who guesses too often is `Throttled` before anything is compared."""
    address = call.request.META.get("REMOTE_ADDR", "")
    throttle.guesses.check(address, client_id)
    app = tokens.client(client_id, secret)
    if app is None:
        throttle.guesses.failed(address, client_id)
        raise Refusal("invalid_client", "The client is unknown, its secret is wrong, or its app is terminated", 401)
    throttle.admit(app.pk)
    return app


def _certificate(call: Call, app: App) -> str:
    """Return the certificate that the token will be bound to, empty for none; `Refusal` when it is the wrong one."""
    shown = mtls.shown_by(call.request)
    if app.certificate and shown != app.certificate:
        raise Refusal(
            "invalid_client", "This app instance must show its client certificate when it asks for a token", 401
        )
    if not shown and mtls.mode() is mtls.Mode.REQUIRED:
        raise Refusal("invalid_client", "Tokens are issued over connections with a client certificate only", 401)
    return shown


def _refused(no: Refusal) -> HttpResponse:
    # RFC 6749 5.2 wants application/json with error; the members of a problem document stand beside them.
    body = {
        "error": no.error,
        "error_description": no.detail,
        "type": f"urn:breakwater:problem:{no.error.replace('_', '-')}",
        "title": "No token is issued",
        "status": no.status,
        "detail": no.detail,
    }
    response = _uncached(answer(body, no.status))
    if no.status == 401:
        response["WWW-Authenticate"] = 'Basic realm="mep", charset="UTF-8"'
    return response


def _uncached(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["Pragma"] = "no-cache"
    return response


TOKEN = Open(post=token, query=True)
JWKS = Open(get=jwks, query=True)
