"""What edge nodes ask over HTTP: our authority, an identity, a fresh certificate, and files by digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse, OpenApiTypes, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages import blobs
from core.errors import Invalid, Missing, Unauthenticated
from core.frames import named_blobs
from core.http import ApiView
from core.words import say
from mecm.edge import ca, services
from mecm.edge.identity import NodeAuthentication, Speaker
from mecm.edge.models import DesiredObject

CHUNK = 256 * 1024
#: A CSR for a P-256 key is under 1 kB.
CSR_LENGTH = 8192


class NodeScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the OpenAPI document how nodes sign in."""

    target_class = NodeAuthentication
    name = "edgeNode"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme: a bearer token that the node makes itself."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT ES256, signed with the key of the node's certificate, valid for two minutes",
        }


class EnrolIn(serializers.Serializer[Any]):
    """What a new edge machine sends."""

    token = serializers.CharField(max_length=200)
    csr_pem = serializers.CharField(max_length=CSR_LENGTH)
    agent_version = serializers.CharField(max_length=60, required=False, allow_blank=True, default="")
    registration_id = serializers.CharField(max_length=128, required=False, allow_blank=True)
    fingerprint = serializers.DictField(required=False)
    arch = serializers.CharField(max_length=40, required=False, allow_blank=True)


class RenewIn(serializers.Serializer[Any]):
    """A request for a fresh certificate."""

    csr_pem = serializers.CharField(max_length=CSR_LENGTH)


IDENTITY = inline_serializer(
    "EdgeIdentity",
    {
        "node_id": serializers.UUIDField(),
        "cert_chain": serializers.CharField(),
        "ca_bundle": serializers.CharField(),
        "sync_url": serializers.CharField(),
        "heartbeat_s": serializers.IntegerField(required=False),
    },
)


class NodeView(ApiView):
    """Base of views for nodes: `self.speaker` is the node that signed the request."""

    authentication_classes = [NodeAuthentication]
    public = True
    speaker: Speaker

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let only nodes in."""
        super().initial(request, *args, **kwargs)
        if not isinstance(request.auth, Speaker):
            raise Unauthenticated(say("An edge node signs in with a bearer token of its own making."))
        self.speaker = request.auth


class AuthorityView(ApiView):
    """The certificate authority of edge nodes, whose hash join strings carry."""

    public = True
    authentication_classes: list[Any] = []

    @extend_schema(
        responses=inline_serializer(
            "EdgeAuthority", {"ca": serializers.CharField(), "spki_sha256": serializers.CharField()}
        )
    )
    def get(self, request: Request) -> Response:
        """Return the authority's certificate; the agent compares its hash before it sends any secret."""
        return Response({"ca": ca.authority().pem, "spki_sha256": ca.authority().spki_sha256})


class EnrolView(ApiView):
    """Where a new edge machine becomes a node."""

    public = True
    authentication_classes: list[Any] = []

    @extend_schema(request=EnrolIn, responses={201: IDENTITY})
    def post(self, request: Request) -> Response:
        """Spend the secret of a join string; answer with the node's identity."""
        wanted = EnrolIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        data = wanted.validated_data
        identity = services.enrol(token=data["token"], csr_pem=data["csr_pem"], agent_version=data["agent_version"])
        return Response(identity, status.HTTP_201_CREATED)


class RenewView(NodeView):
    """Where a node gets its next certificate."""

    @extend_schema(request=RenewIn, responses={201: IDENTITY})
    def post(self, request: Request) -> Response:
        """Return a fresh certificate for the new key in `csr_pem`."""
        wanted = RenewIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        identity = services.renew(self.speaker.node, csr_pem=wanted.validated_data["csr_pem"])
        return Response(identity, status.HTTP_201_CREATED)


class BlobView(NodeView):
    """Files that a node's desired objects name."""

    @extend_schema(
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, 206: OpenApiResponse(OpenApiTypes.BINARY)}
    )
    def get(self, request: Request, sha256: str) -> HttpResponse | StreamingHttpResponse:
        """Return the file, or from a byte on (RFC 9110, 14.2: one range of bytes)."""
        if not self._may_have(sha256):
            raise Missing(say("No app of this node needs such a file."))
        path = Path(blobs.path_of(sha256))
        try:
            size = path.stat().st_size
            body = path.open("rb")
        except FileNotFoundError:
            raise Missing(say("The file is not in the store any more.")) from None
        wanted = byte_range(request.headers.get("Range", ""), size)
        if wanted is None:
            response: Any = FileResponse(body, content_type="application/octet-stream")
        elif wanted == UNSATISFIABLE:
            body.close()
            response = HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
        else:
            first, last = wanted
            body.seek(first)
            response = StreamingHttpResponse(
                _part(body, last - first + 1), status=206, content_type="application/octet-stream"
            )
            response["Content-Range"] = f"bytes {first}-{last}/{size}"
            response["Content-Length"] = str(last - first + 1)
        response["Accept-Ranges"] = "bytes"
        response["ETag"] = f'"{sha256}"'
        return response

    def _may_have(self, sha256: str) -> bool:
        wanted = DesiredObject.objects.filter(node=self.speaker.node).live().only("node", "kind", "key", "spec")
        return any(sha256 in named_blobs(each.spec) for each in wanted.iterator())


UNSATISFIABLE = (-1, -1)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte of a Range header; None for the whole, `UNSATISFIABLE` when it lies outside.

    What we do not understand is no range (RFC 9110, 14.2), and several ranges are answered with the whole.
    """
    found = re.fullmatch(r"bytes=(\d{0,19})-(\d{0,19})", header.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        wanted = int(last)
        return (max(size - wanted, 0), size - 1) if wanted and size else UNSATISFIABLE
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return UNSATISFIABLE
    return int(first), min(int(last), size - 1) if last else size - 1


def _part(body: BinaryIO, left: int) -> Iterator[bytes]:
    with body:
        while left > 0:
            chunk = body.read(min(CHUNK, left))
            if not chunk:
                raise Invalid(say("The file became shorter while it was read"))
            left -= len(chunk)
            yield chunk
