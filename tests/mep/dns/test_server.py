"""The responder on real sockets: UDP, TCP, both families, forwarding, and rules that change under it."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest
from django.conf import settings as django_settings

from mep.dns import services as scopes
from mep.dns.forwarder import Forwarder
from mep.dns.server import Config, DnsServer
from mep.mp1 import services
from tests.mep.conftest import DNS_RULE, Mp1
from tests.mep.dns.upstream import Upstream
from tests.ports import free_port
from tests.waiting import until

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Running:
    """A DNS server in a thread of its own."""

    def __init__(self, config: Config) -> None:
        self.server = DnsServer(config)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.call(self.server.start())

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    @property
    def address(self) -> tuple[str, int]:
        return self.server.addresses[0]

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False, at: int = 0, **options: Any) -> dns.message.Message:
        host, port = self.server.addresses[at]
        query = dns.message.make_query(name, kind, **options)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, host, port=port, timeout=5)

    def stop(self) -> None:
        self.call(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(database: Path, **options: Any) -> Running:
        config = Config(**{"database": database, "bind": ["127.0.0.1"], "port": 0, "networks": LOOPBACK, **options})
        made.append(Running(config))
        return made[-1]

    yield start
    for each in made:
        each.stop()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture
def database(transactional_db: None) -> Path:
    return Path(django_settings.DATABASES["default"]["NAME"])


# --- rules -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
def test_active_rules_are_answered_as_they_change(
    run: Any, database: Path, speak: Callable[..., Mp1], tcp: bool
) -> None:
    running = run(database)
    assert running.ask("hello.example", tcp=tcp).rcode() == dns.rcode.REFUSED
    app = speak(ready=False, dns_rules=[DNS_RULE])
    assert running.ask("hello.example", tcp=tcp).rcode() == dns.rcode.REFUSED, "the app is not ready yet"
    services.confirm_ready("app-1")
    assert running.ask("hello.example", tcp=tcp).answer[0].to_text() == "hello.example. 60 IN A 10.1.2.3"
    path = "/mec_app_support/v1/applications/{app}/dns_rules/d1"
    app.put(path, {**DNS_RULE, "ipAddress": "10.1.2.9", "state": "ACTIVE"})
    assert "10.1.2.9" in running.ask("hello.example", tcp=tcp).answer[0].to_text()
    app.put(path, {**DNS_RULE, "state": "INACTIVE"})
    assert running.ask("hello.example", tcp=tcp).rcode() == dns.rcode.REFUSED
    app.put(path, {**DNS_RULE, "state": "ACTIVE"})
    assert running.ask("hello.example", tcp=tcp).answer
    services.discard("app-1")
    assert running.ask("hello.example", tcp=tcp).rcode() == dns.rcode.REFUSED


def test_both_address_families_are_served(run: Any, database: Path, app: Mp1) -> None:
    running = run(database, bind=["127.0.0.1", "::1"])
    for at in (0, 1):
        for tcp in (False, True):
            assert running.ask("hello.example", at=at, tcp=tcp).answer


def test_several_queries_on_one_connection(run: Any, database: Path, app: Mp1) -> None:
    running = run(database)
    queries = [dns.message.make_query("hello.example", kind) for kind in ("A", "AAAA", "A")]
    with socket.create_connection(running.address) as client, client.makefile("rb") as file:
        client.sendall(b"".join(struct.pack("!H", len(data := query.to_wire())) + data for query in queries))
        for query in queries:
            data = file.read(struct.unpack("!H", file.read(2))[0])
            assert query.is_response(dns.message.from_wire(data))


def test_the_present_rules_stay_when_the_database_cannot_be_read(
    run: Any, database: Path, app: Mp1, tmp_path: Path
) -> None:
    running = run(database)
    pulse = running.server._feed._pulse

    async def lose() -> None:
        pulse.close()
        pulse._uri = (tmp_path / "gone.sqlite3").as_uri() + "?mode=ro"

    running.call(lose())
    assert running.ask("hello.example").answer


def test_random_datagrams_do_no_harm(run: Any, database: Path, app: Mp1) -> None:
    running = run(database)
    noise = random.Random(7)
    good = dns.message.make_query("hello.example", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(2000):
            data = noise.randbytes(noise.randrange(0, 300))
            if number % 2:
                data = bytes(noise.randrange(256) if noise.random() < 0.1 else each for each in good)
            client.sendto(data, running.address)
    with socket.create_connection(running.address) as client:
        client.sendall(b"\x00\x05nonsense" + noise.randbytes(300))
    assert running.ask("hello.example").answer
    assert running.ask("hello.example", tcp=True).answer


# --- forwarding --------------------------------------------------------------------------------------------------------------


def test_unknown_names_are_forwarded_unchanged(run: Any, database: Path, app: Mp1, upstream: Upstream) -> None:
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    query = dns.message.make_query("Cloud.example", "A", want_dnssec=True, payload=1400)
    answer = dns.query.udp(query, *running.address[:1], port=running.address[1], timeout=5)
    assert answer.answer[0].to_text() == "Cloud.example. 77 IN A 198.51.100.7"
    (data, _), *_ = upstream.queries
    assert data[2:] == query.to_wire()[2:], "all but the id, EDNS and the case of letters included"
    assert running.ask("hello.example").answer[0].to_text().endswith("10.1.2.3")
    assert len(upstream.queries) == 1, "names with a rule are not asked elsewhere"


def test_nxdomain_is_relayed_as_nxdomain(run: Any, database: Path, upstream: Upstream) -> None:
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    for tcp in (False, True):
        assert running.ask("missing.example", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
    assert len(upstream.tcp_queries) == 1, "a TCP client is forwarded over TCP"


def test_ids_and_ports_are_random(run: Any, database: Path, upstream: Upstream) -> None:
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    for number in range(40):
        running.ask(f"n{number}.example", id=7)
    assert len({data[:2] for data, _ in upstream.queries}) > 35
    assert len({port for _, port in upstream.queries}) > 8


def test_forged_answers_are_not_believed(run: Any, database: Path, upstream: Upstream) -> None:
    def forge(query: dns.message.Message) -> list[bytes]:
        real = upstream.usual(query)[0]
        other = dns.message.make_query("other.example", "A", id=query.id)
        wrong_question = dns.message.make_response(other).to_wire()
        wrong_id = struct.pack("!H", query.id ^ 1) + real[2:]
        not_an_answer = query.to_wire()
        return [wrong_question, wrong_id, not_an_answer, b"", real[:5], real]

    upstream.answer = forge
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    assert running.ask("cloud.example").answer[0].to_text().endswith("198.51.100.7")


def test_a_silent_upstream_is_servfail_and_the_next_one_is_asked(run: Any, database: Path, upstream: Upstream) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        dead = silent.getsockname()
        alone = run(database, upstreams=[dead], timeout=0.3)
        assert alone.ask("cloud.example").rcode() == dns.rcode.SERVFAIL
        assert alone.ask("cloud.example", tcp=True).rcode() == dns.rcode.SERVFAIL
        backed = run(database, upstreams=[dead, ("127.0.0.1", upstream.port)], timeout=0.6)
        assert backed.ask("cloud.example").answer
        assert backed.ask("cloud.example", tcp=True).answer


def test_a_truncated_answer_is_relayed_and_the_client_comes_back_over_tcp(
    run: Any, database: Path, upstream: Upstream
) -> None:
    def truncate(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    upstream.answer = truncate
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    query = dns.message.make_query("cloud.example", "A")
    answer, by_tcp = dns.query.udp_with_fallback(query, "127.0.0.1", port=running.address[1], timeout=5)
    assert by_tcp
    assert answer.answer


def test_the_table_of_waiting_queries_is_bounded(run: Any, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mep.dns.forwarder.LIMIT", 3)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        silent.bind(("127.0.0.1", 0))
        running = run(database, upstreams=[silent.getsockname()], timeout=30)
        client.settimeout(5)
        for number in range(5):
            client.sendto(dns.message.make_query(f"n{number}.example", "A").to_wire(), running.address)
        codes = [dns.message.from_wire(client.recv(2000)).rcode() for _ in range(2)]
        assert codes == [dns.rcode.SERVFAIL] * 2
        forwarder = running.server._forwarder
        assert isinstance(forwarder, Forwarder)
        until(lambda: forwarder.waiting == 3)


def test_a_name_with_a_rule_is_never_said_not_to_exist(
    run: Any, database: Path, speak: Callable[..., Mp1], upstream: Upstream
) -> None:
    speak(dns_rules=[{**DNS_RULE, "domainName": "missing.example"}])
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    for tcp in (False, True):
        answer = running.ask("missing.example", "TXT", tcp=tcp)
        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.authority
        assert running.ask("missing.other", "TXT", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
    assert len(upstream.queries) == 2, "other types are asked upstream all the same"


def test_an_upstream_that_cannot_read_queries_or_be_reached_is_passed_over(
    run: Any, database: Path, upstream: Upstream
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bare:
        bare.bind(("127.0.0.1", 0))

        def fail() -> None:
            for _ in range(2):
                data, source = bare.recvfrom(2000)
                bare.sendto(data[:2] + b"\x80\x01" + bytes(8), source)

        threading.Thread(target=fail, daemon=True).start()
        alone = run(database, upstreams=[bare.getsockname()], timeout=60)
        assert alone.ask("cloud.example").rcode() == dns.rcode.SERVFAIL, "at once, not when its time is up"
        running = run(database, upstreams=[bare.getsockname(), ("127.0.0.1", upstream.port)], timeout=60)
        assert running.ask("cloud.example").answer
        nowhere = run(database, upstreams=[("255.255.255.255", 53), ("127.0.0.1", upstream.port)], timeout=60)
        assert nowhere.ask("cloud.example").answer


def test_more_than_the_client_can_take_is_truncated(run: Any, database: Path, upstream: Upstream) -> None:
    def long(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        rrset = dns.rrset.from_text(query.question[0].name, 9, "IN", "A", *(f"10.0.0.{n}" for n in range(100)))
        reply.answer.append(rrset)
        return [reply.to_wire(max_size=4096)]

    upstream.answer = long
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    short = running.ask("cloud.example", use_edns=False)
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(running.ask("cloud.example", use_edns=0, payload=4096).answer[0]) == 100


def test_ports_are_given_up_after_a_while(
    run: Any, database: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mep.dns.forwarder.USES", 3)
    monkeypatch.setattr("mep.dns.forwarder.PORTS", 2)
    running = run(database, upstreams=[("127.0.0.1", upstream.port)])
    for number in range(60):
        assert running.ask(f"n{number}.example").answer
    assert len({port for _, port in upstream.queries}) > 12
    assert len(running.server._forwarder._open) <= 2


def test_one_source_cannot_have_all_tcp_connections(
    run: Any, database: Path, app: Mp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mep.dns.server.OF_ONE", 3)
    running = run(database)
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(running.address, timeout=5)) for _ in range(3)]
        until(lambda: running.server._open.total() == 3)
        with socket.create_connection(running.address, timeout=5) as refused:
            assert refused.recv(10) == b""
        held[0].close()
        until(lambda: running.server._open.total() == 2)
        assert running.ask("hello.example", tcp=True).answer


def test_a_source_that_asks_too_much_can_still_come_over_tcp(run: Any, database: Path, app: Mp1) -> None:
    running = run(database, rate=1, burst=5)
    query = dns.message.make_query("hello.example", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(running.address)
        client.settimeout(5)
        for _ in range(9):
            client.send(query)
        got = [dns.message.from_wire(client.recv(2000)) for _ in range(7)]
    assert [bool(each.flags & dns.flags.TC) for each in got] == [False] * 5 + [True] * 2
    assert running.ask("hello.example", tcp=True).answer


def test_processes_share_an_address(run: Any, database: Path, app: Mp1) -> None:
    port = free_port()
    both = [run(database, port=port, shared=True) for _ in range(2)]
    for each in both:
        assert each.ask("hello.example").answer
        assert each.ask("hello.example", tcp=True).answer


def test_clients_are_told_apart(run: Any, database: Path, app: Mp1) -> None:
    running = run(database)
    assert running.ask("hello.example").answer
    scopes.put_scope("other", kind="ue", networks=["10.0.0.0/8"])
    scopes.set_rule_scope("app-1", "d1", "other")
    assert running.ask("hello.example").rcode() == dns.rcode.REFUSED
    scopes.put_scope("here", kind="zone", networks=["127.0.0.0/8"])
    scopes.set_rule_scope("app-1", "d1", "here")
    assert running.ask("hello.example").answer


def test_without_upstreams_unknown_names_are_refused(run: Any, database: Path) -> None:
    assert run(database).ask("cloud.example").rcode() == dns.rcode.REFUSED


def test_strangers_get_no_answer_from_the_rules(run: Any, database: Path, app: Mp1) -> None:
    running = run(database, networks=(ipaddress.ip_network("10.0.0.0/8"),))
    host, port = running.address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(dns.message.make_query("hello.example", "A").to_wire(), (host, port))
        assert dns.message.from_wire(client.recv(2000)).rcode() == dns.rcode.REFUSED
