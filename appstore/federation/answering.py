"""Answers to other stores are signed, with the key that the partner has accepted, and each belongs to one request.

What is signed is an answer to a request of which we know that it came as it was sent. A 401 says that we do not know
that. It is never signed: whoever sits on the line could spoil any request, or send it a second time, to have us say so.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from django.http import HttpRequest, HttpResponseBase
from rest_framework.response import Response

from appstore.federation import signing
from appstore.keys import services as keys
from appstore.keys.models import SigningKey
from core.errors import Invalid
from core.http import ApiView, problem_response
from core.words import say

_BODILESS = (204, 304)


def begin(request: HttpRequest) -> SigningKey:
    """Have the answer to this request signed, and return the key that does it. Call it once the sender is proven."""
    key: SigningKey = keys.current(keys.STORE)
    request.answered_by = key  # type: ignore[attr-defined]
    return key


def begin_unproven(request: HttpRequest) -> None:
    """Have the answer signed although nobody knows who asks, if at least the body is the one that was sent.

    For the doors of strangers: what they answer depends on the body alone, and the answer covers body and path.
    """
    told = signing.read_digest(request.headers.get("Content-Digest", ""))
    if told == hashlib.sha256(request.body).digest() and request.headers.get("Signature"):
        begin(request)


def sign(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the answer with its signature, if it may have one. What is streamed is signed as far as it is known."""
    if isinstance(response, Response):
        try:
            response.render()
        except UnicodeEncodeError:
            # What a refusal repeats of a message may hold half a character (a lone surrogate), which no UTF-8 has.
            response = problem_response(Invalid(say("There is half a character in the message; it cannot be read.")))
    key: SigningKey | None = getattr(request, "answered_by", None)
    if key is None or response.status_code == 401:
        return response
    if response.status_code in _BODILESS:
        response.headers.pop("Content-Type", None)
    elif not response.streaming and response.content:  # type: ignore[attr-defined]
        response["Content-Digest"] = signing.digest_of(response.content)  # type: ignore[attr-defined]
    signed = signing.sign_answer(
        _private(key.pk, bytes(key.sealed)), response.status_code, request.path, response.headers, request.headers
    )
    for name, value in signed.items():
        response[name] = value
    return response


@lru_cache(maxsize=4)
def _private(key_id: str, sealed: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the private half; taking it out of the vault costs more than signing with it."""
    return keys.private(SigningKey(pk=key_id, purpose=keys.STORE, sealed=sealed))


class AnsweringView(ApiView):
    """Base of views that other stores call: every answer is signed, refusals as well."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer, and sign it."""
        return sign(request, super().dispatch(request, *args, **kwargs))
