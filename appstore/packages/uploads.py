"""Request bodies as files of the store: raw or multipart, from the wire to disk in pieces, never whole in memory."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from appstore.packages import blobs
from appstore.packages.partial import Partial
from core.errors import Invalid, TooLarge
from core.words import say

_CHUNK = 1 << 20
#: What a multipart body may have beside the file.
_ENVELOPE = 1 << 20
_FIELD = "file"


#: Under this name the ASGI side leaves a ticket in the scope of a request (see `ingest`).
TICKET = "breakwater.upload"


@dataclass(slots=True)
class Ticket:
    """What the ASGI side says about an upload: only a question whether it may come, or the body that has arrived."""

    body: blobs.Incoming | None = None
    #: Of a part of an upload: the file that the view has opened when it was asked, and whether the part has come.
    part: Partial | None = None
    arrived: bool = False


def ticket_of(request: HttpRequest) -> Ticket | None:
    """Return the ticket of a request; None when its body is still on the wire."""
    ticket = request.META.get("asgi.scope", {}).get(TICKET)
    return ticket if isinstance(ticket, Ticket) else None


def is_question(request: HttpRequest) -> bool:
    """Tell whether the ASGI side only asks if this upload would be taken."""
    ticket = ticket_of(request)
    return ticket is not None and ticket.body is None


def check_length(request: HttpRequest) -> None:
    """`TooLarge` before anything is read when the length that the client tells is over the limit."""
    told, limit = content_length(request), settings.MAX_PACKAGE_BYTES
    if told is not None and told > limit + (_ENVELOPE if _is_form(request) else 0):
        raise TooLarge(say("The file is larger than the {limit} bytes that are taken", limit=limit), limit=limit)


@contextmanager
def received(request: HttpRequest) -> Iterator[tuple[blobs.Incoming, str]]:
    """Read the whole body and give the file in it with its name; leaving without `keep` leaves nothing."""
    check_length(request)
    ticket = ticket_of(request)
    if ticket and ticket.body:
        yield ticket.body, request.GET.get("filename", "")
        return
    with blobs.incoming(settings.MAX_PACKAGE_BYTES) as file:
        if _is_form(request):
            name = _read_multipart(request, file)
        else:
            name = request.GET.get("filename", "")
            read_raw(request, file, content_length(request))
        yield file, name


def _is_form(request: HttpRequest) -> bool:
    return request.META.get("CONTENT_TYPE", "").startswith("multipart/form-data")


def expected_digest(request: HttpRequest) -> str:
    """Return the SHA-256 that the client says its file has, in hex; empty when it says none.

    `X-Content-SHA256: <hex>`, `Content-Digest: sha-256=:<base64>:` (RFC 9530), or `Digest: SHA-256=<base64>` (RFC 3230).
    """
    told = request.headers.get("X-Content-SHA256", "").strip().lower()
    if told:
        if not re.fullmatch(r"[0-9a-f]{64}", told):
            raise Invalid(say("X-Content-SHA256 must be 64 hex digits"))
        return told
    for header, form in (("Content-Digest", r"sha-256=:([^:]*):"), ("Digest", r"sha-256=([A-Za-z0-9+/=]*)")):
        value = request.headers.get(header, "")
        match = re.search(form, value, re.IGNORECASE)
        if match:
            try:
                digest = base64.b64decode(match[1], validate=True)
            except binascii.Error:
                digest = b""
            if len(digest) != 32:
                raise Invalid(say("{header} has no valid SHA-256", header=header))
            return digest.hex()
    return ""


def content_length(request: HttpRequest) -> int | None:
    """Return the length that the client tells; None when it tells none."""
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise Invalid(say("Content-Length is no number"))
    return int(text)


class Sink(Protocol):
    """Where the bytes of a body go."""

    def write(self, chunk: bytes) -> None:
        """Take a piece."""


def read_raw(request: HttpRequest, file: Sink, told: int | None) -> None:
    """Read a body piece by piece; `Invalid` when it breaks off, and what has come until then was written."""
    stream: Any = request
    if told is None and "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        # Django reads nothing without a Content-Length, but the server has taken the chunks apart for us.
        stream = request.META["wsgi.input"]
    arrived = 0
    try:
        while chunk := stream.read(_CHUNK):
            file.write(chunk)
            arrived += len(chunk)
    except UnreadablePostError as problem:
        raise Invalid(say("The upload broke off")) from problem
    if told is not None and arrived != told:
        raise Invalid(say("The upload broke off: {arrived} of {told} bytes arrived", arrived=arrived, told=told))


class _IntoStore(FileUploadHandler):
    """Writes the one file of a form into the store; more than one is an error."""

    chunk_size = _CHUNK

    def __init__(self, request: HttpRequest, file: blobs.Incoming) -> None:
        super().__init__(request)
        self.target = file  # `file` is Django's own name for something it closes
        self.seen = 0
        self.name = ""

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Take the first file called `file`; skip what is called otherwise."""
        super().new_file(field_name, file_name, *args, **kwargs)
        if field_name != _FIELD:
            raise SkipFile
        self.seen += 1
        if self.seen > 1:
            raise Invalid(say("Send one file at a time"))
        self.name = file_name

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write; nothing is passed on to other handlers."""
        self.target.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        """Answer a file object of no content: the content is in the store."""
        return UploadedFile(io.BytesIO(), self.name, size=file_size)


def _read_multipart(request: HttpRequest, file: blobs.Incoming) -> str:
    handler = _IntoStore(request, file)
    stream: Any = request
    try:
        parser = MultiPartParser(request.META, stream, [handler], request.encoding)
        parser.parse()
    except UnreadablePostError as problem:
        raise Invalid(say("The upload broke off")) from problem
    except (MultiPartParserError, TooManyFilesSent, SuspiciousOperation, RequestDataTooBig) as problem:
        raise Invalid(say("The form cannot be read")) from problem
    if not handler.seen:
        raise Invalid(say("There is no file in the form"), errors=[{"field": _FIELD, "detail": say("is missing")}])
    return handler.name
