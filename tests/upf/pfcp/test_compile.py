"""What rules become: the PDR that wins is the one of the rule that decides, and what cannot be said is refused."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from tests.upf.pfcp.conftest import options
from tests.upf.pfcp.datapath import Rule, winner
from upf_adapter import create
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.flows import Match, Packet, agrees, matches_of
from upf_adapter.pfcp import PfcpUpf
from upf_adapter.pfcp.compile import DOWNLINK, LAST, UPLINK, Action, Compiler, Image
from upf_adapter.pfcp.options import Options, read

APP = {"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}
GTP = {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "198.51.100.9"}}
POOL = [{"ue": ["10.45.0.0/30", "2001:db8:45::/64"], "radio": {"address": "192.0.2.7", "teid": 77}}]
FILTER = {"srcAddress": ["10.45.0.2"], "dstAddress": ["203.0.113.5"], "protocol": ["UDP"], "dstPort": ["4000"]}


def image(rules: list[TrafficRule], **changes: Any) -> Image:
    chosen = msgspec.convert(options(**changes), Options)
    reading = read(chosen)
    cut = Compiler(reading.sites[0], chosen, reading).rules(rules)
    whole = Image()
    for each in cut.values():
        whole.pdrs.update(each.pdrs)
        whole.fars.update(each.fars)
    return whole


def rule(action: str = "DROP", key: str = "app/r1", **changes: Any) -> TrafficRule:
    targets = {"FORWARD_DECAPSULATED": (APP,), "FORWARD_ENCAPSULATED": (GTP,), "DUPLICATE_ENCAPSULATED": (GTP,)}
    whole = {
        "filter_type": "FLOW",
        "priority": 10,
        "filters": (FILTER,),
        "destinations": targets.get(action, ()),
    } | changes
    return TrafficRule(id=key, action=action, **whole)


def legs(whole: Image) -> list[tuple[bool, list[str], Any]]:
    """Return direction, SDF texts and FAR of what belongs to rules."""
    return [(pdr.uplink, [each.text for each in pdr.filters], pdr.far) for key, pdr in whole.pdrs.items() if key[0]]


# Which packets


def test_a_flow_has_one_text_in_both_directions() -> None:
    text = "permit out 17 from 203.0.113.5 4000 to 10.45.0.2"
    assert legs(image([rule()])) == [(True, [text], ("app/r1", 1)), (False, [text], ("app/r1", 2))]


def test_the_packets_back_of_a_forwarded_flow_go_to_the_ue() -> None:
    assert [far for _, _, far in legs(image([rule("FORWARD_DECAPSULATED")]))] == [("app/r1", 1), DOWNLINK]


def test_a_flow_that_is_written_towards_the_ue_is_turned_round_for_the_uplink() -> None:
    towards = {"srcAddress": ["203.0.113.5"], "dstAddress": ["10.45.0.2"], "srcPort": ["4000"], "protocol": ["UDP"]}
    text = "permit out 17 from 203.0.113.5 4000 to 10.45.0.2"
    found = legs(image([rule("FORWARD_DECAPSULATED", filters=(towards,))]))
    assert found == [(False, [text], ("app/r1", 2)), (True, [text], UPLINK)]


def test_single_packets_are_looked_for_as_they_are_described() -> None:
    found = legs(image([rule(filter_type="PACKET", filters=({"dstPort": ["80"], "protocol": ["TCP"]},))]))
    assert found == [
        (True, ["permit out 6 from any 80 to 10.45.0.2"], ("app/r1", 1)),
        (False, ["permit out 6 from any to 10.45.0.2 80"], ("app/r1", 2)),
    ]


def test_a_forward_of_single_packets_leaves_those_to_the_ue_alone() -> None:
    found = legs(image([rule("FORWARD_DECAPSULATED", filter_type="PACKET", filters=({"dstPort": ["80"]},))]))
    assert {uplink for uplink, _, _ in found} == {True}


def test_every_combination_is_a_filter_and_many_are_several_pdrs() -> None:
    many = {
        "dstAddress": ["203.0.113.5", "203.0.113.9-203.0.113.10"],
        "protocol": ["TCP", "UDP"],
        "dstPort": ["80", "90-99"],
    }
    found = legs(image([rule(filters=(many,))], filters_per_pdr=5))
    assert [len(texts) for _, texts, _ in found] == [5, 5, 2, 5, 5, 2]
    assert "permit out 6 from 203.0.113.10 90-99 to 10.45.0.2" in found[1][1] + found[2][1]


def test_ports_alone_are_of_the_protocols_that_have_ports() -> None:
    found = legs(image([rule(filters=({"dstPort": ["53"]},))]))
    assert found[0][1] == [f"permit out {number} from any 53 to 10.45.0.2" for number in (6, 17, 132)]


def test_several_filters_of_a_rule_share_its_pdr() -> None:
    found = legs(image([rule(filters=(FILTER, {**FILTER, "dstPort": ["5000"]}, FILTER))]))
    assert [len(texts) for _, texts, _ in found] == [2, 2]


def test_dscp_and_traffic_class_become_octet_and_mask() -> None:
    pdrs = image([rule(filters=({**FILTER, "dSCP": 46},))]).pdrs
    assert pdrs["app/r1", 1].filters[0].tos == (0xB8, 0xFC)
    six = image([rule(filters=({"tC": 184},))], sessions=POOL).pdrs
    assert six["app/r1", 1].filters[0].tos == (0xB8, 0xFF)
    assert six["app/r1", 1].filters[0].text == "permit out ip from any to 2001:db8:45::/64"


def test_what_is_sent_to_an_ipv4_address_is_ipv4() -> None:
    texts = [
        text
        for _, texts, _ in legs(image([rule("FORWARD_DECAPSULATED", filters=({},))], sessions=POOL))
        for text in texts
    ]
    assert texts == ["permit out ip from any to 10.45.0.0/30"] * 2


def test_the_priority_is_the_precedence() -> None:
    rules = [rule(key="app/b"), rule(key="app/a"), rule(key="app/z", priority=0), rule(key="app/y", priority=255)]
    found = {key[0]: pdr.precedence for key, pdr in image(rules).pdrs.items()}
    assert found == {"": LAST, "app/z": 0, "app/a": 10 << 16, "app/b": (10 << 16) + 1, "app/y": 255 << 16}
    assert max(found.values()) == LAST


def test_a_ue_is_named_by_its_address_and_a_pool_by_filters() -> None:
    assert image([]).pdrs[DOWNLINK].filters == ()
    texts = [each.text for each in image([], sessions=POOL).pdrs[DOWNLINK].filters]
    assert texts == ["permit out ip from any to 10.45.0.0/30", "permit out ip from any to 2001:db8:45::/64"]


def test_rules_that_are_only_checked_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upf_adapter.pfcp.compile.MOST_KNOWN", 10)
    adapter = upf()
    for number in range(35):
        adapter.check(rule(key=f"app/{number}"))
    assert len(adapter.sessions[0].compiler._known) <= 10


# By the judge of all adapters

REMOTES = ["203.0.113.0/31", "203.0.113.1", "0.0.0.0/0"]
UES = ["10.45.0.1", "10.45.0.2-10.45.0.3", "10.45.0.0/29"]


def _some(values: list[str]) -> Any:
    return st.lists(st.sampled_from(values), max_size=2)


filters = st.fixed_dictionaries(
    {},
    optional={
        "srcAddress": _some(UES + REMOTES),
        "dstAddress": _some(UES + REMOTES),
        "srcPort": _some(["1", "1-2", "3"]),
        "dstPort": _some(["1", "2-3"]),
        "protocol": _some(["TCP", "UDP", "ANY"]),
        "dSCP": st.sampled_from([0, 46]),
    },
)
rules = st.builds(
    lambda kind, priority, some, action: (kind, priority, tuple(some), action),
    st.sampled_from(["FLOW", "PACKET"]),
    st.integers(0, 2),
    st.lists(filters, min_size=1, max_size=2),
    st.sampled_from(["DROP", "PASSTHROUGH", "FORWARD_DECAPSULATED"]),
)
ends = st.tuples(
    st.sampled_from(["10.45.0.1", "10.45.0.2", "10.45.0.3"]), st.integers(1, 3),
    st.sampled_from(["203.0.113.1", "203.0.113.2", "10.45.0.3"]), st.integers(1, 3),
)  # fmt: skip


def turned(packet: Packet) -> Packet:
    return dataclasses.replace(
        packet, src=packet.dst, dst=packet.src, src_port=packet.dst_port, dst_port=packet.src_port
    )


def expected(wanted: list[TrafficRule], packet: Packet, uplink: bool) -> str:
    """Say what becomes of a packet, by the judge `agrees` and what the module `compile` promises."""
    pool = ip_network("10.45.0.0/30")

    def names_ues(match: Match) -> bool:
        return bool(match.dst) and all(net.subnet_of(pool) for span in match.dst for net in span.networks())  # type: ignore[arg-type]

    def about_ues(match: Match) -> bool:
        return any(ue in span for span in match.src for ue in pool)

    for each in sorted(wanted, key=lambda each: each.order):
        for match in matches_of(each):
            if each.filter_type == "PACKET":
                if not uplink and each.action.startswith("FORWARD") and not names_ues(match):
                    continue
                if agrees(match, packet):
                    return each.action
                continue
            down = names_ues(match) and not about_ues(match)
            if agrees(match, packet) and uplink != down:
                return each.action
            if agrees(match, turned(packet)) and uplink == down:
                return "DROP" if each.action == "DROP" else "PASSTHROUGH"
    return "PASSTHROUGH"


@settings(max_examples=120)
@given(st.lists(rules, max_size=4), ends, st.sampled_from([6, 17]), st.sampled_from([0, 46]), st.booleans())
def test_the_pdr_that_wins_is_that_of_the_rule_that_decides(
    some: list[Any], sides: tuple[str, int, str, int], protocol: int, dscp: int, uplink: bool
) -> None:
    ue, ue_port, remote, remote_port = sides
    packet = Packet(ip_address(ue), ip_address(remote), protocol, ue_port, remote_port, dscp)
    packet = packet if uplink else turned(packet)
    wanted = [
        rule(action, f"app/{at}", filter_type=kind, priority=priority, filters=parts)
        for at, (kind, priority, parts, action) in enumerate(some)
    ]
    whole = image(wanted, sessions=[{**POOL[0], "ue": ["10.45.0.0/30"]}], core_instance="")
    pdrs = [
        Rule(pdr.uplink, pdr.precedence, pdr.far, [(each.text, each.tos) for each in pdr.filters])
        for pdr in whole.pdrs.values()
    ]
    won = winner(pdrs, packet, uplink)
    assert won is not None
    assert whole.pdrs[UPLINK].far == UPLINK
    far = whole.fars[won.far]
    if won.far in (UPLINK, DOWNLINK):
        met = "PASSTHROUGH"
    else:
        met = "DROP" if far.action == Action.DROP else "FORWARD_DECAPSULATED"
    assert met == expected(wanted, packet, uplink)


# Refusals


def upf(**changes: Any) -> PfcpUpf:
    made = create("pfcp", options(**changes))
    assert isinstance(made, PfcpUpf)
    return made


@pytest.mark.parametrize(
    ("bad", "changes", "says", "nearest"),
    [
        (rule("FORWARD_DECAPSULATED"), {"destinations": {}}, "no FORWARD_DECAPSULATED", "FORWARD_ENCAPSULATED"),
        (
            rule("FORWARD_DECAPSULATED", destinations=({**APP, "dstIpAddress": "10.61.0.2"},)),
            {},
            "no Network Instance is configured for 10.61.0.2",
            "10.60.0.0/16 by mec.apps",
        ),
        (rule("FORWARD_DECAPSULATED", destinations=(GTP,)), {}, "out of their tunnel", "FORWARD_ENCAPSULATED"),
        (rule("FORWARD_ENCAPSULATED", destinations=(APP,)), {}, "needs a tunnel of type GTP_U", "FORWARD_DECAPSULATED"),
        (rule("FORWARD_ENCAPSULATED"), {}, "TEID of the tunnel to 198.51.100.9 is not known", ""),
        (
            rule("FORWARD_ENCAPSULATED"),
            {"tunnels": {"198.51.100.8": 1}},
            "TEID of the tunnel to 198.51.100.9",
            "a tunnel to 198.51.100.8",
        ),
        (rule("DUPLICATE_ENCAPSULATED"), {}, "no DUPLICATE_ENCAPSULATED", "FORWARD_ENCAPSULATED"),
        (
            rule("DUPLICATE_DECAPSULATED", destinations=(APP, APP)),
            {"duplicate": True},
            "no DUPLICATE_DECAPSULATED",
            "DUPLICATE_ENCAPSULATED",
        ),
        (
            rule("DUPLICATE_ENCAPSULATED", destinations=(APP,)),
            {"duplicate": True},
            "needs a tunnel of type GTP_U",
            "FORWARD_DECAPSULATED",
        ),
        (rule(filters=({**FILTER, "qCI": 9},)), {}, "cannot match qCI", "the same without it"),
        (rule(filters=({**FILTER, "qCI": 8},)), {"qfis": {"9": 5}}, "no QFI is configured for 8", "one of 9"),
        (rule(filters=({"srcAddress": ["10.99.0.1"]},)), {}, "no packet of this user plane's UEs", "10.45.0.2/32"),
        (rule(filters=({"tC": 1},)), {}, "has no IPv6", "IPv4"),
        (
            rule(filters=({"dstAddress": ["203.0.113.1-203.0.113.254"], "dstPort": ["1", "2", "3"]},)),
            {},
            "more than 64 SDF filters",
            "whole prefixes",
        ),
        (rule(filters=({"dstPort": [str(port) for port in range(1, 41)], "protocol": ["UDP"]},)), {"most_pdrs": 5},
         "would need 12 PDRs, the UPF holds 5", "fewer rules"),
    ],
)  # fmt: skip
def test_what_pfcp_cannot_say_is_refused_with_the_nearest(
    bad: TrafficRule, changes: dict[str, Any], says: str, nearest: str
) -> None:
    adapter = upf(**changes)
    for attempt in (adapter.check, adapter.put):
        with pytest.raises(Refused, match=says) as caught:
            attempt(bad)
        assert nearest in caught.value.nearest
    assert adapter.rules() == {}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (rule("FORWARD_DECAPSULATED", destinations=({"interfaceType": "IP"},)), "'' is no IP address"),
        (rule("FORWARD_DECAPSULATED", destinations=({**APP, "dstIpAddress": "10.60.0.0/16"},)), "is no IP address"),
        (
            rule(
                "FORWARD_ENCAPSULATED",
                destinations=({"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U"}},),
            ),
            "tunnelDstAddress: '' is no IP address",
        ),
        *[
            (
                rule(
                    "FORWARD_ENCAPSULATED",
                    destinations=({**GTP, "tunnelInfo": {**GTP["tunnelInfo"], "tunnelSpecificData": {"teid": teid}}},),  # type: ignore[dict-item]
                ),
                "is no TEID",
            )
            for teid in (0, 1 << 32, "5", True, -1, 1.5)
        ],
    ],
)
def test_a_destination_that_makes_no_sense_is_invalid(bad: TrafficRule, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        upf().check(bad)


def test_the_teid_of_a_rule_goes_before_that_of_the_options() -> None:
    given_teid = {**GTP, "tunnelInfo": {**GTP["tunnelInfo"], "tunnelSpecificData": {"teid": 5}}}  # type: ignore[dict-item]
    for target, teid in ((GTP, 9), (given_teid, 5)):
        whole = image([rule("FORWARD_ENCAPSULATED", destinations=(target,))], tunnels={"198.51.100.9": 9})
        outer = whole.fars["app/r1", 1].outer
        assert outer
        assert outer.teid == teid


def test_the_longest_prefix_names_the_network_instance() -> None:
    whole = image(
        [rule("FORWARD_DECAPSULATED")], destinations={"0.0.0.0/0": "all", "10.60.0.2": "one", "10.60.0.0/24": "some"}
    )
    assert whole.fars["app/r1", 1].instance == "one"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peer": "upf.example"}, "peer: 'upf.example' is no IP address"),
        ({"sessions": []}, "length >= 1"),
        ({"sessions": [{"ue": ["10.45.0.1/16"], "radio": {"address": "192.0.2.7", "teid": 1}}]}, "host bits set"),
        ({"sessions": [{"ue": ["10.45.0.1"], "radio": {"address": "192.0.2.7", "teid": 0}}]}, "teid"),
        ({"qfis": {"x": 1}}, "qfis"),
        ({"core_instance": "a" * 64}, "Network Instance"),
        ({"core_instance": "a..b"}, "Network Instance"),
        ({"drop": "maybe"}, "drop"),
        ({"message_octets": 70000}, "message_octets"),
        ({"bind": "somewhere"}, "bind: 'somewhere' is no IP address"),
        ({"bind": "::1"}, "different address families"),
        ({"node_id": "x" * 64}, "Node ID"),
        (
            {
                "sessions": [
                    {
                        "ue": ["10.45.0.1"],
                        "radio": {"address": "192.0.2.7", "teid": 1},
                        "access": {"address": "::1", "teid": 1},
                    }
                ]
            },
            "one address family",
        ),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_options_that_cannot_be_used_are_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        upf(**changes)


def test_it_tells_what_it_can_and_what_it_needs() -> None:
    assert upf().capabilities().actions == {"DROP", "PASSTHROUGH", "FORWARD_ENCAPSULATED", "FORWARD_DECAPSULATED"}
    assert "DUPLICATE_ENCAPSULATED" in upf(duplicate=True).capabilities().actions
    poor = upf(destinations={}, counters=False).capabilities()
    assert "FORWARD_DECAPSULATED" not in poor.actions
    assert any("option destinations" in note for note in poor.notes)
    assert (poor.counters, poor.families, "qCI" in poor.filters) == (False, {4}, False)
    assert "qCI" in upf(qfis={"9": 5}).capabilities().filters
    assert upf(sessions=POOL).capabilities().families == {4, 6}
    assert not poor.atomic
