"""What an operator changes of rules at the centre is what packets and DNS queries meet at the node.

A centre and a whole node as processes, the link between them, and a node whose user plane is the kernel of a namespace:
the UE's datagrams are answered by whoever they were steered to.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import httpx
import pytest

from tests.flows import edgelab
from tests.flows.edgelab import chart
from tests.ports import free_port
from tests.upf.lab import SILENCE, Helper, needs_lab
from tests.upf.lab import Lab as Packets
from tests.waiting import until

pytestmark = [pytest.mark.live, needs_lab]

SERVER, OTHER = "203.0.113.5", "203.0.113.6"
VIDEO = {
    "trafficRuleId": "video", "filterType": "FLOW", "priority": 20, "action": "FORWARD_DECAPSULATED",
    "trafficFilter": [{"dstAddress": ["203.0.113.0/24"], "protocol": ["UDP"]}],
    "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}],
}  # fmt: skip
NAME = {
    "dnsRuleId": "name",
    "domainName": "video.example",
    "ipAddressType": "IP_V4",
    "ipAddress": "10.60.0.2",
    "ttl": 30,
}
CREDENTIALS = """
import json
from mep.mp1.models import App
from mep.mp1.services import secret_purpose, vault
app = App.objects.get(pk="%s")
print(json.dumps([app.client_id, vault().open(bytes(app.secret), secret_purpose(app.pk)).decode()]))
"""


class Steered:
    """An application that runs on the node and is ready, the packets of a UE, and what the centre can do to its rules."""

    def __init__(self, lab: edgelab.Lab, packets: Packets, dns_port: int, mp1_port: int) -> None:
        self.lab, self.packets, self._dns_port, self._mp1_port = lab, packets, dns_port, mp1_port
        self.app = lab.ask("deploy", name="video", chart=chart().hex(), traffic=[VIDEO], dns=[NAME])
        lab.until_reported(self.app, "ready", timeout=60)
        self._get_ready()

    def _get_ready(self) -> None:
        """Say on Mp1 what the application says once it is up: only then do the rules of its package count."""
        instance = self.lab.ask("instance", deployment=self.app)
        told = self.lab.run_edge("shell", "--no-imports", "-c", CREDENTIALS % instance)
        assert told.returncode == 0, told.stderr
        trust = ssl.create_default_context(cafile=str(self.lab.folder / "edge" / "tls" / "ca.pem"))
        with httpx.Client(
            base_url=f"https://localhost:{self._mp1_port}", verify=trust, trust_env=False, timeout=60
        ) as mp1:
            grant = mp1.post(
                "/mep/token", data={"grant_type": "client_credentials"}, auth=tuple(json.loads(told.stdout))
            )
            said = mp1.post(
                f"/mec_app_support/v1/applications/{instance}/confirm_ready",
                json={"indication": "READY"},
                headers={"Authorization": f"Bearer {grant.json()['access_token']}"},
            )
        assert said.status_code == 204, said.text

    def operator(self, deed: str, name: str, **wanted: Any) -> None:
        """Change a rule at the centre, and wait until the node has said that it heeded that."""
        generation = self.lab.ask("steer", deployment=self.app, deed=deed, name=name, **wanted)

        def heeded() -> bool:
            told = self.lab.reported(self.app, kind="rules")
            return bool(told and (told["observed_generation"], told["status"]["state"]) == (generation, "applied"))

        until(heeded, 60, what=f"the node to heed generation {generation}")

    def until_answers(self, to: str, wanted: list[str]) -> None:
        """Wait until datagrams of the UE are answered by these, for a packet takes its way a moment after the wish."""
        until(
            lambda: self.packets.ask(to, wait=2 if wanted else SILENCE) == wanted,
            60,
            what=f"{wanted or 'nobody'} to answer at {to}",
        )

    def resolve(self, name: str) -> list[str]:
        """Ask the node's responder for an IPv4 address by UDP."""
        query = dns.message.make_query(name, dns.rdatatype.A)
        answer = dns.query.udp(query, "127.0.0.1", timeout=30, port=self._dns_port)
        return [str(record) for each in answer.answer for record in each]


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    folder = tmp_path_factory.mktemp("rules")
    dns_port, mp1_port = free_port(), free_port()
    with Packets((4000,)) as packets:
        helper = Helper(packets, folder)
        options = folder / "upf.json"
        options.write_text(json.dumps({"socket": str(helper.socket)}))
        edge = {
            "MEP_LINK_PAUSE": "1", "MEP_MP1_PORT": str(mp1_port), "MEP_MP1_BIND": "127.0.0.1",
            "MEP_UPF": "nftables", "MEP_UPF_CONFIG": str(options), "MEP_DNS_PORT": str(dns_port),
            "MEP_DNS_BIND": "127.0.0.1",
        }  # fmt: skip
        with edgelab.Lab(folder / "lab", edge=edge) as lab:
            lab.start_centre()
            lab.start_agent("edge")
            joined = lab.enrol()
            assert joined.returncode == 0, joined.stderr
            yield Steered(lab, packets, dns_port, mp1_port)


def test_packets_go_where_the_operator_says_and_the_old_way_once_the_rule_is_given_back(steered: Steered) -> None:
    steered.until_answers(SERVER, ["app"])
    assert steered.packets.ask(OTHER) == ["app"]

    narrow = {**VIDEO, "trafficFilter": [{"dstAddress": [SERVER], "protocol": ["UDP"]}]}
    steered.operator("set", "video", rule=narrow)
    steered.until_answers(OTHER, ["internet"])
    assert steered.packets.ask(SERVER) == ["app"]

    steered.operator("set", "video", rule={**VIDEO, "action": "DROP", "dstInterface": None})
    steered.until_answers(SERVER, [])
    assert steered.packets.ask(OTHER, wait=SILENCE) == []

    steered.operator("set", "video", state="INACTIVE")
    steered.until_answers(SERVER, ["internet"])

    steered.operator("reset", "video")
    steered.until_answers(SERVER, ["app"])
    assert steered.packets.ask(OTHER) == ["app"]


def test_a_rule_that_the_operator_adds_takes_packets_and_leaves_them_when_it_goes(steered: Steered) -> None:
    steered.until_answers(SERVER, ["app"])
    past = {**VIDEO, "priority": 5, "action": "PASSTHROUGH", "trafficFilter": [{"dstAddress": [SERVER]}]}
    steered.operator("add", "past", rule={**past, "dstInterface": None}, state="ACTIVE")
    steered.until_answers(SERVER, ["internet"])
    assert steered.packets.ask(OTHER) == ["app"]
    seen = until(lambda: steered.lab.ask("rules_of", deployment=steered.app)["past"], what="the centre to hear of it")
    assert (seen["source"], seen["outcome"]) == ("added", "applied")
    steered.operator("remove", "past")
    steered.until_answers(SERVER, ["app"])


def test_the_responder_answers_what_the_operator_says(steered: Steered) -> None:
    until(lambda: steered.resolve("video.example") == ["10.60.0.2"], 60, what="the package's answer")
    steered.operator("set", "name", kind="dns", rule={**NAME, "ipAddress": "10.60.0.3"})
    until(lambda: steered.resolve("video.example") == ["10.60.0.3"], 60, what="the operator's answer")
    steered.operator("add", "more", kind="dns", rule={**NAME, "domainName": "more.example"}, state="ACTIVE")
    until(lambda: steered.resolve("more.example") == ["10.60.0.2"], 60, what="the answer of the rule that was added")
    steered.operator("reset", "name", kind="dns")
    until(lambda: steered.resolve("video.example") == ["10.60.0.2"], 60, what="the package's answer again")
    steered.operator("remove", "more", kind="dns")
    until(lambda: steered.resolve("more.example") == [], 60, what="nobody to know the name that was taken away")
