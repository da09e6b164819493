"""Uploads in parts over HTTP: the tus protocol 1.0.0 with creation, expiration, termination and checksum.

https://tus.io/protocols/resumable-upload. What its headers say, `GET` says as JSON to clients of ours.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages import resumable, uploads
from appstore.packages.models import Upload
from appstore.packages.partial import Partial
from core.accounts import access
from core.errors import BreakwaterError, Invalid, TooLarge
from core.http import ApiView, exception_handler, organisation_for, paginated
from core.words import say

VERSION = "1.0.0"
CHECKSUMS = {"sha1": 20, "sha256": 32}
#: Says which package an upload became.
PACKAGE = "Breakwater-Package"
_PART = "application/offset+octet-stream"
_HEADERS = [
    OpenApiParameter("Tus-Resumable", location="header", required=True, description="1.0.0", enum=[VERSION]),
]


class _Version(Invalid):
    title = say("Another version of the protocol")
    status = 412


class _Kind(Invalid):
    title = say("Another kind of content")
    status = 415


class UploadOut(serializers.ModelSerializer[Upload]):
    """A file on its way: go on behind `offset`; it is over when `finished_at` is told."""

    organisation = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    offset = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()
    package = serializers.UUIDField(source="package_id", allow_null=True)

    class Meta:
        model = Upload
        fields = [
            "id", "organisation", "filename", "length", "offset", "url", "package", "problem", "created_at",
            "expires_at", "finished_at",
        ]  # fmt: skip

    def get_offset(self, upload: Upload) -> int:
        """Bytes that have arrived."""
        return resumable.offset_of(upload)

    def get_url(self, upload: Upload) -> str:
        """Path of the upload."""
        return address(upload)


def address(upload: Upload) -> str:
    """Return the path that an upload goes on at."""
    return f"/api/v1/uploads/{upload.pk}"


def rows() -> QuerySet[Upload]:
    """Uploads that are not forgotten yet, with what their answers need."""
    return Upload.objects.present().select_related("organisation")


class TusView(ApiView):
    """What all answers of the protocol have."""

    permission_required = "packages.write"
    parser_classes = []  # bodies are read here, in pieces

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Keep the check against forged requests from reading a body to look for its token in a form."""
        made: Any = super().initialize_request(request, *args, **kwargs)
        made._data = made._full_data = QueryDict()
        made._files = MultiValueDict()
        return made  # type: ignore[no-any-return]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Say the version, and that nothing of this is kept by caches."""
        made = super().finalize_response(request, response, *args, **kwargs)
        made["Tus-Resumable"] = VERSION
        made["Cache-Control"] = "no-store"
        if made.status_code == 412:
            made["Tus-Version"] = VERSION
        return made

    def insist(self) -> None:
        """Refuse other versions of the protocol."""
        if self.request.headers.get("Tus-Resumable") != VERSION:
            raise _Version(say("Send Tus-Resumable: {version}", version=VERSION))


class UploadsView(TusView):
    """The uploads that are under way, and the door for new ones."""

    @extend_schema(responses=UploadOut(many=True))
    def get(self, request: Request) -> Response:
        """List the unfinished uploads of one's organisations, newest first."""
        mine = access.scoped(rows().under_way(), self.actor, self.permission)  # type: ignore[attr-defined]
        return paginated(self, mine, lambda page: UploadOut(page, many=True).data)

    @extend_schema(
        request=None,
        parameters=[
            *_HEADERS,
            OpenApiParameter(
                "Upload-Length", OpenApiTypes.INT, "header", required=True, description="bytes of the file"
            ),
            OpenApiParameter(
                "Upload-Metadata",
                location="header",
                description="`filename`, `organisation` (slug or id) and `sha256` (hex), each with its value in base64",
            ),
        ],
        responses={
            201: UploadOut,
            409: OpenApiResponse(description="too many unfinished uploads"),
            413: OpenApiResponse(description="larger than this store takes"),
        },
    )
    def post(self, request: Request) -> Response:
        """Begin an upload in parts; `Location` is where the parts go by PATCH."""
        self.insist()
        said = _metadata(request.headers.get("Upload-Metadata", ""))
        request._request.GET = _named(request._request.GET, said)  # type: ignore[assignment]
        organisation = organisation_for(request._request, self.permission)
        expected = said.get("sha256", "").lower()
        if expected and not re.fullmatch(r"[0-9a-f]{64}", expected):
            raise Invalid(say("sha256 in Upload-Metadata must be 64 hex digits"))
        upload = resumable.begin(
            actor=self.actor,
            organisation=organisation,
            filename=said.get("filename", ""),
            length=_number(request, "Upload-Length"),
            expected=expected,
        )
        response = Response(UploadOut(upload).data, 201)
        response["Location"] = address(upload)
        response["Upload-Expires"] = http_date(upload.expires_at.timestamp())
        return response

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Tell what of the protocol is spoken."""
        return Response(
            status=204,
            headers={
                "Tus-Version": VERSION,
                "Tus-Extension": "creation,expiration,termination,checksum",
                "Tus-Max-Size": str(settings.MAX_PACKAGE_BYTES),
                "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
            },
        )


class UploadView(TusView):
    """One upload."""

    def _upload(self, pk: UUID) -> Upload:
        return access.get(rows(), self.actor, self.permission, pk)

    @extend_schema(responses=UploadOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Tell how far it is, and what became of it; `HEAD` tells the same in headers."""
        upload = self._upload(pk)
        return Response(UploadOut(upload).data, headers=_state(upload))

    @extend_schema(
        request={_PART: OpenApiTypes.BINARY},
        parameters=[
            *_HEADERS,
            OpenApiParameter(
                "Upload-Offset", OpenApiTypes.INT, "header", required=True, description="where it goes on"
            ),
            OpenApiParameter(
                "Upload-Checksum", location="header", description="sha256 or sha1 of this part, and its value in base64"
            ),
        ],
        responses={
            204: OpenApiResponse(description="it counts; Upload-Offset is the new one, Breakwater-Package at the end"),
            409: OpenApiResponse(description="another offset (`offset`), or the same bytes are here (`package`)"),
            413: OpenApiResponse(description="more than the file was said to have"),
            423: OpenApiResponse(description="somebody else writes at the moment"),
            460: OpenApiResponse(description="this part did not arrive as it was sent"),
        },
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Send the next part. What arrived before a line broke counts, unless the part has a checksum."""
        upload, plain = self._upload(pk), request._request
        ticket = uploads.ticket_of(plain)
        if ticket and ticket.arrived and ticket.part:
            return self._counted(upload, ticket.part)
        self.insist()
        if request.headers.get("Content-Type", "") != _PART:
            raise _Kind(say("Send Content-Type: {part}", part=_PART))
        algorithm, checksum = _checksum(request.headers.get("Upload-Checksum", ""))
        file = resumable.open_for_writing(
            upload,
            _number(request, "Upload-Offset"),
            coming=uploads.content_length(plain),
            algorithm=algorithm,
            checksum=checksum,
        )
        if ticket:
            ticket.part = file  # the ASGI side writes, closes, and asks once more
            return Response(status=204)
        try:
            return self._taken(upload, file)
        finally:
            file.close()

    def _taken(self, upload: Upload, file: Partial) -> Response:
        """Read the body of this request."""
        broken: Invalid | None = None
        try:
            uploads.read_raw(self.request._request, file, uploads.content_length(self.request._request))
        except Invalid as problem:
            if file.checked or isinstance(problem, TooLarge):
                file.undo()  # half a part with a checksum, or more than there may be, is none
                raise
            broken = problem
        response = self._counted(upload, file)
        if broken:
            raise broken
        return response

    def _counted(self, upload: Upload, file: Partial) -> Response:
        upload = resumable.settle(upload, file, actor=self.actor)
        return Response(status=204, headers=_state(upload))

    @extend_schema(parameters=_HEADERS, responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Cancel it; nothing of it is left."""
        upload = self._upload(pk)
        self.insist()
        resumable.cancel(upload, actor=self.actor)
        return Response(status=204)

    def handle_exception(self, exc: Exception) -> Response:
        """Tell the offset beside a refusal that knows it."""
        response = exception_handler(exc, self.get_exception_handler_context())
        if isinstance(exc, BreakwaterError) and "offset" in exc.context:
            response["Upload-Offset"] = str(exc.context["offset"])
        response.exception = True
        return response


def _state(upload: Upload) -> dict[str, str]:
    told = {
        "Upload-Offset": str(resumable.offset_of(upload)),
        "Upload-Length": str(upload.length),
        "Upload-Expires": http_date(upload.expires_at.timestamp()),
    }
    if upload.package_id:
        told[PACKAGE] = str(upload.package_id)
    return told


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise Invalid(
            say("{header} must be a number of bytes", header=header),
            errors=[{"field": header, "detail": say("is no number")}],
        )
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Read `key base64,key base64` (tus, Upload-Metadata)."""
    said = {}
    for pair in filter(None, (part.strip() for part in text[:4000].split(","))):
        key, _, value = pair.partition(" ")
        try:
            said[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise Invalid(say("{key} in Upload-Metadata is no base64 of UTF-8", key=key[:40])) from None
    return said


def _named(query: QueryDict, said: dict[str, str]) -> QueryDict:
    """Return the query with the organisation that the metadata name."""
    made = query.copy()
    if said.get("organisation"):
        made["organisation"] = said["organisation"]
    return made


def _checksum(text: str) -> tuple[str, bytes]:
    if not text:
        return "", b""
    algorithm, _, value = text.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != CHECKSUMS.get(algorithm, 0):
        raise Invalid(
            say("Upload-Checksum must be one of {checksums} and its value in base64", checksums=", ".join(CHECKSUMS))
        )
    return algorithm, digest
