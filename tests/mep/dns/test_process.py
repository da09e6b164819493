"""`manage.py dns` as a process: several that share an address, and one that feeds another name server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

from core.errors import Invalid, Missing
from mep.dns.process import make_backend
from tests.mep.conftest import DNS_RULE
from tests.mep.dns import servers
from tests.mep.process import Process
from tests.ports import free_port
from tests.waiting import until


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(command: str = "mp1", **settings: Any) -> Process:
        made.append(Process(tmp_path / "node", command, **settings).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()


@pytest.mark.live
def test_several_processes_answer_at_one_address_and_end_together(launch: Callable[..., Process]) -> None:
    port = free_port()
    mep = launch()
    responder = launch("dns", DNS_PORT=port, DNS_PROCESSES=2, DNS_BIND="127.0.0.1")
    mep.wait()
    until(lambda: responder.log.read_bytes().count(b"DNS on") == 2, timeout=60, what=str(responder.log))
    with mep.app("producer", appDNSRule=[DNS_RULE]):
        for _ in range(20):
            query = dns.message.make_query("hello.example", "A")
            assert dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer
    assert responder.stop() == 0
    with pytest.raises((OSError, dns.exception.Timeout)):
        dns.query.tcp(query, "127.0.0.1", port=port, timeout=0.5)


@pytest.mark.live
def test_the_rules_of_mp1_reach_a_real_name_server(launch: Callable[..., Process], tmp_path: Path) -> None:
    bind = servers.Bind()
    try:
        options, key = tmp_path / "dns.json", tmp_path / "key"
        key.write_text(f'key "mep" {{ algorithm hmac-sha256; secret "{servers.SECRET}"; }};')
        options.write_text(
            json.dumps({"server": "127.0.0.1", "port": bind.port, "zone": "edge.example", "key_file": str(key)})
        )
        mep = launch()
        sender = launch("dns", DNS_BACKEND="rfc2136", DNS_CONFIG=options)
        mep.wait()
        rule = {**DNS_RULE, "domainName": "hello.edge.example"}
        with mep.app("producer", appDNSRule=[rule]):
            until(lambda: bind.answers("hello.edge.example", "A") == {"10.1.2.3"}, timeout=20)
        assert sender.stop() == 0
        assert servers.SECRET not in sender.log.read_text()
    finally:
        bind.remove()


@pytest.mark.parametrize(
    ("backend", "options", "secret", "error", "told"),
    [
        ("pigeon", {}, "", Missing, "powerdns"),
        ("rfc2136", {}, "", Invalid, "server"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x.example", "mode": "magic"}, "", Invalid, "mode"),
        ("rfc2136", {"server": "ns.example", "zone": "x.example"}, "", Invalid, "IP address"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x.example", "port": 0}, "", Invalid, "port"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x.example", "zome": 1}, "", Invalid, "zome"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x..example"}, "", Invalid, "zone"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x.example"}, "c2VjcmV0", Invalid, "key_name"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x.example", "key_name": "k"}, "s3cr=t!", Invalid, "base64"),
        ("rfc2136", {"server": "127.0.0.1", "zone": "x.example", "key_file": "/nowhere"}, "", Invalid, "key_file"),
        ("powerdns", {"url": "ftp://x", "zone": "x.example"}, "s3cr=t!", Invalid, "url"),
        ("powerdns", {"url": "http://127.0.0.1:8081", "zone": "x/../y"}, "s3cr=t!", Invalid, "zone"),
        ("powerdns", {"url": "http://127.0.0.1:8081", "zone": "x.example"}, "", Invalid, "API key"),
        ("memory", {"colour": "blue"}, "", Invalid, "colour"),
    ],
)
def test_options_that_make_no_sense_are_told_without_the_secret(
    settings: Any, tmp_path: Path, backend: str, options: Any, secret: str, error: Any, told: str
) -> None:
    file = tmp_path / "dns.json"
    file.write_text(json.dumps(options))
    settings.DNS_BACKEND, settings.DNS_CONFIG, settings.DNS_SECRET = backend, str(file), secret
    with pytest.raises(error, match=told) as problem:
        make_backend()
    assert not secret or secret not in problem.value.detail


def test_the_secret_may_be_in_a_file(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "dns.json"
    file.write_text(json.dumps({"url": "http://127.0.0.1:1", "zone": "x.example"}))
    settings.DNS_BACKEND, settings.DNS_CONFIG, settings.DNS_SECRET_FILE = "powerdns", str(file), str(tmp_path / "no")
    with pytest.raises(Invalid, match="MEP_DNS_SECRET_FILE"):
        make_backend()
    (tmp_path / "no").write_text("apikey\n")
    assert make_backend().name == "powerdns"
    for text in ("{", "[]"):
        file.write_text(text)
        with pytest.raises(Invalid, match="MEP_DNS_CONFIG"):
            make_backend()
