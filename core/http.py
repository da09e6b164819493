"""HTTP in and out: problem+json, actors, pagination, live streams. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelInvalid
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from rest_framework import exceptions as drf
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import errors, languages, spoken
from core.accounts import services as accounts
from core.accounts.access import ANONYMOUS, Actor
from core.accounts.middleware import actor_of
from core.accounts.models import ApiToken, Organisation
from core.live.guard import Pass
from core.live.hub import Topic, follow
from core.words import joined, say

logger = logging.getLogger("breakwater.http")

PROBLEM = "application/problem+json"


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <API token>` (RFC 6750, 2.1)."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        kind, _, secret = get_authorization_header(request).partition(b" ")
        if kind.lower() != b"bearer":
            return None
        actor = accounts.token_actor(secret.strip().decode("latin-1"))
        return actor.user, actor.token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="breakwater"'


class JsonParser(JSONParser):
    """JSON whose nesting may be hostile: too deep is the sender's mistake, not ours."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError:
            raise errors.Invalid(say("The JSON body is nested too deeply.")) from None


class AnyAccept(DefaultContentNegotiation):
    """For views that answer in one form whatever is asked for: EventSource accepts only `text/event-stream`."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """Base of every view of our API.

    `permission_required` is one permission, or one for each method; `self.actor` is who asks. Whether the
    actor may touch a given object is asked of `core.accounts.access`. `public = True` opens a view to everybody.
    """

    authentication_classes = [TokenAuthentication, SessionAuthentication]
    parser_classes = [JsonParser, FormParser]
    permission_required: str | dict[str, str] = ""
    public = False
    actor: Actor = ANONYMOUS

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find out who asks, before the view runs."""
        super().initial(request, *args, **kwargs)
        user = request.user
        token = request.auth if isinstance(request.auth, ApiToken) else None
        self.actor = Actor(user, token) if user and user.is_authenticated else ANONYMOUS
        request._request.actor = self.actor  # type: ignore[attr-defined]
        if not self.public and not self.actor.authenticated:
            raise errors.Unauthenticated(say("Sign in, or send an API token as a bearer token."))

    @property
    def permission(self) -> str:
        """The permission that the present method needs."""
        wanted = self.permission_required
        method = (self.request.method or "GET").upper()
        return wanted if isinstance(wanted, str) else wanted["GET" if method in ("HEAD", "OPTIONS") else method]


class Pagination(PageNumberPagination):
    """`?page=2&page_size=50` gives `{"count", "next", "previous", "results"}`; at most 200 a page."""

    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 200


def paginated(view: ApiView, queryset: Any, serialize: Callable[[Any], Any]) -> Response:
    """Answer one page of `queryset`; `serialize` makes JSON of the list of rows."""
    pages = Pagination()
    rows: Any = pages.paginate_queryset(queryset, view.request, view=view)
    return pages.get_paginated_response(serialize(rows))


def request_actor(request: HttpRequest) -> Actor:
    """Return who asks, by bearer token or session, for views outside DRF (streams)."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return accounts.token_actor(secret.strip())
    return actor_of(request)


def organisation_for(request: Any, permission: str) -> Organisation:
    """Return the organisation that a request is about.

    It is named by `organisation` (slug or id) in the body or the query, or by the session's choice, or it is the
    only one (or the first by slug) in which the actor holds `permission`.
    """
    actor: Actor = request.actor if hasattr(request, "actor") else request._request.actor
    data = getattr(request, "data", None)
    named = data.get("organisation") if isinstance(data, Mapping) else None
    named = named or request.GET.get("organisation")
    mine = Organisation.objects.filter(pk__in=actor.roles)
    if named:
        found = next((row for row in mine if str(named) in (row.slug, str(row.pk))), None)
        if found is None:
            raise errors.Missing(
                say("There is no organisation {named}, or you are no member of it.", named=repr(str(named)[:60]))
            )
        actor.require(permission, found)
        return found
    allowed = [row for row in mine if actor.may(permission, row.pk)]
    if not allowed:
        raise errors.Denied(
            say("In none of your organisations you hold the permission {permission}.", permission=repr(permission))
        )
    chosen = getattr(request, "session", {}).get("organisation")
    return next((row for row in allowed if str(row.pk) == chosen), allowed[0])


def problem_response(error: errors.BreakwaterError, request: HttpRequest | None = None) -> HttpResponse:
    """Return the error as `application/problem+json` (RFC 9457), in the language that the request accepts."""
    body, headers = _told(error, request)
    response = JsonResponse(body, status=error.status, content_type=PROBLEM)
    for name, value in headers.items():
        response[name] = value
    return response


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """DRF's door out: every error becomes a problem document, also the unexpected ones."""
    error = translate(exc)
    if error is None:
        logger.exception("unexpected error in %s", context.get("view"), exc_info=exc)
        error = errors.BreakwaterError(say("An unexpected error happened; the server's log has the details."))
    status = getattr(exc, "status_code", error.status) if isinstance(exc, drf.APIException) else error.status
    told, headers = _told(error, context.get("request"))
    return Response({**told, "status": status}, status=status, content_type=PROBLEM, headers=headers)


def translate(exc: Exception) -> errors.BreakwaterError | None:
    """Return our error for a framework's; None when it is unexpected."""
    if isinstance(exc, errors.BreakwaterError):
        return exc
    if isinstance(exc, drf.ValidationError):
        found = list(_field_errors(exc.detail))
        places = (say("{field}: {problem}", field=item["field"], problem=item["detail"]) for item in found)
        return errors.Invalid(joined("; ", places), errors=found)
    if isinstance(exc, ModelInvalid):
        return errors.Invalid(" ".join(exc.messages))
    if isinstance(exc, (drf.NotAuthenticated, drf.AuthenticationFailed)):
        return errors.Unauthenticated(str(exc.detail))
    if isinstance(exc, (drf.PermissionDenied, PermissionDenied)):
        return errors.Denied(str(exc) or say("You may not do this."))
    if isinstance(exc, (Http404, drf.NotFound)):
        return errors.Missing(say("There is no such page or object."))
    if isinstance(exc, drf.Throttled):
        return errors.Throttled(say("Too many requests."), retry_after=int(getattr(exc, "wait", None) or 1))
    if isinstance(exc, RequestDataTooBig):
        return errors.TooLarge(say("The body of the request is too large."))
    if isinstance(exc, drf.APIException):
        return errors.Invalid(str(exc.detail))
    return None


def _field_errors(detail: Any, place: str = "") -> list[dict[str, str]]:
    if isinstance(detail, dict):
        return [e for key, value in detail.items() for e in _field_errors(value, f"{place}.{key}".strip("."))]
    if isinstance(detail, list):
        nested = any(isinstance(item, (dict, list)) for item in detail)
        if nested:
            return [e for index, item in enumerate(detail) for e in _field_errors(item, f"{place}[{index}]")]
        return [{"field": place, "detail": " ".join(str(item) for item in detail)}]
    return [{"field": place, "detail": str(detail)}]


def _told(error: errors.BreakwaterError, request: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return body and headers of a problem: English, and another language only for those who ask for it."""
    body, headers = error.problem(), _headers(error)
    language = spoken.accepted(request) if request is not None else languages.SOURCE
    if language != languages.SOURCE:
        body, headers = spoken.problem_in(body, language), {**headers, "Content-Language": language}
    return body, headers


def _headers(error: errors.BreakwaterError) -> dict[str, str]:
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="breakwater"'}
    if isinstance(error, errors.Throttled) and "retry_after" in error.context:
        return {"Retry-After": str(error.context["retry_after"])}
    return {}


def not_found(request: HttpRequest, exception: Exception | None = None, unknown: str = "") -> HttpResponse:
    """Answer 404 for unknown paths below /api/ as a problem."""
    return problem_response(errors.Missing(say("There is no such page or object.")), request)


def sse(request: Any, topic: Topic, actor: Actor | None = None) -> StreamingHttpResponse:
    """Stream what `topic` looks like as server-sent events, each time it changes.

    It ends when who asks may not listen any more: the session ended, the token was revoked, a role came or went.
    Paths of streams end in `/stream` (they are served by ASGI). Streams about one topic share one look (`core.live`).
    """
    asks = actor or request.actor
    return event_stream(follow(topic, Pass.of(request, asks)))


def event_stream(events: AsyncIterator[bytes]) -> StreamingHttpResponse:
    """Answer server-sent events, which nobody on the way may keep or gather."""
    response = StreamingHttpResponse(events, content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return response
