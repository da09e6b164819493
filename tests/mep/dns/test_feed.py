"""The responder's picture of the database after any change is the one that a fresh start would have."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from mep.dns import reports
from mep.dns import services as dns
from mep.dns.feed import Feed
from mep.dns.process import Reporter
from mep.mp1 import services
from mep.mp1.models import Counter, DnsRule
from tests.mep.conftest import DNS_RULE, Mp1
from tests.waiting import until


def rules(count: int) -> list[dict[str, Any]]:
    return [{**DNS_RULE, "dnsRuleId": f"d{number}", "domainName": f"n{number}.example"} for number in range(count)]


class Watched:
    """A feed that has been there all the time, compared with one that has just come."""

    def __init__(self) -> None:
        self.path = Path(django_settings.DATABASES["default"]["NAME"])
        self.feed = Feed(self.path)
        self.statements: list[str] = []
        self.feed._pulse.open().set_trace_callback(self.statements.append)

    def look(self) -> set[str] | None:
        change = self.feed.look()
        fresh = Feed(self.path)
        fresh.look()
        assert self.feed.rules == fresh.rules
        assert self.feed.scopes == fresh.scopes
        assert self.feed.version == fresh.version
        fresh.close()
        return None if change is None else set(change.names)


@pytest.fixture
def watched(transactional_db: None) -> Iterator[Watched]:
    made = Watched()
    yield made
    made.feed.close()


def test_each_change_is_told_once_and_by_name(watched: Watched, speak: Callable[..., Mp1]) -> None:
    assert watched.look() is None or not watched.feed.rules
    app = speak(ready=False, dns_rules=rules(5))
    assert not watched.look()
    services.confirm_ready("app-1")
    assert watched.look() == {f"n{number}.example" for number in range(5)}
    assert watched.look() is None
    path = "/mec_app_support/v1/applications/{app}/dns_rules/d3"
    app.put(path, {**rules(5)[3], "ipAddress": "10.9.9.9"})
    watched.statements.clear()
    assert watched.look() == {"n3.example"}
    assert not any("SELECT id, revision FROM" in each for each in watched.statements), "a change costs no comparison"
    app.put(path, {**rules(5)[3], "state": "INACTIVE"})
    assert watched.look() == {"n3.example"}
    app.put(path, {**rules(5)[3], "state": "ACTIVE"})
    services.provision("app-1", app_name="app-1", dns_rules=rules(2))
    assert watched.look() == {"n2.example", "n4.example"}, "deleted; the third came and went unseen"
    services.provision("app-1", app_name="app-1", dns_rules=[*rules(1), {**rules(2)[1], "domainName": "new.example"}])
    assert watched.look() == {"n1.example", "new.example"}, "renamed: both names are different now"
    services.discard("app-1")
    assert watched.look() == {"n0.example", "new.example"}
    assert watched.feed.rules == {}


def test_what_is_written_by_other_means_is_found_too(watched: Watched, app: Mp1, neighbour: Mp1) -> None:
    watched.look()
    # As after a restored backup: old revisions, other rows.
    DnsRule.objects.all().delete()
    services.provision("app-2", app_name="app-2", dns_rules=rules(3))
    DnsRule.objects.update(revision=1, address="10.7.7.7")
    assert watched.look() == {"hello.example", "n0.example", "n1.example", "n2.example"}
    DnsRule.objects.update(revision=2, address="10.8.8.8")
    Counter.objects.filter(name="dns").update(value=1)
    assert watched.look() == {"n0.example", "n1.example", "n2.example"}, "the counter went back"


def test_more_changes_than_a_query_takes_parameters(watched: Watched, app: Mp1) -> None:
    watched.look()
    known = DnsRule.objects.get()
    DnsRule.objects.bulk_create(
        DnsRule(app=known.app, rule_id=f"x{number}", state="ACTIVE", domain_name=f"x{number}.example",
                family="IP_V4", address="10.0.0.1", revision=0)
        for number in range(2000)
    )  # fmt: skip
    Counter.bump("dns")
    assert len(watched.look() or ()) == 2000


def test_scopes_are_followed(watched: Watched) -> None:
    watched.look()
    dns.put_scope("vip", kind="ue", networks=["10.0.0.0/8"])
    change = watched.feed.look()
    assert change is not None
    assert change.scopes
    assert watched.feed.scopes[0].name == "vip"
    Counter.bump("services")
    assert watched.look() is None, "what does not concern DNS costs nothing"


def test_a_database_that_cannot_be_read_is_not_asked_at_every_query(tmp_path: Path) -> None:
    feed = Feed(tmp_path / "none.sqlite3")
    assert feed.look() is None
    sqlite3.connect(tmp_path / "none.sqlite3").close()
    assert feed._not_before > 0
    assert feed.look() is None


# --- what is told on the rules ---------------------------------------------------------------------------------------------


@pytest.fixture
def reporter(transactional_db: None) -> Iterator[Reporter]:
    made = Reporter()
    made.start()
    yield made
    made.stop()


def told(rule: str) -> tuple[str, str]:
    row = DnsRule.objects.get(rule_id=rule)
    return row.enforcement, row.reason


def version() -> int:
    return Counter.objects.get(name="dns").value


def test_rules_tell_whether_they_are_answered(reporter: Reporter, speak: Callable[..., Mp1]) -> None:
    speak(dns_rules=rules(3))
    dns.put_scope("vip", kind="ue", networks=["10.0.0.0/8"])
    dns.set_rule_scope("app-1", "d1", "vip")
    DnsRule.objects.filter(rule_id="d2").update(scope="gone")
    assert told("d0") == ("pending", "")
    reporter.tell(version())
    until(lambda: told("d0") == told("d1") == ("in-force", ""), timeout=5)
    assert told("d2")[0] == "refused"
    assert "no DNS scope gone" in told("d2")[1]
    before = Counter.objects.get(name="dns_reports").value
    services.begin_termination("app-1")
    reports.in_force(version() - 1)
    assert {told(rule)[0] for rule in ("d0", "d1", "d2")} >= {"pending"}, "nobody has seen the last that changed"
    reporter.tell(version())
    until(lambda: {told(rule) for rule in ("d0", "d1", "d2")} == {("withdrawn", "")}, timeout=5)
    assert Counter.objects.get(name="dns_reports").value > before
