"""POST /registrations (new in V3.1.1) for apps that the MEC management instantiated, and for those that it did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.mep.conformance.world import MGMT, SUPPORT
from tests.mep.conftest import Mp1, service

OWN = f"{MGMT}/applications/{{app}}"
INFO = {
    "appName": "guest",
    "endpoint": {"addresses": [{"host": "192.0.2.7", "port": 8443}]},
    "appServiceRequired": [{"serName": "rnis", "version": "2"}],
    "isInsByMec": False,
}


def test_nobody_gets_in_who_was_not_admitted(db: None) -> None:
    assert Client().post(f"{SUPPORT}/registrations", INFO, content_type="application/json").status_code == 401


def test_an_operator_admits_an_app_over_mm5_and_it_registers_with_its_endpoint(db: None, settings: Any) -> None:
    settings.MM5_TOKEN = "management"
    client = Client(headers={"Host": "mep:8443"})
    admitted = client.put(
        "/mm5/v1/app_instances/guest",
        {"appName": "guest"},  # no descriptor is there, so none is named
        content_type="application/json",
        headers={"Authorization": "Bearer management"},
    ).json()
    token = client.post(
        "/mep/token",
        f"grant_type=client_credentials&client_id={admitted['clientId']}&client_secret={admitted['clientSecret']}",
        content_type="application/x-www-form-urlencoded",
    ).json()["access_token"]
    app = Mp1("guest", token)
    made = app.post(f"{SUPPORT}/registrations", INFO)
    assert made.status_code == 201, made.content
    assert made.json() == {**INFO, "appInstanceId": "guest"}
    assert app.post(f"{SUPPORT}/applications/{{app}}/confirm_ready", {"indication": "READY"}).status_code == 204
    assert app.post(f"{OWN}/services", service()).status_code == 201
    assert app.delete(f"{SUPPORT}/registrations/guest").status_code == 204
    assert app.get(f"{OWN}/services").json() == []


def test_a_guest_does_not_pass_for_one_of_the_management(speak: Callable[..., Mp1]) -> None:
    refused = speak("guest").post(f"{SUPPORT}/registrations", {**INFO, "isInsByMec": True})
    assert refused.status_code == 400
    assert "admitted by the operator" in refused.json()["detail"]


@pytest.mark.parametrize("said", [None, False, True])
def test_of_an_app_with_a_descriptor_the_management_knows_whose_it_is(
    speak: Callable[..., Mp1], said: bool | None
) -> None:
    app = speak("ours", app_d_id="descriptor-7")
    made = app.post(f"{SUPPORT}/registrations", {"appName": "ours", "isInsByMec": said})
    assert made.status_code == 201, made.content
    assert (made.json()["isInsByMec"], made.json()["appDId"]) == (True, "descriptor-7")
