"""The packet tester decides as every user plane does."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mep.console import packet
from mep.mp1.models import App, TrafficRule
from mep.mp1.steering import as_rule
from upf_adapter import flows

FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "srcAddress": st.sampled_from([["10.0.0.0/8"], ["10.1.0.0/16", "2001:db8::/32"], ["10.1.1.1"]]),
        "dstPort": st.sampled_from([["80"], ["1-100"], ["443", "80"]]),
        "protocol": st.sampled_from([["TCP"], ["UDP"], ["17"], ["ANY"]]),
        "dSCP": st.integers(0, 1),
    },
)
RULES = st.lists(st.tuples(st.integers(0, 2), st.lists(FILTERS, min_size=1, max_size=2), st.booleans()), max_size=6)
PACKETS = st.builds(
    flows.Packet,
    st.sampled_from([ipaddress.ip_address(text) for text in ("10.1.1.1", "10.9.9.9", "192.0.2.1")]),
    st.just(ipaddress.ip_address("203.0.113.1")),
    st.sampled_from([6, 17, 1]),
    st.just(1),
    st.sampled_from([80, 50, 443]),
    st.integers(0, 1),
)


def rows_of(made: list[tuple[int, list[Any], bool]]) -> list[TrafficRule]:
    """Return rules that are active, some of them in force."""
    app = App(pk="app", name="app")
    return [
        TrafficRule(
            pk=at,
            app=app,
            rule_id=f"r{at}",
            state="ACTIVE",
            enforcement="in-force" if on else "pending",
            body={"filterType": "FLOW", "priority": priority, "trafficFilter": filters, "action": "DROP"},
        )
        for at, (priority, filters, on) in enumerate(made)
    ]


@given(RULES, PACKETS)
def test_it_agrees_with_the_judge_of_the_adapters(made: list[tuple[int, list[Any], bool]], tried: flows.Packet) -> None:
    packet._read.clear()
    rows = rows_of(made)
    verdict = packet.judge(tried, rows)

    def decided(some: list[TrafficRule]) -> str | None:
        rule = flows.decide([as_rule(f"app/{row.rule_id}", row) for row in some], tried)
        return rule and rule.id.partition("/")[2]

    assert (verdict.now and verdict.now.rule_id) == decided([row for row in rows if row.enforcement == "in-force"])
    if decided(rows):
        assert verdict.wished
        assert verdict.wished.rule_id == decided(rows)


def test_a_rule_that_cannot_be_read_hides_no_other() -> None:
    packet._read.clear()
    broken, whole = rows_of([(0, [{"dstPort": ["nonsense"]}], True), (1, [{}], True)])
    verdict = packet.judge(
        flows.Packet(ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2")), [broken, whole]
    )
    assert (verdict.now, verdict.unreadable) == (whole, 1)


def test_another_content_is_read_anew() -> None:
    packet._read.clear()
    (row,) = rows_of([(0, [{"protocol": ["TCP"]}], True)])
    tried = flows.Packet(ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2"), 17)
    assert packet.judge(tried, [row]).now is None
    row.body, row.revision = {**row.body, "trafficFilter": [{"protocol": ["UDP"]}]}, 1
    assert packet.judge(tried, [row]).now is row
