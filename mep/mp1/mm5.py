"""The management API of the platform (Mm5) over HTTP, for a centre that reaches the node directly.

Bearer `MEP_MM5_TOKEN`; without that setting it is off. Bodies use the member names of the application descriptor.
"""

from __future__ import annotations

import hmac
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import path

from core.errors import Denied, Invalid, Missing
from mep.mp1 import certificates, mtls, overrides, rules, services, tls
from mep.mp1.http import Call, Open, answer, empty
from mep.mp1.models import App
from mep.mp1.states import Action
from mep.mp1.tokens import BadToken, bearer


def provision(call: Call, app: str) -> HttpResponse:
    """PUT /mm5/v1/app_instances/{appInstanceId}: the same credentials each time"""
    _management(call)
    body = _object(call.json)
    known = services.provision(
        app,
        app_name=_text(body, "appName"),
        app_provider=_text(body, "appProvider"),
        app_d_id=_text(body, "appDId"),
        app_soft_version=_text(body, "appSoftVersion"),
        app_d_version=_text(body, "appDVersion"),
        namespace=_text(body, "namespace"),
        services={
            "required": _list(body, "appServiceRequired"),
            "optional": _list(body, "appServiceOptional"),
            "produced": _list(body, "appServiceProduced"),
        },
        traffic_rules=_list(body, "appTrafficRule"),
        dns_rules=_list(body, "appDNSRule"),
    )
    found = {"appInstanceId": app, "clientId": known.client_id, "clientSecret": known.client_secret}
    return answer({**found, **_info()}, Cache_Control="no-store")


def instance(call: Call, app: str) -> HttpResponse:
    """GET /mm5/v1/app_instances/{appInstanceId}"""
    _management(call)
    found = App.objects.filter(pk=app).first()
    if found is None:
        raise Missing(f"There is no app instance {app}")
    return answer({**services.describe(found), "terminationOver": services.termination_over(app)})


def terminate(call: Call, app: str) -> HttpResponse:
    """POST /mm5/v1/app_instances/{appInstanceId}/terminate: announced, not waited for"""
    _management(call)
    body = _object(call.json) if call.request.body else {}
    grace = body.get("gracefulTerminationTimeout")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int | float)):
        raise Invalid("gracefulTerminationTimeout must be a number of seconds")
    services.begin_termination(app, action=body.get("operationAction", Action.TERMINATING), timeout=grace)
    return answer({"appInstanceId": app, "terminationOver": services.termination_over(app)}, 202)


def discard(call: Call, app: str) -> HttpResponse:
    """DELETE /mm5/v1/app_instances/{appInstanceId}: gone already is fine"""
    _management(call)
    services.discard(app)
    return empty()


def wish_rules(call: Call, app: str) -> HttpResponse:
    """PUT /mm5/v1/app_instances/{appInstanceId}/rules: what the centre wants of them, and what became of it"""
    _management(call)
    body = _object(call.json)
    generation = body.get("generation")
    if not isinstance(generation, int) or isinstance(generation, bool) or generation < 0:
        raise Invalid("generation must be a number", errors=[{"field": "generation", "detail": "must be a number"}])
    return answer(rules.told(rules.wish(app, generation, body)))


def unwish_rules(call: Call, app: str) -> HttpResponse:
    """DELETE /mm5/v1/app_instances/{appInstanceId}/rules: as the descriptor says again; gone already is fine"""
    _management(call)
    rules.unwish(app)
    return empty()


def state(call: Call) -> HttpResponse:
    """GET /mm5/v1/state: what the platform holds, the centre's wishes for rules among it"""
    _management(call)
    found = services.snapshot()
    apps = {each["appInstanceId"] for each in found["apps"]}
    return answer({**found, "rule_wishes": overrides.held(apps)})


def info(call: Call) -> HttpResponse:
    """GET /mm5/v1/info: how apps reach this MEP"""
    _management(call)
    return answer(_info())


def certify(call: Call, app: str) -> HttpResponse:
    """POST /mm5/v1/app_instances/{appInstanceId}/certificate: `csr` or nothing: one is issued; `x5t#S256`: it is named"""
    _management(call)
    body = _object(call.json) if call.request.body else {}
    if set(body) - {"csr", mtls.METHOD} or len(body) > 1:
        raise Invalid(f"The body may have either csr or {mtls.METHOD}")
    if mtls.METHOD in body:
        certificates.require(app, _text(body, mtls.METHOD))
        return empty()
    return answer(certificates.described(certificates.issue(app, _text(body, "csr"))), 201, Cache_Control="no-store")


def uncertify(call: Call, app: str) -> HttpResponse:
    """DELETE /mm5/v1/app_instances/{appInstanceId}/certificate: the app may do without again"""
    _management(call)
    certificates.lift(app)
    return empty()


def _info() -> dict[str, str]:
    return {"url": settings.API_ROOT, "tokenUrl": f"{settings.API_ROOT}/mep/token", "caCert": tls.ca_pem()}


def _management(call: Call) -> None:
    if not settings.MM5_TOKEN:
        raise Denied("The management API of this MEP is switched off; MEP_MM5_TOKEN switches it on")
    shown = bearer(call.request.headers.get("Authorization", ""))
    if not hmac.compare_digest(shown.encode(), settings.MM5_TOKEN.encode()):
        raise BadToken("This is not the token of the management API")


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Invalid("The body must be an object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = "" if body.get(name) is None else body[name]
    if not isinstance(value, str):
        raise Invalid(f"{name} must be a text", errors=[{"field": name, "detail": "must be a text"}])
    return value


def _list(body: dict[str, Any], name: str) -> list[Any]:
    value = [] if body.get(name) is None else body[name]
    if not isinstance(value, list):
        raise Invalid(f"{name} must be a list", errors=[{"field": name, "detail": "must be a list"}])
    return value


urlpatterns = [
    path("app_instances/<str:app>", Open(put=provision, get=instance, delete=discard, query=True)),
    path("app_instances/<str:app>/terminate", Open(post=terminate, query=True)),
    path("app_instances/<str:app>/certificate", Open(post=certify, delete=uncertify, query=True)),
    path("app_instances/<str:app>/rules", Open(put=wish_rules, delete=unwish_rules, query=True)),
    path("state", Open(get=state, query=True)),
    path("info", Open(get=info, query=True)),
]
