"""Every message that we write, with every element that we write somewhere in it; for the oracles to read."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec

from tests.upf.pfcp.conftest import options
from upf_adapter.contract import TrafficRule
from upf_adapter.pfcp import messages, plan
from upf_adapter.pfcp.compile import Compiler, Image
from upf_adapter.pfcp.messages import Kind
from upf_adapter.pfcp.options import Options, read
from upf_adapter.pfcp.plan import Writer
from upf_adapter.pfcp.session import own_f_seid
from upf_adapter.pfcp.wire import Ie, Tunnel, f_seid, message, node_id, octet

RECOVERY = 3_900_000_001
FILTER = {"srcAddress": ["10.45.0.2"], "dstAddress": ["203.0.113.5"], "protocol": ["UDP"], "dstPort": ["4000-4010"]}
TUNNEL = {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "198.51.100.9"}}
TUNNEL6 = {
    "interfaceType": "TUNNEL",
    "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "2001:db8::9", "tunnelSpecificData": {"teid": 0x99}},
}
RULES = (
    TrafficRule(
        "app/forward", "FLOW", 1, (FILTER, {**FILTER, "dSCP": 46}),
        "FORWARD_DECAPSULATED", ({"interfaceType": "IP", "dstIpAddress": "10.60.0.2"},),
    ),
    TrafficRule("app/tunnel", "FLOW", 2, ({**FILTER, "qCI": 9},), "FORWARD_ENCAPSULATED", (TUNNEL,)),
    TrafficRule("app/tunnel6", "FLOW", 3, ({**FILTER, "dstPort": ["5"]},), "FORWARD_ENCAPSULATED", (TUNNEL6,)),
    TrafficRule("app/copy", "PACKET", 4, ({"dstAddress": ["203.0.113.0/24"]},), "DUPLICATE_ENCAPSULATED", (TUNNEL,)),
    TrafficRule("app/pass", "PACKET", 5, ({"protocol": ["ICMP"]},), "PASSTHROUGH"),
    TrafficRule("app/drop", "FLOW", 6, ({"protocol": ["GRE"]},), "DROP"),
)  # fmt: skip
IPV6 = {
    "peer": "::1",
    "bind": "::1",
    "sessions": [
        {
            "ue": ["2001:db8:45::/64"],
            "radio": {"address": "2001:db8:7::7", "teid": 78},
            "access": {"address": "2001:db8:8::8", "teid": 79},
        }
    ],
}
RULES6 = (TrafficRule("app/drop6", "FLOW", 6, ({"dstAddress": ["2001:db8:c::/48"], "tC": 184},), "DROP"),)


def settings(**changes: object) -> Options:
    """Return options under which every element is written."""
    base = {"qfis": {"9": 5}, "tunnels": {"198.51.100.9": 0xABCDEF01}, "duplicate": True, "access_instance": "access"}
    return msgspec.convert(options(**{**base, **changes}), Options)


def establishment(rules: tuple[TrafficRule, ...], chosen: Options, sequence: int = 1) -> bytes:
    """Return the Session Establishment Request for these rules, all in one message."""
    writer, wanted = prepared(rules, chosen)
    body = plan.join([writer.write(change) for change in plan.changes({}, wanted)])
    ours = own_f_seid(0x1122334455667788, ip_address("::1" if ":" in chosen.peer else "127.0.0.1"))
    return message(Kind.ESTABLISH, sequence, node_id(chosen.bind) + f_seid(ours) + body + octet(Ie.PDN_TYPE, 1), seid=0)


def prepared(rules: tuple[TrafficRule, ...], chosen: Options) -> tuple[Writer, dict[str, Image]]:
    """Return a writer and what the first session has to hold."""
    reading = read(chosen)
    site = reading.sites[0]
    return Writer(site, chosen), Compiler(site, chosen, reading).rules(rules)


def modification(chosen: Options, sequence: int = 2) -> bytes:
    """Return a Session Modification Request that removes, creates, updates and queries."""
    writer, before = prepared(RULES, chosen)
    plan.join([writer.write(change) for change in plan.changes({}, before)])
    writer.keep()
    writer.chosen(Tunnel(0x1001, ip_address("127.0.0.1")))
    elsewhere = {**TUNNEL, "tunnelInfo": {**TUNNEL["tunnelInfo"], "tunnelSpecificData": {"teid": 5}}}  # type: ignore[dict-item]
    changed = [
        TrafficRule(
            "app/forward", "FLOW", 1, ({**FILTER, "protocol": ["TCP"]},), RULES[0].action, RULES[0].destinations
        ),
        TrafficRule("app/tunnel", "FLOW", 2, RULES[1].filters, RULES[1].action, (elsewhere,)),
        TrafficRule("app/copy", "PACKET", 4, RULES[3].filters, RULES[3].action, (elsewhere,)),
        TrafficRule("app/new", "FLOW", 200, ({"dstPort": ["53"]},), "DROP"),
    ]
    _, after = prepared(tuple(changed), chosen)
    body = plan.join([writer.write(change) for change in plan.changes(before, after)])
    return message(Kind.MODIFY, sequence, body + plan.query_urr(1), seid=0x8877665544332211)


def everything() -> dict[str, bytes]:
    """Return the messages by what they are."""
    return {
        "heartbeat": message(Kind.HEARTBEAT, 0xFFFFFF, messages.heartbeat(RECOVERY)),
        "heartbeat answer": message(Kind.HEARTBEAT_ANSWER, 1, messages.heartbeat(RECOVERY)),
        "setup": message(Kind.SETUP, 3, messages.setup("192.0.2.1", RECOVERY)),
        "setup by name": message(Kind.SETUP, 3, messages.setup("mep.edge.example", RECOVERY)),
        "setup over IPv6": message(Kind.SETUP, 3, messages.setup("2001:db8::1", RECOVERY)),
        "setup answer": message(Kind.SETUP_ANSWER, 4, messages.setup_answer("192.0.2.1", RECOVERY)),
        "update answer": message(Kind.UPDATE_ANSWER, 5, messages.answer("192.0.2.1")),
        "release": message(Kind.RELEASE, 6, node_id("192.0.2.1")),
        "release answer": message(Kind.RELEASE_ANSWER, 7, messages.answer("192.0.2.1")),
        "node report answer": message(Kind.NODE_REPORT_ANSWER, 7, messages.answer("192.0.2.1")),
        "establishment": establishment(RULES, settings()),
        "establishment, drop by gate": establishment(RULES, settings(drop="gate")),
        "establishment over IPv6": establishment(RULES6, settings(**IPV6)),
        "modification": modification(settings()),
        "modification, drop by gate": modification(settings(drop="gate")),
        "deletion": message(Kind.DELETE, 8, b"", seid=9),
        "report answer": message(Kind.REPORT_ANSWER, 9, octet(Ie.CAUSE, 1), seid=9),
        "report answer, session unknown": message(Kind.REPORT_ANSWER, 9, octet(Ie.CAUSE, 65), seid=0),
    }
