"""What partner stores fetch of us: the ticket, signed metadata, the files of their feed, packages and certificates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Final
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from appstore.federation import feed, offers, ports, roots, serials, signing, trustroot, walk
from appstore.federation.allowance import Allowance
from appstore.federation.models_feed import FeedFile, FeedMetadata, FeedPartner, FeedRoot
from appstore.federation.wire import PeerView
from appstore.keys import services as keys
from appstore.packages import blobs
from core import dsse
from core.errors import Missing
from core.words import say

_METADATA: Final = re.compile(r"(?:(\d{1,9})\.)?(root|timestamp|snapshot|targets|audience-[0-9a-f]{32})\.json(\.gz)?\Z")
_RANGE: Final = re.compile(r"bytes=(\d{1,16})-(\d{0,16})\Z")
_CHUNK: Final = 256 << 10
_JSON: Final = "application/json"
_PACKED: Final = "application/gzip"
_NOT_THERE: Final = OpenApiResponse(description="there is no such thing, or none for the store that asks")


def _answer(request: Request, data: bytes, kind: str, *, fixed: bool = True) -> HttpResponse:
    """Answer bytes; of those that change, with their digest as ETag, or 304 when the partner has them."""
    response = HttpResponse(data, content_type=kind)
    if fixed:  # its path names its bytes, and nobody asks for it twice
        response["Cache-Control"] = "private, immutable, max-age=86400"
        return response
    etag = f'"{feed.digest(data)}"'
    known = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
    if etag in known:
        return HttpResponse(status=304, headers={"ETag": etag})
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response


def _partner(view: PeerView) -> FeedPartner:
    """Return where the store that asks belongs; `Missing` while there is no feed for it."""
    found = FeedPartner.objects.select_related("peer", "audience").filter(peer=view.peer).first()
    if found is None or not found.audience.serial:
        raise Missing(say("There is no feed for your store yet; it is being made."))
    return found


class TicketView(PeerView):
    """The ticket of the store that asks."""

    @extend_schema(
        operation_id="federation_feed_ticket", responses={(200, _JSON): OpenApiTypes.OBJECT, 404: _NOT_THERE}
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return a DSSE envelope, signed by this store: to which audience the asking store belongs, and our root."""
        said = serials.ticket(_partner(self), str(keys.current(keys.STORE).pk))
        envelope = dsse.sign(walk.TICKET, feed.packed_json(said), keys.signer(keys.STORE))
        # Signed anew each time, so that nobody can have it already: no ETag.
        headers = {"Cache-Control": "private, no-cache"}
        return HttpResponse(feed.packed_json(envelope), content_type=_JSON, headers=headers)


class MetadataView(PeerView):
    """Metadata of The Update Framework."""

    @extend_schema(
        operation_id="federation_feed_metadata",
        parameters=[OpenApiParameter("name", location="path", description="`timestamp.json`, `3.snapshot.json` ...")],
        responses={(200, _JSON): OpenApiTypes.BINARY, 304: None, 404: _NOT_THERE},
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """Return the metadata of a role as they were signed; with `.gz` packed. An audience's only to its members."""
        match = _METADATA.match(name)
        if match is None or (match[1] is None) != (match[2] == trustroot.TIMESTAMP):
            raise Missing(say("There are no such metadata."))
        role = match[2]
        if role.startswith("audience-") and role != trustroot.role_of(_partner(self).audience_id):
            raise Missing(say("There are no such metadata."))
        data = self._content(role, int(match[1] or 0)).encode()
        return _answer(
            request, feed.packed(data) if match[3] else data, _PACKED if match[3] else _JSON, fixed=match[1] is not None
        )

    @staticmethod
    def _content(role: str, version: int) -> str:
        if role == trustroot.ROOT:
            roots.present()
            found = FeedRoot.objects.filter(version=version).values_list("content", flat=True).first()
        else:
            rows = FeedMetadata.objects.filter(role=role).order_by("-version")
            rows = rows.filter(version=version) if version else rows
            found = rows.values_list("content", flat=True).first()
        if found is None:
            raise Missing(say("There are no such metadata, or no longer."))
        return found


class TargetView(PeerView):
    """Files of a feed."""

    @extend_schema(
        operation_id="federation_feed_target",
        responses={(200, _PACKED): OpenApiTypes.BINARY, 404: _NOT_THERE},
    )
    def get(self, request: Request, audience: str, file: str) -> HttpResponseBase:
        """Return the entry, an index or a diff of the feed of the asking store: `<SHA-256>.<name>`."""
        sha256, _, name = file.partition(".")
        if audience != _partner(self).audience_id:
            raise Missing(say("There is no such file."))
        row = FeedFile.objects.filter(audience=audience, name=name, sha256=sha256).first()
        if row is None:
            raise Missing(say("There is no such file, or no longer."))
        return _answer(request, bytes(row.content), _PACKED)


class BlobView(PeerView):
    """Packages."""

    @extend_schema(
        operation_id="federation_blob",
        parameters=[
            OpenApiParameter(
                "Range", location="header", description="`bytes=<start>-` to go on where the line was cut"
            ),
            OpenApiParameter("If-Range", location="header", description="the ETag of the part that is there"),
        ],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            404: _NOT_THERE,
            416: OpenApiResponse(description="the package is shorter"),
            429: OpenApiResponse(description="more bytes than are agreed for a day"),
        },
    )
    def get(self, request: Request, sha256: str) -> HttpResponseBase:
        """Return a package that is offered to the asking store, by its SHA-256, whole or from a byte on."""
        package = offers.may_have(self.peer, sha256=sha256)
        path = blobs.path_of(sha256)
        if package is None or not path.exists():
            raise Missing(say("There is no such package, or it is not offered to your store."))
        size = path.stat().st_size
        etag = f'"{sha256}"'
        wanted = _wanted(request, size, etag)
        start, end = wanted or (0, size)
        if start >= size:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
        allowance = Allowance(self.peer, incoming=False)
        allowance.require(end - start)
        allowance.spend(end - start)
        allowance.settle()
        file = path.open("rb")
        file.seek(start)
        response = StreamingHttpResponse(_part(file, end - start), content_type="application/octet-stream")
        if wanted:
            response.status_code = 206
            response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        else:
            response["Content-Digest"] = signing.content_digest(bytes.fromhex(sha256))
        response["Content-Length"] = str(end - start)
        response["ETag"], response["Accept-Ranges"] = etag, "bytes"
        response["Cache-Control"] = "private, immutable, max-age=86400"
        return response


def _wanted(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """Return from which byte to before which one is asked for; None for all of it.

    One range is given, of the file that the client knows; anything else is as if it was not asked (RFC 9110, 14.2).
    """
    match = _RANGE.match(request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range", etag) != etag:
        return None
    start = int(match[1])
    end = min(size, int(match[2]) + 1) if match[2] else size
    return None if start < size and end <= start else (start, end)


def _part(file: IO[bytes], size: int) -> Iterator[bytes]:
    with file:
        while size and (chunk := file.read(min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk


class RecallsView(PeerView):
    """The recall list of this store."""

    @extend_schema(operation_id="federation_recalls", responses={(200, _JSON): OpenApiTypes.OBJECT, 404: _NOT_THERE})
    def get(self, request: Request) -> HttpResponseBase:
        """Return the signed recall list (a DSSE envelope); it is the same for every partner."""
        gives = ports.first(ports.recall_lists)
        envelope = gives() if gives else None
        if envelope is None:
            raise Missing(say("Nothing was recalled here."))
        return _answer(request, feed.packed_json(envelope), _JSON, fixed=False)


class RevocationsView(PeerView):
    """What labs have taken back."""

    @extend_schema(
        operation_id="federation_revocations", responses={(200, _JSON): OpenApiTypes.OBJECT, 404: _NOT_THERE}
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return `lists`: the lists of revoked certificates of this store's lab and of those that it trusts (DSSE)."""
        gives = ports.first(ports.revocation_lists)
        if gives is None:
            raise Missing(say("No certificates are issued here."))
        return _answer(request, feed.packed_json({"lists": gives()[:100]}), _JSON, fixed=False)


class CertificateView(PeerView):
    """Certificates that go with a release."""

    @extend_schema(
        operation_id="federation_certificate", responses={(200, _JSON): OpenApiTypes.OBJECT, 404: _NOT_THERE}
    )
    def get(self, request: Request, ref: UUID, sha256: str) -> HttpResponseBase:
        """Return a certificate of a release that is offered to the asking store: a DSSE envelope, by its SHA-256."""
        package = offers.may_have(self.peer, ref=str(ref))
        found = dict(offers.certificates(package)) if package else {}
        if sha256 not in found:
            raise Missing(say("There is no such certificate, or it is not offered to your store."))
        return _answer(request, found[sha256], _JSON)
