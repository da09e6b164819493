"""Where NEF and PCF tell this MEP what became of a rule: `POST /upf/v1/<secret>/<what>`, answered 204.

The secret in the path is what the sender is known by: the standards give notifications no other. It is in no log and in
no answer.
"""

from __future__ import annotations

import hmac
import logging
import re
from typing import Any

import msgspec
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import path

from core.errors import BreakwaterError, Invalid, Missing, TooLarge, Unavailable
from mep.mp1 import http
from mep.upf import services

log = logging.getLogger(__name__)
#: Notifications of NEF and PCF are a few hundred bytes.
MOST_BYTES = 64 << 10
#: No notification of the standards is nested deeper than ten.
DEEPEST = 20
#: `nef`, `pcf/<attempt>/notify`, `pcf/<attempt>/terminate`.
KNOWN = re.compile(r"nef|pcf/[0-9a-f]{8,64}/(notify|terminate)")


def hear(request: HttpRequest, secret: str, what: str) -> HttpResponse:
    """Take one notification."""
    try:
        if not hmac.compare_digest(secret.encode(), services.token().encode()) or not KNOWN.fullmatch(what):
            raise Missing("There is no such resource")
        if request.method != "POST":
            refusal = http.problem(405, "Method not allowed", "Notifications are sent by POST", "method-not-allowed")
            refusal["Allow"] = "POST"
            return refusal
        services.receive(what, read(request.body))
    except BreakwaterError as error:
        return http.refused(error)
    except OperationalError as error:
        log.warning("a notification met a busy database: %s", error)
        return http.refused(Unavailable("The MEP is busy; try again in a moment"))
    return http.empty()


def read(raw: bytes) -> dict[str, Any]:
    """Return the notification; `Invalid` when it is none. Its content type does not matter: some say text/plain."""
    if len(raw) > MOST_BYTES:
        raise TooLarge(f"A notification has at most {MOST_BYTES} bytes")
    try:
        body = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        raise Invalid("The body is not JSON") from None
    if not isinstance(body, dict) or http.deeper_than(DEEPEST, body):
        raise Invalid(f"The body must be a JSON object, at most {DEEPEST} levels deep")
    return body


urlpatterns = [path("<str:secret>/<path:what>", hear)]
