"""The device flow over HTTP, and the end of the token that asks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import services as accounts
from core.accounts.models import ApiToken
from core.device import services
from core.errors import Missing
from core.http import ApiView
from core.words import say

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
_NEVER_KEPT = {"Cache-Control": "no-store"}


class DeviceIn(serializers.Serializer[Any]):
    """A program asks for a sign-in."""

    client_id = serializers.CharField(max_length=60)
    client_name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    scope = serializers.CharField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="permissions, with spaces between"
    )


class DeviceOut(serializers.Serializer[Any]):
    """What the program shows, and what it asks again with (RFC 8628, 3.2)."""

    device_code = serializers.CharField()
    user_code = serializers.CharField()
    verification_uri = serializers.URLField()
    verification_uri_complete = serializers.URLField()
    expires_in = serializers.IntegerField(help_text="seconds")
    interval = serializers.IntegerField(help_text="seconds between two questions, at least")


class DeviceTokenIn(serializers.Serializer[Any]):
    """The program asks whether somebody has approved."""

    grant_type = serializers.ChoiceField([GRANT_TYPE])
    device_code = serializers.CharField(max_length=200)
    client_id = serializers.CharField(max_length=60)


class DeviceTokenOut(serializers.Serializer[Any]):
    """The token (RFC 6749, 5.1)."""

    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField(required=False)
    scope = serializers.CharField()


class OAuthProblem(serializers.Serializer[Any]):
    """A no of OAuth (RFC 6749, 5.2)."""

    error = serializers.CharField()
    error_description = serializers.CharField()


class _OAuthView(ApiView):
    """A view that answers in the words of OAuth, which programs of others expect."""

    public = True
    authentication_classes = []  # the code is the authentication

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a refusal as OAuth writes it; everything else as everywhere."""
        if isinstance(exc, services.Refusal):
            return _no(exc.error, exc.detail)
        if isinstance(exc, serializers.ValidationError):
            said = exc.detail if isinstance(exc.detail, dict) else {}
            kind = "unsupported_grant_type" if set(said) == {"grant_type"} else "invalid_request"
            return _no(kind, "; ".join(f"{name}: {' '.join(map(str, words))}" for name, words in said.items()))
        return super().handle_exception(exc)


class DeviceAuthorizationView(_OAuthView):
    """The beginning of a sign-in."""

    @extend_schema(request=DeviceIn, responses={200: DeviceOut, 400: OAuthProblem}, auth=[])
    def post(self, request: Request) -> Response:
        """Begin a sign-in (RFC 8628): show the code and the address, then ask `/device/token`."""
        wanted = DeviceIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        grant, secret = services.begin(
            client_id=asked["client_id"],
            client_name=asked["client_name"],
            address=request.META.get("REMOTE_ADDR", ""),
            scopes=sorted(set(asked["scope"].split())),
        )
        page = f"{settings.PUBLIC_URL}/device"
        answer = {
            "device_code": secret,
            "user_code": grant.spelled,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={grant.spelled}",
            "expires_in": settings.DEVICE_CODE_MINUTES * 60,
            "interval": grant.interval,
        }
        return Response(answer, headers=_NEVER_KEPT)


class DeviceTokenView(_OAuthView):
    """The end of a sign-in."""

    @extend_schema(request=DeviceTokenIn, responses={200: DeviceTokenOut, 400: OAuthProblem}, auth=[])
    def post(self, request: Request) -> Response:
        """Return the token once somebody approved; until then 400 with `authorization_pending` or `slow_down`."""
        wanted = DeviceTokenIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        token, secret = services.redeem(wanted.validated_data["device_code"], wanted.validated_data["client_id"])
        answer: dict[str, Any] = {"access_token": secret, "token_type": "Bearer", "scope": " ".join(token.scopes)}
        if token.expires_at is not None:
            answer["expires_in"] = int((token.expires_at - token.created_at).total_seconds())
        return Response(answer, headers=_NEVER_KEPT)


class CurrentTokenView(ApiView):
    """The token that a request is sent with."""

    @extend_schema(responses={204: None, 404: OpenApiResponse(description="it was sent without a token")})
    def delete(self, request: Request) -> Response:
        """Revoke the token that asks; it opens nothing from now on."""
        if not isinstance(request.auth, ApiToken):
            raise Missing(say("This request was sent without an API token."))
        accounts.revoke_token(request.auth, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _no(error: str, detail: str) -> Response:
    return Response({"error": error, "error_description": detail}, 400, headers=_NEVER_KEPT)
