"""From an app's rule to the 5G core and back: the loop of `mp1`, a real NEF or PCF, and the notification endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from mep.mp1.models import TrafficRule as Row
from mep.mp1.watch import Watch
from mep.upf import services
from tests.mep.conftest import TRAFFIC_RULE, Mp1
from tests.upf.core5g.conftest import ROUTES, UE, nef_options
from tests.upf.core5g.peers import Bsf, Nef, Pcf
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
TO_EDGE = {**TRAFFIC_RULE, "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}]}
OF_ONE_UE = {**TO_EDGE, "trafficFilter": [{"srcAddress": [UE], "dstAddress": ["203.0.113.5"]}]}


def told() -> tuple[str, str]:
    row = Row.objects.get()
    return row.enforcement, row.reason


def tell(url: str, body: Any) -> None:
    answer = Client().generic("POST", urlsplit(url).path, json.dumps(body), content_type="application/json")
    assert answer.status_code == 204, answer.content


@pytest.fixture
def steer(settings: Any, tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    running: list[Watch] = []

    def start(name: str, options: dict[str, Any]) -> Watch:
        file = tmp_path / "upf.json"
        file.write_text(json.dumps(options))
        settings.UPF, settings.UPF_CONFIG = name, str(file)
        running.append(Watch())
        running[-1].start()
        return running[-1]

    yield start
    for each in running:
        each.stop()
        each.adapter.close()


def without_callback(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("notification_url", "state_file")}


def test_a_nef_gets_the_rule_and_its_news_are_acknowledged(
    speak: Callable[..., Mp1], nef: Nef, steer: Callable[..., Watch]
) -> None:
    speak("app-1", traffic_rules=[TO_EDGE])
    steer("nef", without_callback(nef_options(nef, acknowledge=True)))
    until(lambda: told() == ("in-force", ""))
    (subscription,) = nef.subscriptions.values()
    assert subscription["notificationDestination"] == services.notification_url() + "/nef"
    news = {
        "afTransId": subscription["afTransId"],
        "dnaiChgType": "EARLY",
        "subscribedEvent": "UP_PATH_CHANGE",
        "targetTrafficRoute": {"dnai": "edge-dnai-1", "routeInfo": {"portNumber": 0}},
        "afAckUri": f"{nef.url}/ack/1",
    }
    tell(subscription["notificationDestination"], news)
    until(lambda: nef.acks)
    assert nef.acks[0]["ackResult"]["afStatus"] == "SUCCESS"
    until(lambda: services.events()[0]["state"] == "taken")
    assert services.events()[0]["answer"] == nef.acks[0]


def test_a_session_that_the_pcf_ended_is_made_again(
    speak: Callable[..., Mp1], bsf: Bsf, pcf: Pcf, steer: Callable[..., Watch]
) -> None:
    speak("app-1", traffic_rules=[OF_ONE_UE])
    steer("pcf", {"bsf": bsf.url, "routes": ROUTES, "retry_first": 0.05})
    until(lambda: told() == ("in-force", ""))
    (first,) = pcf.sessions
    address = pcf.sessions[first]["ascReqData"]["notifUri"]
    assert address.startswith(services.notification_url() + "/pcf/")
    # The UE leaves: the BSF knows no PCF for it any more. The session stays at the PCF until we end it, as TS 29.514 has it;
    # were it gone before we are told, a look at the sessions might make it anew first.
    bsf.bindings.clear()
    tell(address + "/terminate", {"termCause": "PDU_SESSION_TERMINATION", "resUri": f"{pcf.url}/x/{first}"})
    until(lambda: told()[0] == "pending")
    assert pcf.sessions == {}
    bsf.bindings[UE] = pcf.url
    until(lambda: told() == ("in-force", ""))
    assert set(pcf.sessions) == {"2"}
    assert (services.events()[0]["from"], services.events()[0]["about"]) == ("pcf", "terminate")


def test_a_rule_that_the_core_cannot_express_is_refused_with_the_nearest(
    speak: Callable[..., Mp1], nef: Nef, steer: Callable[..., Watch]
) -> None:
    speak("app-1", traffic_rules=[{**TO_EDGE, "action": "DUPLICATE_DECAPSULATED"}])
    steer("nef", without_callback(nef_options(nef)))
    until(lambda: told()[0] == "refused")
    assert told()[1] == (
        "the user plane nef has no DUPLICATE_DECAPSULATED; the nearest it can do: FORWARD_DECAPSULATED"
    )
    assert nef.subscriptions == {}
