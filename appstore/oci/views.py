"""The registry face: the pull half of the OCI Distribution Specification 1.1 over the blobs of the store.

Who asks is told by an API token: as the password of Basic credentials (any user name), which `helm registry login`
sends, or as a bearer token. Sessions of browsers mean nothing here.

A release that is not there, not published any more, or not for the asker is NAME_UNKNOWN (404). Somebody who has not
signed in is asked to (401) instead: clients send credentials only when they are asked for, and one answer for all that
is not public tells a stranger nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from appstore.oci import manifests, registry
from appstore.oci.models import Artifact
from appstore.packages import blobs
from core.accounts import services as accounts
from core.accounts.access import ANONYMOUS, Actor
from core.errors import Unauthenticated

_CHUNK = 1 << 18
_MOST_TAGS = 1000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
_CHALLENGE = 'Basic realm="breakwater"'

View = Callable[..., HttpResponseBase]


class Refused(Exception):
    """An answer in the form of the specification: status, code and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def door(view: View) -> View:
    """Find out who asks, let only reading through, and tell errors as the specification wants them (clause "Error Codes")."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        try:
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "UNSUPPORTED", "Charts are published in the store; this face only gives them out")
            response = view(request, actor_of(request), *args, **kwargs)
        except Refused as refused:
            response = _refusal(refused)
        response["Docker-Distribution-Api-Version"] = "registry/2.0"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return guarded


def actor_of(request: HttpRequest) -> Actor:
    """Return who asks; credentials that open nothing are refused, none at all are nobody's."""
    kind, _, value = request.headers.get("Authorization", "").strip().partition(" ")
    if not kind:
        return ANONYMOUS
    secret = value.strip()
    if kind.lower() == "basic":
        try:
            secret = base64.b64decode(secret, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            secret = ""
    elif kind.lower() != "bearer":
        secret = ""
    try:
        return accounts.token_actor(secret)
    except Unauthenticated as problem:
        raise Refused(401, "UNAUTHORIZED", problem.detail) from None


@door
def base(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """Say that this is a registry; only to those who sign in, so that a login is really tried."""
    if not actor.authenticated:
        raise Refused(401, "UNAUTHORIZED", "Sign in with an API token as the password")
    return _json(request, {})


@door
def tags(request: HttpRequest, actor: Actor, name: str) -> HttpResponseBase:
    """List the tags of a repository, `n` at a time after `last`."""
    found = _repository(name, actor)
    asked = request.GET.get("n", "")
    if asked and not (asked.isdecimal() and len(asked) < 10):
        raise Refused(400, "UNSUPPORTED", "n must be a number")
    limit = min(int(asked) if asked else _MOST_TAGS, _MOST_TAGS)
    listed, more = registry.page(found.tags, last=request.GET.get("last", ""), limit=limit)
    response = _json(request, {"name": name, "tags": listed})
    if more and listed:
        query = urlencode({"n": limit, "last": listed[-1]})
        response["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'  # RFC 8288
    return response


@door
def manifest(request: HttpRequest, actor: Actor, name: str, reference: str) -> HttpResponseBase:
    """Return the manifest that a tag or a digest names."""
    found = _repository(name, actor).manifest(reference)
    if found is None:
        raise Refused(404, "MANIFEST_UNKNOWN", f"There is no {reference[:140]} in {name[:200]}")
    return _bytes(request, found.body.encode(), manifests.MANIFEST, found.digest)


@door
def blob(request: HttpRequest, actor: Actor, name: str, digest: str) -> HttpResponseBase:
    """Return a file that a manifest of this repository names; no other file of the store."""
    found = _repository(name, actor)
    if not _DIGEST.match(digest):
        raise Refused(400, "DIGEST_INVALID", "A digest is sha256: and 64 hexadecimal digits")
    wanted = digest.removeprefix("sha256:")
    for artifact in (*found.charts, *found.bills):
        if artifact.config_digest == wanted:
            return _bytes(request, artifact.config.encode(), "application/octet-stream", wanted)
        if artifact.layer_digest == wanted:
            path = blobs.path_of(wanted)
            if path.exists():
                return _file(request, path, artifact)
    raise Refused(404, "BLOB_UNKNOWN", f"There is no such file in {name[:200]}")


@door
def referrers(request: HttpRequest, actor: Actor, name: str, digest: str) -> HttpResponseBase:
    """List what refers to a manifest: the bill of materials of a chart. None is an empty list, as the specification says."""
    found = _repository(name, actor)
    if not _DIGEST.match(digest):
        raise Refused(400, "DIGEST_INVALID", "A digest is sha256: and 64 hexadecimal digits")
    subjects = {each.package_id for each in found.charts if each.digest == digest.removeprefix("sha256:")}
    rows = [manifests.referrer(each.body) for each in found.bills if each.package_id in subjects]
    wanted = request.GET.get("artifactType", "")
    if wanted:
        rows = [row for row in rows if row["artifactType"] == wanted]
    response = _json(request, manifests.index(rows), manifests.INDEX)
    if wanted:
        response["OCI-Filters-Applied"] = "artifactType"
    return response


@door
def unknown(request: HttpRequest, actor: Actor, rest: str = "") -> HttpResponseBase:
    """Answer every other address below /v2/."""
    raise Refused(404, "NAME_UNKNOWN", "There is nothing at this address of the registry")


def _repository(name: str, actor: Actor) -> registry.Repository:
    found = registry.repository(name, actor)
    if found is None:
        if not actor.authenticated:
            raise Refused(401, "UNAUTHORIZED", "Sign in with an API token as the password to see more than is public")
        raise Refused(404, "NAME_UNKNOWN", f"There is no published chart {name[:200]} that you may see")
    if found.meant:
        meant = " or ".join(found.meant[:4])
        raise Refused(404, "NAME_UNKNOWN", f"More than one provider has a chart of this name; ask for {meant}")
    return found


def _json(request: HttpRequest, document: object, content_type: str = "application/json") -> HttpResponse:
    response = HttpResponse(json.dumps(document), content_type=content_type)
    response["Cache-Control"] = "no-store"
    return response


def _bytes(request: HttpRequest, content: bytes, content_type: str, digest: str) -> HttpResponse:
    start, end, status = _asked(request, len(content))
    response = HttpResponse(content[start:end], content_type=content_type, status=status)
    _describe(response, digest, start, end, len(content))
    return response


def _file(request: HttpRequest, path: Path, artifact: Artifact) -> HttpResponseBase:
    size = path.stat().st_size
    start, end, status = _asked(request, size)
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type="application/octet-stream", status=status)
    else:
        pieces = _pieces(path, start, end)
        response = StreamingHttpResponse(pieces, content_type="application/octet-stream", status=status)
    _describe(response, artifact.layer_digest, start, end, size)
    return response


def _pieces(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = end - start
        while left and (piece := file.read(min(_CHUNK, left))):
            left -= len(piece)
            yield piece


def _asked(request: HttpRequest, size: int) -> tuple[int, int, int]:
    """Return first and end of the bytes that are asked for, and the status; one range only (RFC 9110, 14.1.2).

    Several ranges, and what is no range, are ignored, as the RFC allows.
    """
    at = _RANGE.match(request.headers.get("Range", "").strip())
    if at is None or not (at[1] or at[2]):
        return 0, size, 200
    if not at[1]:
        start, end = max(0, size - int(at[2])), size
    else:
        start, end = int(at[1]), min(size, int(at[2]) + 1) if at[2] else size
    if start >= size or end <= start:
        raise Refused(416, "SIZE_INVALID", f"There are only {size} bytes")
    return start, end, 206


def _describe(response: HttpResponseBase, digest: str, start: int, end: int, size: int) -> None:
    response["Docker-Content-Digest"] = f"sha256:{digest}"
    response["ETag"] = f'"sha256:{digest}"'
    response["Accept-Ranges"] = "bytes"
    response["Content-Length"] = str(end - start)
    # A private one may be kept by the client that got it, and by nobody on the way.
    response["Cache-Control"] = "private, no-cache"
    if response.status_code == 206:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"


def _refusal(refused: Refused) -> HttpResponse:
    body = {"errors": [{"code": refused.code, "message": refused.message, "detail": {}}]}
    response = HttpResponse(json.dumps(body), content_type="application/json", status=refused.status)
    response["Cache-Control"] = "no-store"
    if refused.status == 401:
        response["WWW-Authenticate"] = _CHALLENGE
    if refused.status == 405:
        response["Allow"] = "GET, HEAD"
    return response
