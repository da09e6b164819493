"""The two tables of MEC 011 V3.1.1 with what each row answers, and how one gets each error that it lists."""

from __future__ import annotations

from mep.mp1 import services
from tests.mep.conformance.world import (
    ALWAYS_THERE,
    AVAILABILITY,
    CHANGED,
    INFO,
    MGMT,
    NEVER_EMPTY,
    NO_TOKEN,
    NOBODY_IS_FORBIDDEN,
    NOT_JSON,
    NOT_MINE,
    OWN_OR_FORBIDDEN,
    SUPPORT,
    TERMINATION,
    TOO_LONG,
    UNKNOWN_PARAMETER,
    Row,
    Way,
    World,
    bad_body,
    leave,
    unknown,
)
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, service

OWN = f"{MGMT}/applications/{{app}}"
OURS = f"{SUPPORT}/applications/{{app}}"


def only_for_the_neighbourhood(world: World) -> None:
    """Put the other app into another zone and let the service be for local consumers only."""
    from django.conf import settings

    from mep.mp1 import locality

    settings.ELSEWHERE = locality.regions("127.0.0.0/8")


def take_registration_back(world: World) -> None:
    """Leave the app unregistered."""
    assert world.app.delete(f"{SUPPORT}/registrations/{{app}}").status_code == 204


def become_inactive(world: World) -> None:
    """Let the producer switch its service off."""
    path = world.path(f"{OWN}/services/{{service}}")
    assert world.app.put(path, service(livenessInterval=60, state="INACTIVE")).status_code == 200


SERVICE_MGMT = (
    Row("GET", f"{MGMT}/services", 200, (
        UNKNOWN_PARAMETER,
        Way(400, "two of the exclusive filters are given", {"query": "?ser_name=a&ser_instance_id=b"}),
        NOBODY_IS_FORBIDDEN, NEVER_EMPTY, TOO_LONG,
    )),
    Row("GET", f"{MGMT}/services/{{service}}", 200, (
        UNKNOWN_PARAMETER,
        Way(403, "the service is for local consumers and the asker is elsewhere", before=only_for_the_neighbourhood),
        unknown(service="none"),
    )),
    Row("GET", f"{MGMT}/transports", 200, (UNKNOWN_PARAMETER, NOBODY_IS_FORBIDDEN, NEVER_EMPTY)),
    Row("GET", f"{OWN}/services", 200, (UNKNOWN_PARAMETER, NOT_MINE, OWN_OR_FORBIDDEN, TOO_LONG)),
    Row("POST", f"{OWN}/services", 201, (
        NOT_JSON, UNKNOWN_PARAMETER,
        bad_body("a mandatory attribute is missing", {"serName": "x"}),
        bad_body("an enumeration has no such value", service(serializer="YAML")),
        NOT_MINE, OWN_OR_FORBIDDEN,
        Way(403, "the app is on its way out and may offer nothing new", before=leave),
    ), service(serName="new")),
    Row("GET", f"{OWN}/services/{{service}}", 200, (UNKNOWN_PARAMETER, NOT_MINE, unknown(service="none"))),
    Row("PUT", f"{OWN}/services/{{service}}", 200, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("a mandatory attribute is missing", {"serName": "x"}),
        NOT_MINE, unknown(service="none"), CHANGED,
    ), service(version="2", livenessInterval=60)),
    Row("DELETE", f"{OWN}/services/{{service}}", 204, (UNKNOWN_PARAMETER, NOT_MINE, unknown(service="none"))),
    Row("GET", f"{OWN}/subscriptions", 200, (UNKNOWN_PARAMETER, NOT_MINE, OWN_OR_FORBIDDEN)),
    Row("POST", f"{OWN}/subscriptions", 201, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("the callback is missing", {**AVAILABILITY, "callbackReference": None}),
        bad_body("the criteria name services in two ways", {
            **AVAILABILITY, "filteringCriteria": {"serNames": ["a"], "serInstanceIds": ["b"]}
        }),
        NOT_MINE, OWN_OR_FORBIDDEN,
    ), AVAILABILITY),
    Row("GET", f"{OWN}/subscriptions/{{availability}}", 200, (UNKNOWN_PARAMETER, NOT_MINE, unknown(availability="none"))),
    Row("DELETE", f"{OWN}/subscriptions/{{availability}}", 204, (
        UNKNOWN_PARAMETER, NOT_MINE, unknown(availability="none"),
    )),
    Row("GET", f"{OWN}/services/{{service}}/liveness", 200, (UNKNOWN_PARAMETER, NOT_MINE, unknown(service="none"))),
    Row("PATCH", f"{OWN}/services/{{service}}/liveness", 200, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("a heartbeat says something else than ACTIVE", {"state": "SUSPENDED"}),
        NOT_MINE, unknown(service="none"), CHANGED,
        Way(409, "the service is INACTIVE", before=become_inactive),
    ), {"state": "ACTIVE"}),
)  # fmt: skip

APP_SUPPORT = (
    Row("GET", f"{OURS}/subscriptions", 200, (UNKNOWN_PARAMETER, NOT_MINE, OWN_OR_FORBIDDEN)),
    Row("POST", f"{OURS}/subscriptions", 201, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("appInstanceId is missing", {**TERMINATION, "appInstanceId": None}),
        NOT_MINE, Way(403, "it is about the end of another app", {"body": {**TERMINATION, "appInstanceId": "app-2"}}),
        OWN_OR_FORBIDDEN,
    ), TERMINATION),
    Row("GET", f"{OURS}/subscriptions/{{termination}}", 200, (UNKNOWN_PARAMETER, NOT_MINE, unknown(termination="none"))),
    Row("DELETE", f"{OURS}/subscriptions/{{termination}}", 204, (
        UNKNOWN_PARAMETER, NOT_MINE, unknown(termination="none"),
    )),
    Row("GET", f"{OURS}/traffic_rules", 200, (UNKNOWN_PARAMETER, NOT_MINE, OWN_OR_FORBIDDEN)),
    Row("GET", f"{OURS}/traffic_rules/{{traffic}}", 200, (UNKNOWN_PARAMETER, NOT_MINE, unknown(traffic="none"))),
    Row("PUT", f"{OURS}/traffic_rules/{{traffic}}", 200, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("the priority is out of range", {**TRAFFIC_RULE, "priority": 256}),
        bad_body("a DROP rule has a destination", {**TRAFFIC_RULE, "action": "DROP"}),
        NOT_MINE,
        Way(403, "nobody approved so early a priority", {"body": {**TRAFFIC_RULE, "priority": 1}}),
        unknown(traffic="none"), CHANGED,
    ), {**TRAFFIC_RULE, "state": "INACTIVE"}),
    Row("GET", f"{OURS}/dns_rules", 200, (UNKNOWN_PARAMETER, NOT_MINE, OWN_OR_FORBIDDEN)),
    Row("GET", f"{OURS}/dns_rules/{{dns}}", 200, (UNKNOWN_PARAMETER, NOT_MINE, unknown(dns="none"))),
    Row("PUT", f"{OURS}/dns_rules/{{dns}}", 200, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("the address is none", {**DNS_RULE, "ipAddress": "10.1.2"}),
        NOT_MINE,
        Way(403, "the management did not allow this name", {"body": {**DNS_RULE, "domainName": "bank.example"}}),
        unknown(dns="none"), CHANGED,
    ), {**DNS_RULE, "state": "INACTIVE"}),
    Row("POST", f"{OURS}/confirm_ready", 204, (
        NOT_JSON, bad_body("the indication is none", {"indication": "SOON"}),
        NO_TOKEN, NOT_MINE, OWN_OR_FORBIDDEN, Way(409, "the app is on its way out", before=leave),
    ), {"indication": "READY"}),
    Row("POST", f"{OURS}/confirm_termination", 204, (
        NOT_JSON, bad_body("it is not what was announced", {"operationAction": "STOPPING"}),
        NO_TOKEN, NOT_MINE, OWN_OR_FORBIDDEN,
        Way(409, "there is no termination ongoing", before=lambda world: services.provision("app-1", app_name="app-1")),
    ), {"operationAction": "TERMINATING"}, before=leave),
    Row("GET", f"{SUPPORT}/timing/timing_caps", 200, (UNKNOWN_PARAMETER, NOBODY_IS_FORBIDDEN, ALWAYS_THERE)),
    Row("GET", f"{SUPPORT}/timing/current_time", 200, (UNKNOWN_PARAMETER, NOBODY_IS_FORBIDDEN, ALWAYS_THERE)),
    Row("POST", f"{SUPPORT}/registrations", 201, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("the endpoint is missing", {"appName": "hello"}), NO_TOKEN,
        Way(403, "an app registers only itself", {"body": {**INFO, "appInstanceId": "app-2"}}),
        Way(403, "it is registered already", before=lambda world: world.app.post(f"{SUPPORT}/registrations", INFO)),
        Way(401, "an app that the platform does not know has no token", {"headers": {"Authorization": "Bearer x.y.z"}},
            instead_of=404),
    ), INFO, before=take_registration_back),
    Row("GET", f"{SUPPORT}/registrations/{{app}}", 200, (
        UNKNOWN_PARAMETER, NO_TOKEN, NOT_MINE, Way(404, "it is not registered", before=take_registration_back),
    )),
    Row("PUT", f"{SUPPORT}/registrations/{{app}}", 204, (
        NOT_JSON, UNKNOWN_PARAMETER, bad_body("the name is missing", {"endpoint": INFO["endpoint"]}), NO_TOKEN, NOT_MINE,
        Way(404, "it is not registered", before=take_registration_back),
    ), {**INFO, "appName": "world"}),
    Row("DELETE", f"{SUPPORT}/registrations/{{app}}", 204, (
        UNKNOWN_PARAMETER, NO_TOKEN, NOT_MINE, Way(404, "it is not registered", before=take_registration_back),
    )),
)  # fmt: skip
ROWS = (*SERVICE_MGMT, *APP_SUPPORT)
_R, _A = {400, 403, 404}, {400, 401, 403, 404}
#: Which errors the tables list, written down a second time from the standard, so that no row can forget one.
LISTED: dict[str, set[int]] = {
    f"GET {MGMT}/services": _R | {414},
    f"GET {OWN}/services": _R | {414},
    f"PUT {OWN}/services/{{service}}": _R | {412},
    f"PATCH {OWN}/services/{{service}}/liveness": _R | {409, 412},
    f"PUT {OURS}/traffic_rules/{{traffic}}": _R | {412},
    f"PUT {OURS}/dns_rules/{{dns}}": _R | {412},
    f"POST {OURS}/confirm_ready": {401, 403, 404, 409, 429},
    f"POST {OURS}/confirm_termination": {401, 403, 404, 409, 429},
    f"POST {SUPPORT}/registrations": _A,
    f"GET {SUPPORT}/registrations/{{app}}": _A,
    f"PUT {SUPPORT}/registrations/{{app}}": _A,
    f"DELETE {SUPPORT}/registrations/{{app}}": _A,
}
USUAL = _R
