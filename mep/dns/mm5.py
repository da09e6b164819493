"""The management of DNS scopes over Mm5, beside `mep.mp1.mm5` and with the same token."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path

from core.errors import Invalid
from mep.dns import services
from mep.mp1 import mm5
from mep.mp1.http import Call, Open, answer, empty


def scopes(call: Call) -> HttpResponse:
    """GET /mm5/v1/dns_scopes"""
    mm5._management(call)
    return answer(services.scopes())


def scope(call: Call, name: str) -> HttpResponse:
    """GET /mm5/v1/dns_scopes/{name}"""
    mm5._management(call)
    return answer(services.describe_scope(services.find_scope(name)))


def put_scope(call: Call, name: str) -> HttpResponse:
    """PUT /mm5/v1/dns_scopes/{name}: kind and networks; the same again changes nothing"""
    mm5._management(call)
    body = _object(call)
    kind, networks = body.get("kind"), body.get("networks")
    if not isinstance(kind, str):
        raise Invalid("kind must be a text", errors=[{"field": "kind", "detail": "must be a text"}])
    if not isinstance(networks, list):
        raise Invalid("networks must be a list", errors=[{"field": "networks", "detail": "must be a list"}])
    return answer(services.describe_scope(services.put_scope(name, kind=kind, networks=networks)))


def delete_scope(call: Call, name: str) -> HttpResponse:
    """DELETE /mm5/v1/dns_scopes/{name}: gone already is fine"""
    mm5._management(call)
    services.delete_scope(name)
    return empty()


def rule_scope(call: Call, app: str, rule_id: str) -> HttpResponse:
    """PUT /mm5/v1/app_instances/{appInstanceId}/dns_rules/{dnsRuleId}/scope: who gets the answer of the rule"""
    mm5._management(call)
    wanted = _object(call).get("scope")
    if not isinstance(wanted, str):
        raise Invalid("scope must be a text", errors=[{"field": "scope", "detail": "must be a text"}])
    rule = services.set_rule_scope(app, rule_id, wanted)
    return answer({"appInstanceId": app, "dnsRuleId": rule.rule_id, "scope": rule.scope})


def resolve(call: Call) -> HttpResponse:
    """GET /mm5/v1/dns_query?name=&type=&source=: what a client would be answered, and why"""
    mm5._management(call)
    asked = call.request.GET
    found = services.resolve(asked.get("name", ""), asked.get("type", "A"), asked.get("source", ""))
    return answer(
        {
            "outcome": found.outcome,
            "scope": found.scope,
            "scopeKind": found.scope_kind,
            "rules": found.rules,
            "addresses": found.addresses,
            "text": found.text,
        }
    )


def _object(call: Call) -> dict[str, Any]:
    body = call.json
    if not isinstance(body, dict):
        raise Invalid("The body must be an object")
    return body


urlpatterns = [
    path("dns_scopes", Open(get=scopes, query=True)),
    path("dns_scopes/<str:name>", Open(get=scope, put=put_scope, delete=delete_scope, query=True)),
    path("dns_query", Open(get=resolve, query=True)),
    path("app_instances/<str:app>/dns_rules/<str:rule_id>/scope", Open(put=rule_scope, query=True)),
]
