"""What the generated clients say: run in a process of its own, whose path begins with where they were generated.

It reads where to speak on its standard input and ends with an error when an answer is not of the file's type.
"""

from __future__ import annotations

import importlib
import json
import ssl
import sys
from typing import Any

SERVICE = {
    "serName": "hello",
    "version": "1.0",
    "state": "ACTIVE",
    "serializer": "JSON",
    "transportInfo": {
        "id": "t1",
        "name": "rest",
        "type": "REST_HTTP",
        "protocol": "HTTP",
        "version": "1.1",
        "endpoint": {"uris": ["http://10.1.2.3/hello"]},
        "security": {
            "oAuth2Info": {"grantTypes": ["OAUTH2_CLIENT_CREDENTIALS"], "tokenEndpoint": "http://10.1.2.3/token"}
        },
    },
}


class Api:
    """One generated client: `ask("app_services.app_services_get", ...)` returns what the answer was parsed to."""

    def __init__(self, package: str, talk: dict[str, str]) -> None:
        self.package = package
        made = importlib.import_module(f"{package}.client")
        self.client = made.AuthenticatedClient(
            base_url=f"{talk['root']}/mec_{package}/v1",
            token=talk["token"],
            verify_ssl=ssl.create_default_context(cafile=talk["ca"]),
            raise_on_unexpected_status=True,
        )

    def model(self, name: str, raw: dict[str, Any]) -> Any:
        """Return a body as the generated type for it."""
        return getattr(importlib.import_module(f"{self.package}.models"), name).from_dict(raw)

    def ask(self, operation: str, *ids: str, status: int = 200, **more: Any) -> Any:
        """Send a request and return the parsed answer."""
        answer = importlib.import_module(f"{self.package}.api.{operation}").sync_detailed(
            *ids, client=self.client, **more
        )
        assert answer.status_code == status, (operation, answer)
        if status not in (204,):
            expected = "ProblemDetails" if status >= 400 else None
            assert answer.parsed is not None, (operation, answer)
            assert expected is None or type(answer.parsed).__name__ == expected, (operation, answer)
        return answer.parsed


def services(api: Api, app: str) -> None:
    """List, register, update and delete a service; subscribe and unsubscribe."""
    assert api.ask("app_services.app_services_get", app) == []
    made = api.ask(
        "app_services.app_services_post", app, status=201, body=api.model("AppServicesPostBodyType1", SERVICE)
    )
    assert (made.ser_name, made.is_local) == ("hello", True)
    found = api.ask("services.services_get", ser_name=["hello", "other"], is_local=True)
    assert [each.ser_instance_id for each in found] == [made.ser_instance_id]
    assert api.ask("services.services_service_id_get", made.ser_instance_id).to_dict() == made.to_dict()
    made.version = "2.0"
    changed = api.ask("app_services.app_services_service_id_put", app, made.ser_instance_id, body=made)
    assert (changed.version, changed.ser_instance_id) == ("2.0", made.ser_instance_id)
    assert api.ask("transports.transports_get") == []
    wish = {
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": "http://10.1.2.3/changes",
        "_links": {"self": {"href": "http://10.1.2.3/"}},
    }
    subscribe(api, app, api.model("SerAvailabilityNotificationSubscription", wish))
    api.ask("app_services.app_services_service_id_delete", app, made.ser_instance_id, status=204)
    api.ask("app_services.app_services_service_id_get", app, made.ser_instance_id, status=404)


def support(api: Api, app: str) -> None:
    """Get ready, switch rules off and on, subscribe and unsubscribe, ask for the time."""
    ready = api.model("AppReadyConfirmation", {"indication": "READY"})
    api.ask("app_confirm_ready.applications_confirm_ready_post", app, status=204, body=ready)
    for kind, state in (("traffic", "TrafficRuleState"), ("dns", "DnsRuleState")):
        states = getattr(importlib.import_module(f"{api.package}.models"), state)
        where = f"app_{kind}_rules.applications_{kind}_rule"
        (rule,) = api.ask(f"{where}s_get", app)
        key = getattr(rule, f"{kind}_rule_id")
        assert rule.state == states.ACTIVE
        for wanted in (states.INACTIVE, states.ACTIVE):
            rule.state = wanted
            assert api.ask(f"{where}_put", app, key, body=rule).state == wanted
        assert api.ask(f"{where}_get", app, key).to_dict() == rule.to_dict()
        api.ask(f"{where}_get", app, "none", status=404)
    wish = {
        "subscriptionType": "AppTerminationNotificationSubscription",
        "callbackReference": "http://10.1.2.3/goodbye",
        "appInstanceId": app,
        "_links": {"self": {"href": "http://10.1.2.3/"}},
    }
    subscribe(api, app, api.model("AppTerminationNotificationSubscription", wish))
    assert api.ask("timing.timing_current_time_get").seconds > 1_700_000_000
    assert api.ask("timing.timing_caps_get").time_stamp.seconds > 1_700_000_000
    goodbye = api.model("AppTerminationConfirmation", {"operationAction": "TERMINATING"})
    api.ask("app_confirm_termination.applications_confirm_termination_post", app, status=409, body=goodbye)


def subscribe(api: Api, app: str, wish: Any) -> None:
    """Subscribe, find the subscription in the list, read it and end it."""
    where = "app_subscriptions.applications_subscription"
    made = api.ask(f"{where}s_post", app, status=201, body=wish)
    links = api.ask(f"{where}s_get", app).to_dict()["_links"]
    own = made.to_dict()["_links"]["self"]["href"]
    assert own in json.dumps(links)
    key = own.rpartition("/")[2]
    assert api.ask(f"{where}_get", app, key).to_dict() == made.to_dict()
    api.ask(f"{where}_delete", app, key, status=204)
    api.ask(f"{where}_get", app, key, status=404)


if __name__ == "__main__":
    talk = json.load(sys.stdin)
    services(Api("service_mgmt", talk), talk["app"])
    support(Api("app_support", talk), talk["app"])
