"""Who gets which answer: UE scopes first, then application, then zone, then everybody; the longest prefix of a kind."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, Invalid, Missing
from mep.dns import services
from mep.dns.backends.contract import RecordSet
from mep.dns.responder import Responder
from mep.dns.scopes import KINDS, Order, Scope
from mep.dns.table import Table
from mep.mp1.models import DnsRule
from tests.mep.conftest import DNS_RULE, Mp1

EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def scope(name: str, kind: str, *texts: str) -> Scope:
    return Scope(name, kind, tuple(ipaddress.ip_network(text) for text in texts))


def answers(responder: Responder, source: str, name: str = "x.example", kind: str = "A") -> set[str]:
    data = responder.reply(dns.message.make_query(name, kind).to_wire(), source, udp=True)
    assert isinstance(data, bytes)
    return {each.address for rrset in dns.message.from_wire(data).answer for each in rrset}


def record(address: str, scope: str = "", kind: str = "A") -> RecordSet:
    return RecordSet("x.example", kind, 30, (address,), scope)


def test_the_closest_scope_answers_and_then_everybody() -> None:
    scopes = [
        scope("zone", "zone", "10.0.0.0/8", "2001:db8::/32"),
        scope("app", "application", "10.1.0.0/16"),
        scope("ue", "ue", "10.1.2.3/32"),
    ]
    sets = [record("192.0.2.1"), record("192.0.2.2", "zone"), record("192.0.2.3", "app"), record("192.0.2.4", "ue")]
    responder = Responder(EVERYWHERE, forwards=False, table=Table(sets, scopes))
    expected = {"10.1.2.3": 4, "10.1.2.4": 3, "10.2.0.1": 2, "2001:db8::9": 2, "11.0.0.1": 1, "::ffff:10.1.2.3": 4}
    for _ in range(2):  # the second time from what was kept
        assert {source: answers(responder, source) for source in expected} == {
            source: {f"192.0.2.{last}"} for source, last in expected.items()
        }


def test_a_scope_decides_about_the_whole_name() -> None:
    table = Table(
        [record("192.0.2.1"), record("2001:db8::1", kind="AAAA"), record("192.0.2.2", "ue")],
        [scope("ue", "ue", "10.0.0.0/8")],
    )
    responder = Responder(EVERYWHERE, forwards=False, table=table)
    assert answers(responder, "10.0.0.1", kind="AAAA") == set()
    assert answers(responder, "11.0.0.1", kind="AAAA") == {"2001:db8::1"}


def test_a_name_for_a_scope_alone_is_unknown_to_others() -> None:
    table = Table([record("192.0.2.2", "ue")], [scope("ue", "ue", "10.0.0.0/8")])
    data = Responder(EVERYWHERE, forwards=False, table=table).reply(
        dns.message.make_query("x.example", "A").to_wire(), "11.0.0.1", udp=True
    )
    assert isinstance(data, bytes)
    assert dns.message.from_wire(data).rcode() == dns.rcode.REFUSED


def test_scopes_change_under_known_clients_and_kept_answers() -> None:
    table = Table([record("192.0.2.1"), record("192.0.2.2", "ue")])
    responder = Responder(EVERYWHERE, forwards=False, table=table)
    assert answers(responder, "10.0.0.1") == {"192.0.2.1"}
    responder.use([scope("ue", "ue", "10.0.0.0/8")])
    assert answers(responder, "10.0.0.1") == {"192.0.2.2"}
    table.change([record("192.0.2.3", "ue")])
    assert answers(responder, "10.0.0.1") == {"192.0.2.3"}
    table.change(delete=[("ue", "x.example", "A")])
    assert answers(responder, "10.0.0.1") == {"192.0.2.1"}
    responder.use([])
    assert answers(responder, "10.0.0.1") == {"192.0.2.1"}


networks = st.builds(
    lambda number, length: ipaddress.ip_network((number << (32 - length) & 0xFFFFFFFF, length)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), networks), max_size=12, unique=True),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_the_order_is_that_of_a_plain_search(wanted: list[Any], number: int, data: st.DataObject) -> None:
    scopes = [Scope(f"s{at}", kind, (net,)) for at, (kind, net) in enumerate(wanted)]
    if wanted and data.draw(st.booleans()):
        number = int(data.draw(st.sampled_from(wanted))[1].network_address)
    source = ipaddress.IPv4Address(number)
    plain = sorted(
        (each for each in scopes if source in each.networks[0]),
        key=lambda each: (KINDS.index(each.kind), -each.networks[0].prefixlen),
    )
    assert Order(scopes).of(source) == tuple(each.name for each in plain)


# --- the operator ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "nets", "told"),
    [
        ("", "ue", ["10.0.0.0/8"], "name"),
        ("a b", "ue", ["10.0.0.0/8"], "name"),
        ("vip", "planet", ["10.0.0.0/8"], "kind"),
        ("vip", "ue", [], "networks"),
        ("vip", "ue", ["10.0.0.1/8"], "networks"),
        ("vip", "ue", ["fe80::1%eth0"], "networks"),
        ("vip", "ue", [7], "networks"),
        ("vip", "ue", "10.0.0.0/8", "networks"),
    ],
)
def test_a_scope_that_makes_no_sense_is_refused(db: None, name: str, kind: str, nets: Any, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        services.put_scope(name, kind=kind, networks=nets)
    assert services.scopes() == []


def test_a_prefix_has_one_scope_of_a_kind(db: None) -> None:
    services.put_scope("vip", kind="ue", networks=["10.0.0.0/8", "10.0.0.0/8"])
    services.put_scope("town", kind="zone", networks=["10.0.0.0/8"])
    with pytest.raises(Conflict, match="vip"):
        services.put_scope("other", kind="ue", networks=["10.0.0.0/8"])
    assert services.put_scope("vip", kind="ue", networks=["10.0.0.0/8"]).networks == ["10.0.0.0/8"]


def test_a_scope_in_use_is_not_deleted(app: Mp1) -> None:
    services.put_scope("vip", kind="ue", networks=["10.0.0.0/8"])
    with pytest.raises(Missing):
        services.set_rule_scope("app-1", "d1", "unknown")
    services.set_rule_scope("app-1", "d1", "vip")
    with pytest.raises(Conflict, match="app-1/d1"):
        services.delete_scope("vip")
    services.set_rule_scope("app-1", "d1", "")
    services.delete_scope("vip")
    services.delete_scope("vip")
    assert services.scopes() == []


def test_an_app_neither_sees_nor_changes_its_scope(app: Mp1) -> None:
    services.put_scope("vip", kind="ue", networks=["10.0.0.0/8"])
    services.set_rule_scope("app-1", "d1", "vip")
    path = "/mec_app_support/v1/applications/{app}/dns_rules/d1"
    answer = app.put(path, {**DNS_RULE, "ipAddress": "10.1.2.9", "scope": ""})
    assert answer.status_code == 200
    assert "scope" not in answer.json()
    assert DnsRule.objects.get().scope == "vip"


def test_scopes_are_backed_up_and_restored(app: Mp1) -> None:
    services.put_scope("vip", kind="ue", networks=["10.0.0.0/8", "2001:db8::/32"])
    saved = services.scopes()
    services.put_scope("extra", kind="zone", networks=["11.0.0.0/8"])
    services.replace_scopes(saved)
    assert services.scopes() == saved


# --- Mm5 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def management(settings: Any, app: Mp1) -> Callable[..., Any]:
    settings.MM5_TOKEN = "management"

    def send(method: str, path: str, body: Any = None, token: str = "management") -> Any:
        return app.send(method, f"/mm5/v1/{path}", body, Authorization=f"Bearer {token}")

    return send


def test_mm5_manages_scopes(management: Callable[..., Any]) -> None:
    vip = {"kind": "ue", "networks": ["10.0.0.0/8"]}
    for _ in range(2):
        assert management("PUT", "dns_scopes/vip", vip).json() == {"name": "vip", **vip, "rules": 0}
    rule = "app_instances/app-1/dns_rules/d1/scope"
    assert management("PUT", rule, {"scope": "vip"}).json()["scope"] == "vip"
    assert management("GET", "dns_scopes/vip").json()["rules"] == 1
    assert management("GET", "dns_scopes").json() == [{"name": "vip", **vip, "rules": 1}]
    assert management("DELETE", "dns_scopes/vip").status_code == 409
    assert management("PUT", rule, {"scope": ""}).status_code == 200
    assert management("DELETE", "dns_scopes/vip").status_code == 204
    assert management("GET", "dns_scopes/vip").status_code == 404


def test_mm5_answers_the_query_tester(management: Callable[..., Any]) -> None:
    found = management("GET", "dns_query?name=HELLO.example.&type=a&source=127.0.0.1").json()
    assert found["addresses"] == ["10.1.2.3"]
    assert found["rules"] == ["app-1/d1"]
    assert management("GET", "dns_query?name=hello.example&type=A&source=nowhere").status_code == 400
    assert management("GET", "dns_query").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "dns_scopes/vip", {"kind": "ue"}, 400),
        ("PUT", "dns_scopes/vip", {"kind": 3, "networks": []}, 400),
        ("PUT", "dns_scopes/vip", [], 400),
        ("PUT", "dns_scopes/vip", {"kind": "ue", "networks": ["x"]}, 400),
        ("PUT", "app_instances/app-1/dns_rules/d1/scope", {"scope": None}, 400),
        ("PUT", "app_instances/app-1/dns_rules/d1/scope", {"scope": "unknown"}, 404),
        ("PUT", "app_instances/app-1/dns_rules/d9/scope", {"scope": ""}, 404),
        ("PUT", "app_instances/app-9/dns_rules/d1/scope", {"scope": ""}, 404),
        ("POST", "dns_scopes", {}, 405),
    ],
)
def test_mm5_refuses_what_makes_no_sense(
    management: Callable[..., Any], method: str, path: str, body: Any, status: int
) -> None:
    answer = management(method, path, body)
    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_only_the_management_may_ask(management: Callable[..., Any], app: Mp1) -> None:
    for method, path in (("GET", "dns_scopes"), ("PUT", "dns_scopes/vip"), ("DELETE", "dns_scopes/vip"),
                         ("GET", "dns_scopes/vip"), ("GET", "dns_query"),
                         ("PUT", "app_instances/app-1/dns_rules/d1/scope")):  # fmt: skip
        assert management(method, path, token=app.token).status_code == 401, path


# --- the query tester --------------------------------------------------------------------------------------------------


def test_the_tester_tells_which_scope_and_rule_answer(app: Mp1, settings: Any) -> None:
    services.put_scope("vip", kind="ue", networks=["10.45.0.0/16"])
    services.set_rule_scope("app-1", "d1", "vip")
    inside = services.resolve("hello.example", "A", "10.45.0.1")
    assert (inside.outcome, inside.scope, inside.scope_kind) == ("address", "vip", "ue")
    assert inside.text == (
        "10.45.0.1 is in the ue scope vip; hello.example is answered by the rules for the ue scope vip: "
        "app-1/d1; A is 10.1.2.3 for 60 s"
    )
    assert services.resolve("hello.example", "AAAA", "10.45.0.1").outcome == "no-data"
    assert services.resolve("hello.example", "ANY", "10.45.0.1").outcome == "any"
    assert services.resolve("hello.example", "A", "10.46.0.1").outcome == "refused"
    settings.DNS_UPSTREAMS = (("127.0.0.1", 53),)
    assert services.resolve("hello.example", "A", "10.46.0.1").outcome == "forward"
    assert services.resolve("hello.example", "MX", "10.45.0.1").outcome == "forward"
    assert services.resolve("hello.example", "HTTPS", "10.45.0.1").outcome == "no-data"
    assert services.resolve("hello.example", "A", "8.8.8.8").outcome == "stranger"


@pytest.mark.parametrize(
    ("name", "kind", "source"),
    [("", "A", "10.0.0.1"), ("a..b", "A", "10.0.0.1"), ("x" * 64, "A", "10.0.0.1"), ("ä.example", "A", "10.0.0.1"),
     ("a.example", "LOC", "10.0.0.1"), ("a.example", "A", "here"), (".".join(["x" * 60] * 5), "A", "10.0.0.1")],
)  # fmt: skip
def test_the_tester_says_what_cannot_be_asked(db: None, name: str, kind: str, source: str) -> None:
    with pytest.raises(Invalid):
        services.resolve(name, kind, source)
