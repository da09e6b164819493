"""HTTP in and out, shared by every API of the MEP: who asks, what they sent, problem+json for every refusal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import msgspec
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse

from core.errors import BreakwaterError, Denied, Invalid, Missing, Stale, TooLarge, Unavailable
from core.words import as_text
from mep.mp1 import links, locality, mtls, throttle, tokens
from mep.mp1.conditions import fresh as fresh
from mep.mp1.conditions import matches, tag_of
from mep.mp1.models import App
from mep.mp1.subscriptions import SERVICE_API, SUPPORT_API

log = logging.getLogger(__name__)
#: RFC 9110 4.1 asks for 8000 at least; MEC 011 lists 414 for what is longer.
LONGEST_TARGET = 8192
#: Where the URI of a request ends to be the API root.
APIS = (SERVICE_API + "/", SUPPORT_API + "/")
#: No type of MEC 011 is nested deeper than eight; free members such as implSpecificInfo have this much room.
DEEPEST = 40
JSON, PROBLEM = "application/json", "application/problem+json"


class Call:
    """One request: reading it raises our errors."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def app(self) -> App:
        """The app instance that asks."""
        return tokens.holder(self.token, mtls.shown_by(self.request))

    @cached_property
    def token(self) -> str:
        """The bearer token."""
        return tokens.bearer(self.request.headers.get("Authorization", ""))

    def own(self, app_instance_id: str) -> App:
        """Return the asking app when the path is its own; nobody learns whether another app exists."""
        if self.app.pk != app_instance_id:
            raise Denied("This access token belongs to another app instance; an app sees only its own resources")
        return self.app

    @cached_property
    def json(self) -> Any:
        """The body. Any content type will do as long as it is JSON."""
        try:
            body = msgspec.json.decode(self.request.body)
        except ValueError:
            raise Invalid("The body is not JSON") from None
        except RecursionError:
            raise Invalid(f"The body is nested deeper than {DEEPEST} levels") from None
        if deeper_than(DEEPEST, body):
            raise Invalid(f"The body is nested deeper than {DEEPEST} levels")
        return body

    @property
    def if_match(self) -> str | None:
        """The If-Match header."""
        return self.request.headers.get("If-Match")

    def unless_changed(self, body: Any) -> None:
        """Raise `Stale` when If-Match names another version than that of the representation `body`."""
        if not matches(self.if_match, tag_of(encode(body))):
            raise Stale("The resource has changed since that ETag; read it again")

    @property
    def near(self) -> locality.Near:
        """The scopes of locality that hold both this host and the asker."""
        return locality.near(self.request.META.get("REMOTE_ADDR", ""))

    @property
    def root(self) -> str:
        """The API root under which the asker knows us, for links."""
        path = self.request.path
        cut = next((at for api in APIS if (at := path.find(api)) >= 0), 0)
        return links.root(self.request.META.get("HTTP_HOST", ""), path[:cut])

    def no_query(self) -> None:
        """Raise `Invalid` when there is any query parameter: the resource knows none (MEC 009 6.15)."""
        if self.request.META.get("QUERY_STRING"):
            names = ", ".join(sorted(self.request.GET))[:200]
            raise Invalid(f"Unknown query parameter: {names or self.request.META['QUERY_STRING'][:200]}")


Handler = Callable[..., HttpResponse]


class Endpoint:
    """A view of one resource: a handler per method, 405 for the rest, problem+json for every error."""

    def __init__(self, *, query: bool = False, **handlers: Handler) -> None:
        self.handlers = {name.upper(): handler for name, handler in handlers.items()}
        if "GET" in self.handlers:
            self.handlers.setdefault("HEAD", self.handlers["GET"])
        self.query = query
        self.__name__ = self.__class__.__name__

    def __call__(self, request: HttpRequest, **path: str) -> HttpResponse:
        handler = self.handlers.get(request.method or "")
        if handler is None:
            return _not_allowed(request.method or "", self.handlers)
        try:
            call = Call(request)
            if len(request.get_full_path()) > LONGEST_TARGET:
                raise TooLong(f"The request target is longer than {LONGEST_TARGET} characters")
            if not self.needs_app:
                return self._handle(handler, call, path)
            claims = tokens.verifier.claims(call.token)
            # Before the write lock is taken, which one app must not keep from the others. Who shows a bound token
            # without its certificate is refused below, and uses up nothing of what its app may ask.
            if claims.certificate in ("", mtls.shown_by(request)):
                throttle.admit(claims.app)
            if request.method in ("GET", "HEAD"):
                return _versioned(call, self._handle(handler, call, path))
            # Who asks is read under the same write lock that the change needs: an app that is discarded at this
            # very moment either changes something before or is refused.
            with transaction.atomic():
                return self._handle(handler, call, path)
        except BreakwaterError as error:
            return refused(error)
        except OperationalError as error:
            log.warning("%s %s met a busy database: %s", request.method, request.path, error)
            return refused(Unavailable("The MEP is busy; try again in a moment"))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return problem(500, "Something went wrong on our side", "The MEP failed; its log says why", "internal")

    #: Whether callers must show an access token of an app; the token and management endpoints ask for other things.
    needs_app = True

    def _handle(self, handler: Handler, call: Call, path: dict[str, str]) -> HttpResponse:
        if self.needs_app:
            _ = call.app
        if not self.query:
            call.no_query()
        return handler(call, **path)


class Open(Endpoint):
    """A resource that settles itself who may ask."""

    needs_app = False


class TooLong(Invalid):
    """The request target is longer than this server reads."""

    code, title, status = "target-too-long", "The request target is too long", 414


def answer(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    """Return JSON; underscores in header names become dashes."""
    return _sized(encode(body), status, JSON, **headers)


def _sized(content: bytes, status: int, content_type: str, **headers: str) -> HttpResponse:
    response = HttpResponse(content, status=status, content_type=content_type)
    response["Content-Length"] = str(len(content))
    for name, value in headers.items():
        response[name.replace("_", "-")] = value
    return response


def tagged(call: Call, body: Any, etag: str, status: int = 200, **headers: str) -> HttpResponse:
    """Return JSON (or bytes that are JSON already) with its ETag, or 304 when the asker has that version."""
    if (
        status == 200
        and call.request.method in ("GET", "HEAD")
        and fresh(call.request.headers.get("If-None-Match"), etag)
    ):
        return _not_modified(etag)
    content = body if isinstance(body, bytes) else encode(body)
    return _sized(content, status, JSON, ETag=etag, **headers)


def _versioned(call: Call, response: HttpResponse) -> HttpResponse:
    """Return the answer with an ETag, or 304 (MEC 009 6.8: every version of a resource has one)."""
    if response.status_code != 200 or "ETag" in response:
        return response
    etag = tag_of(response.content)
    if fresh(call.request.headers.get("If-None-Match"), etag):
        return _not_modified(etag)
    response["ETag"] = etag
    return response


def _not_modified(etag: str) -> HttpResponse:
    response = HttpResponse(status=304)
    del response["Content-Type"]
    response["ETag"] = etag
    return response


def empty() -> HttpResponse:
    """Return 204."""
    response = HttpResponse(status=204)
    del response["Content-Type"]
    return response


def encode(body: Any) -> bytes:
    """Return the JSON of `body`."""
    return msgspec.json.encode(body, enc_hook=as_text)


def refused(error: BreakwaterError) -> HttpResponse:
    """Return the problem document of an error; 401 carries the challenge of RFC 6750 3."""
    if error.status >= 500:
        log.error("refused with %s: %s", error.status, error.detail)
    response = _sized(encode(error.problem()), error.status, PROBLEM)
    if error.status == 401:
        response["WWW-Authenticate"] = challenge(error)
    if error.status == 429 and "retry_after" in error.context:
        response["Retry-After"] = str(error.context["retry_after"])
    return response


def challenge(error: BreakwaterError) -> str:
    """Return the WWW-Authenticate header for a missing or bad bearer token."""
    code = getattr(error, "error", "")
    if not code:
        return 'Bearer realm="mp1"'
    said = error.detail.replace("\\", "").replace('"', "'")
    said = "".join(letter if 32 <= ord(letter) < 127 else "?" for letter in said)
    return f'Bearer realm="mp1", error="{code}", error_description="{said}"'


def problem(status: int, title: str, detail: str, code: str) -> HttpResponse:
    """Return a problem document for what has no error class."""
    body = {
        "type": f"urn:breakwater:problem:{code}", "title": title, "status": status, "detail": detail, "code": code,
        "retryable": False,
    }  # fmt: skip
    return _sized(encode(body), status, PROBLEM)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404: there is no such resource."""
    return refused(Missing(f"There is no resource {request.path[:200]}"))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler400: the request cannot be read."""
    return refused(Invalid("The request cannot be read"))


def failed(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    return problem(500, "Something went wrong on our side", "The MEP failed; its log says why", "internal")


def too_large(limit: int) -> BreakwaterError:
    """Return the error for a body above `limit` bytes."""
    return TooLarge(f"The body is larger than {limit} bytes")


def _not_allowed(method: str, known: Iterable[str]) -> HttpResponse:
    response = problem(405, "Method not allowed", f"{method[:20]} is not possible here", "method-not-allowed")
    response["Allow"] = ", ".join(known)
    return response


def deeper_than(levels: int, body: Any) -> bool:
    """Return whether objects and lists are nested deeper than that; what reads them later recurses."""
    layer = [body] if isinstance(body, dict | list) else []
    for _ in range(levels + 1):
        if not layer:
            return False
        layer = [
            each
            for outer in layer
            for each in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(each, dict | list)
        ]
    return True
