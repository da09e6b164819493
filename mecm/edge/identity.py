"""Who speaks: after enrolment a node signs each request with its own key (JWT ES256, RFC 7519)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from cryptography import x509
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from core.errors import Unauthenticated
from core.words import say
from mecm.edge.models import NodeCert

if TYPE_CHECKING:
    from mecm.nodes.models import Node

AUDIENCE = "breakwater-edge"
#: A token may be valid this long at most, and clocks may differ by `LEEWAY` seconds.
LONGEST_TOKEN, LEEWAY = 120, 60


@dataclass(frozen=True)
class Speaker:
    """A node that proved to hold the key of a certificate of ours."""

    node: Node
    serial: str


def speaker(authorization: str) -> Speaker:
    """Return the node that signed this Authorization header; `Unauthenticated` for anybody else.

    The certificate is looked up each time, so a revoked one is refused at once.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(say("An edge node signs in with a bearer token of its own making."))
    try:
        serial = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError) as problem:
        raise Unauthenticated(say("The node's token cannot be read.")) from problem
    if not isinstance(serial, str) or len(serial) > 40:
        raise Unauthenticated(say("The node's token names no certificate."))
    held = NodeCert.objects.select_related("node").filter(serial=serial.lower()).first()
    if held is None or held.revoked_at is not None:
        raise Unauthenticated(say("The node's certificate is not valid here; enrol the node again."), reason="revoked")
    if held.not_after <= timezone.now():
        raise Unauthenticated(say("The node's certificate has expired; enrol the node again."), reason="expired")
    key: Any = x509.load_pem_x509_certificate(held.certificate.encode()).public_key()
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience=AUDIENCE,
            issuer=str(held.node_id),
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud", "jti"]},
        )
    except jwt.PyJWTError as problem:
        raise Unauthenticated(say("The node's token is not valid: {problem}.", problem=problem)) from problem
    if claims["exp"] - claims["iat"] > LONGEST_TOKEN:
        raise Unauthenticated(
            say("The node's token is valid for more than {longest_token} seconds.", longest_token=LONGEST_TOKEN)
        )
    return Speaker(held.node, held.serial)


def retire_older(spoke: Speaker) -> int:
    """Revoke the node's other certificates: the newest is in use now. Returns how many."""
    mine = NodeCert.objects.filter(serial=spoke.serial).values("created_at")
    older = NodeCert.objects.filter(node=spoke.node, revoked_at=None, created_at__lt=mine[:1])
    return older.exclude(serial=spoke.serial).update(revoked_at=timezone.now())


class NodeAuthentication(BaseAuthentication):
    """DRF's view of `speaker`: `request.auth` is the Speaker; nodes are no users."""

    def authenticate(self, request: Request) -> tuple[Any, Speaker] | None:
        header = get_authorization_header(request).decode("latin-1")
        return (None, speaker(header)) if header else None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="breakwater-edge"'
