"""What an operator may say of a rule, before any node hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Invalid
from mecm.steering import checking

RULE: dict[str, Any] = {
    "filterType": "FLOW",
    "priority": 3,
    "trafficFilter": [{"dstAddress": ["192.0.2.0/24"]}],
    "action": "FORWARD_DECAPSULATED",
}

NAME: dict[str, Any] = {"domainName": "video.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.9"}


@pytest.mark.parametrize("text", ["berth-7", "10.0.0", "10.0.0.1/24", "$(id)", ""])
def test_a_target_that_is_no_address_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        checking.content("traffic", {**RULE, "dstInterface": [{"interfaceType": "IP", "dstIpAddress": text}]})
    assert refused.value.context["errors"][0]["field"] == "dstInterface[0].dstIpAddress"


@pytest.mark.parametrize("text", ["192.0.2.9", "2001:db8::9"])
def test_a_target_that_is_an_address_stays_as_it_is(text: str) -> None:
    told = checking.content("traffic", {**RULE, "dstInterface": [{"interfaceType": "IP", "dstIpAddress": text}]})
    assert told["dstInterface"][0]["dstIpAddress"] == text


@pytest.mark.parametrize("text", ["a b", "-vip", "vip/1", "x" * 65, "*", "<b>"])
def test_a_scope_that_no_node_can_have_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        checking.content("dns", {**NAME, "scope": text})
    assert refused.value.context["errors"][0]["field"] == "scope"


@pytest.mark.parametrize("text", ["vip", "", "A.b_c-9"])
def test_a_scope_stays_as_it_is_and_everybody_is_another_word_than_nothing(text: str) -> None:
    assert checking.content("dns", {**NAME, "scope": text})["scope"] == text
    assert "scope" not in checking.content("dns", NAME)
