"""A small identity provider in this process, which lies on demand."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://id.example.net"


class Issuer:
    """Answers discovery, keys, token and userinfo. What is set on it changes what it says.

    `claims` are added to ID tokens (None takes one away); `key` signs, `published` is what the key set holds;
    `token` replaces the whole ID token; `about` is added to the discovery document.
    """

    def __init__(self, client_id: str = "breakwater") -> None:
        self.client_id = client_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.published: Any = self.key
        self.kid = "k1"
        self.claims: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.token: Any = None
        self.algorithm = "ES256"
        self.asked: list[httpx.Request] = []
        self.given: dict[str, Any] = {}
        self.status = 200

    @property
    def transport(self) -> httpx.MockTransport:
        """The way to it."""
        return httpx.MockTransport(self._answer)

    def authorize(self, where: str) -> dict[str, str]:
        """Do what the person and the provider do between leaving and coming back; returns the query that comes back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        self.given = asked
        return {"code": "c0de", "state": asked["state"]}

    def id_token(self) -> str:
        """Return the ID token as it would be sent now."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": self.client_id, "sub": "anna-1", "iat": now, "exp": now + 300,
            "nonce": self.given.get("nonce", ""), "preferred_username": "anna", **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": self.kid})

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if path == "/.well-known/openid-configuration":
            return httpx.Response(self.status, json={
                "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys", "userinfo_endpoint": f"{ISSUER}/userinfo", **self.about,
            }, headers={"Location": "https://elsewhere.example/"})  # fmt: skip
        if path == "/keys":
            public = jwt.algorithms.ECAlgorithm.to_jwk(self.published.public_key(), as_dict=True)
            return httpx.Response(200, json={"keys": [{**public, "kid": "k1", "use": "sig"}]})
        if path == "/token":
            return httpx.Response(200, json={"access_token": "a", "id_token": self.token or self.id_token()})
        return httpx.Response(200, json={"sub": "anna-1", **self.userinfo})


def forged(claims: dict[str, Any], secret: bytes | None = None) -> str:
    """Return a token signed by a shared secret, or one that says of itself that it needs no signature."""
    parts = [{"alg": "HS256" if secret else "none", "kid": "k1"}, claims]
    body = ".".join(_packed(json.dumps(part).encode()) for part in parts)
    return f"{body}.{_packed(hmac.digest(secret, body.encode(), 'sha256')) if secret else ''}"


def _packed(plain: bytes) -> str:
    return base64.urlsafe_b64encode(plain).rstrip(b"=").decode()
