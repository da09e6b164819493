"""BIND, Knot and PowerDNS keep the contract, serve 10,000 rules, and are mended after an outage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from core.errors import BreakwaterError, Conflict
from mep.dns.backends.contract import RecordSet
from mep.dns.synchroniser import Synchroniser
from mep.mp1 import services
from mep.mp1.models import App, Counter, DnsRule
from mep.mp1.rules import put_dns
from tests.mep.dns import servers
from tests.mep.dns.contract.suite import Contract
from tests.mep.dns.upstream import Upstream
from tests.waiting import until

pytestmark = pytest.mark.live
MANY = 10_000


@pytest.fixture(scope="module")
def lend() -> Iterator[Callable[[type[servers.Server]], servers.Server]]:
    """Start each server once, and clear what a test has put before the next one."""
    upstream = Upstream()
    made: dict[type[servers.Server], servers.Server] = {}

    def make(kind: type[servers.Server]) -> servers.Server:
        if kind not in made:
            made[kind] = kind(upstream.port) if kind is servers.BindRpz else kind()  # type: ignore[call-arg]
        server = made[kind]
        if server.running is None:
            server.start()
        until(lambda: _cleared(server), timeout=20)
        return server

    yield make
    for each in made.values():
        each.remove()
    upstream.close()


class TestBindZone(Contract):
    @pytest.fixture
    def peer(self, lend: Any) -> servers.Server:
        return lend(servers.Bind)  # type: ignore[no-any-return]


class TestBindRpz(Contract):
    @pytest.fixture
    def peer(self, lend: Any) -> servers.Server:
        return lend(servers.BindRpz)  # type: ignore[no-any-return]

    def test_the_other_family_and_other_names_stay_without_data(self, peer: Any) -> None:
        one = RecordSet("one.edge.example", "A", 30, ("10.0.0.1",))
        peer.backend.apply([one], [])
        assert peer.answers(one.name, "AAAA") == set()
        assert peer.answers("two.edge.example", "A") == {"198.51.100.7"}, "other names are asked upstream"
        assert peer.answers("missing.edge.example", "A") == set()

    def test_what_is_ours_is_replaced_and_taken_out(self, peer: Any) -> None:
        one = RecordSet("missing.edge.example", "A", 30, ("10.0.0.1",))
        new = RecordSet("missing.edge.example", "A", 5, ("10.0.0.8", "10.0.0.9"))
        peer.backend.apply([one], [])
        assert peer.backend.apply([new], [], owned=[one.key]) == {new.key: None}
        assert peer.answers(new.name, "A") == {"10.0.0.8", "10.0.0.9"}
        assert peer.backend.apply([], [new]) == {new.key: None}
        assert peer.answers(new.name, "A") == set(), "the upstream does not know it"


class TestKnot(Contract):
    @pytest.fixture
    def peer(self, lend: Any) -> servers.Server:
        return lend(servers.Knot)  # type: ignore[no-any-return]


class TestPowerDns(Contract):
    @pytest.fixture
    def peer(self, lend: Any) -> servers.Server:
        return lend(servers.PowerDns)  # type: ignore[no-any-return]


KINDS = pytest.mark.parametrize("kind", [servers.Bind, servers.BindRpz, servers.Knot, servers.PowerDns])


@KINDS
def test_nothing_is_put_beside_an_alias(lend: Any, kind: Any) -> None:
    if kind is servers.BindRpz:
        pytest.skip("its aliases are policies")
    server = lend(kind)
    greedy = RecordSet("alias.edge.example", "A", 30, ("10.6.6.6",))
    assert isinstance(server.backend.apply([greedy], [])[greedy.key], Conflict)


@KINDS
def test_a_wrong_key_is_told_without_the_key(lend: Any, kind: Any) -> None:
    server = lend(kind)
    wrong = type(server.backend)(server.backend.options, "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I=")
    one = RecordSet("one.edge.example", "A", 30, ("10.0.0.1",))
    for call in (wrong.present, lambda: wrong.apply([one], [])):
        with pytest.raises(BreakwaterError) as problem:
            call()
        assert "d3Jv" not in problem.value.detail
        assert "key" in problem.value.detail or "transfer" in problem.value.detail
    assert server.answers(one.name, "A") != {"10.0.0.1"}


@KINDS
def test_ten_thousand_rules_a_change_and_an_outage(lend: Any, kind: Any, transactional_db: None) -> None:
    server = lend(kind)
    app = _app_with_rules()
    names = {f"n{number}.edge.example": f"10.1.{number // 250}.{number % 250}" for number in range(MANY)}
    worker = Synchroniser(server.make_backend(), Path(settings.DATABASES["default"]["NAME"]), default_ttl=30)
    try:

        def all_there() -> bool:
            worker.step()
            return DnsRule.objects.filter(enforcement="in-force", reason="").count() == MANY

        # Usually by one step; what a busy server has not answered in time is asked again.
        until(all_there, timeout=60)
        until(lambda: server.answers("n9999.edge.example", "A") == {names["n9999.edge.example"]}, timeout=30)
        assert servers.served(server, names) == MANY

        put_dns(app, "d7", _rule(7, "10.9.9.9"), None)
        worker.step()
        until(lambda: server.answers("n7.edge.example", "A") == {"10.9.9.9"}, timeout=30)

        server.stop()
        put_dns(app, "d8", _rule(8, "10.9.9.8"), None)
        told = DnsRule.objects.get(rule_id="d8")

        def away() -> bool:
            worker.step()
            told.refresh_from_db()
            return bool(told.reason)

        until(away, timeout=60)
        assert told.enforcement == "pending"
        assert "tried again" in told.reason
        assert DnsRule.objects.filter(enforcement="in-force").count() == 0

        server.start()

        def back() -> bool:
            worker.step()
            told.refresh_from_db()
            return told.enforcement == "in-force"

        until(back, timeout=60)
        assert DnsRule.objects.exclude(enforcement="in-force", reason="").count() == 0
        until(lambda: server.answers("n8.edge.example", "A") == {"10.9.9.8"}, timeout=30)
        names |= {"n7.edge.example": "10.9.9.9", "n8.edge.example": "10.9.9.8"}
        assert servers.served(server, names) == MANY
        assert server.answers("own.edge.example", "A") == {"192.0.2.1"}, "what belongs to others stays"
        if kind is servers.BindRpz:
            assert server.answers("cloud.test", "A") == {"198.51.100.7"}
    finally:
        worker.close()


def _cleared(server: servers.Server) -> bool:
    try:
        present = server.backend.present() or {}
        left = [each for each in present.values() if each.name.partition(".")[0] not in ("own", "ns")]
        server.backend.apply([], left)
    except BreakwaterError:  # it has only just started
        return False
    return True


def _rule(number: int, address: str) -> dict[str, Any]:
    return {"domainName": f"n{number}.edge.example", "ipAddressType": "IP_V4", "ipAddress": address, "ttl": 30}


def _app_with_rules() -> App:
    services.provision("app-1", app_name="app-1")
    services.confirm_ready("app-1")
    app = App.objects.get()
    version = Counter.bump("dns")
    DnsRule.objects.bulk_create(
        DnsRule(
            app=app,
            rule_id=f"d{number}",
            state="ACTIVE",
            revision=version,
            domain_name=f"n{number}.edge.example",
            family="IP_V4",
            address=f"10.1.{number // 250}.{number % 250}",
            ttl=30,
        )
        for number in range(MANY)
    )
    return app
