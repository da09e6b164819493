"""10,000 random and damaged datagrams to a real responder process: an answer or silence, no crash, memory flat."""

from __future__ import annotations

import random
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

from tests.mep.conftest import DNS_RULE
from tests.mep.dns.upstream import Upstream
from tests.mep.process import Process, free_port
from tests.waiting import until

pytestmark = pytest.mark.live
ROUNDS = 10_000
NAMES = ["hello.example", "cloud.example", "HELLO.eXample", "x" * 63 + ".example", "."]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


def queries() -> list[bytes]:
    """Return good queries of many kinds, to be damaged."""
    found = [
        dns.message.make_query(name, kind, **options).to_wire()
        for name in NAMES
        for kind in ("A", "AAAA", "HTTPS", "ANY", "TXT", "AXFR")
        for options in ({}, {"use_edns": False}, {"want_dnssec": True, "payload": 4096})
    ]
    cookie = dns.edns.GenericOption(10, b"12345678")
    subnet = dns.edns.ECSOption("192.0.2.0", 24)
    found.append(dns.message.make_query("hello.example", "A", use_edns=0, options=[cookie, subnet]).to_wire())
    return found


def damaged(good: bytes, noise: random.Random) -> bytes:
    data = bytearray(good)
    how = noise.randrange(7)
    if how == 0:
        return noise.randbytes(noise.randrange(0, 600))
    if how == 1:
        return good[: noise.randrange(len(good))]
    if how == 2:
        return good + noise.randbytes(noise.randrange(1, 400))
    if how == 3:  # counts that promise what is not there
        data[4:12] = struct.pack("!4H", *(noise.choice([0, 1, 2, 255, 65535]) for _ in range(4)))
    elif how == 4:  # compression that leads in circles
        data[12:12] = struct.pack("!H", 0xC000 | noise.randrange(0x40))
    elif how == 5:
        data[2:4] = noise.randbytes(2)
    else:
        for _ in range(noise.randrange(1, 8)):
            data[noise.randrange(len(data))] = noise.randrange(256)
    return bytes(data)


def hostile(query: dns.message.Message, noise: random.Random) -> list[bytes]:
    """Return what an upstream might send that means no good."""
    good = dns.message.make_response(query)
    good.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "198.51.100.7"))
    data = good.to_wire()
    return [
        noise.choice(
            [
                b"",
                data[: noise.randrange(len(data))],
                data[:2] + noise.randbytes(noise.randrange(700)),
                data[:2] + bytes([data[2] | 0x82]) + data[3:],
                data[:6] + b"\xff\xff\xff\xff" + data[10:],
                data + bytes(60_000),
                data[:-16] + b"\xc0\x0c" * 8,
                data[:2] + b"\x80\x05" + bytes(8),
                damaged(data, noise),
                data,
            ]
        )
        for _ in range(noise.randrange(1, 3))
    ]


def memory(process: Process) -> int:
    assert process.running is not None
    status = Path(f"/proc/{process.running.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1])


def test_random_datagrams_get_an_answer_or_silence(tmp_path: Path, upstream: Upstream) -> None:
    noise = random.Random(20)
    upstream_noise = random.Random(21)
    answer: Callable[[Any], list[bytes]] = lambda query: hostile(query, upstream_noise)  # noqa: E731
    upstream.answer = answer
    port = free_port()
    mep = Process(tmp_path / "node").start()
    responder = Process(
        tmp_path / "node", "dns", DNS_PORT=port, DNS_RATE=0, DNS_TIMEOUT=0.2, DNS_UPSTREAMS=f"127.0.0.1:{upstream.port}"
    ).start()
    try:
        mep.wait()
        until(lambda: b"DNS on" in responder.log.read_bytes(), timeout=60, what=str(responder.log))
        with mep.app("producer", appDNSRule=[DNS_RULE]):
            good = queries()
            _send(port, good, noise, ROUNDS // 4)  # what a process needs once it has worked for a while
            before = memory(responder)
            answers = _send(port, good, noise, ROUNDS)
            after = memory(responder)
            assert answers > ROUNDS // 10
            assert after - before < 4096, f"{before} kB before, {after} kB after"
            query = dns.message.make_query("hello.example", "A")
            for ask in (dns.query.udp, dns.query.tcp):
                assert ask(query, "127.0.0.1", port=port, timeout=5).answer[0].to_text().endswith("10.1.2.3")
        assert responder.stop() == 0
        log = responder.log.read_text()
        assert "Traceback" not in log
        assert "could not be handled" not in log
    finally:
        responder.stop()
        mep.stop()


def _send(port: int, good: list[bytes], noise: random.Random, rounds: int) -> int:
    """Send damaged queries, and streams of them over TCP now and then; returns how many answers came."""
    answers = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        for number in range(rounds):
            data = damaged(noise.choice(good), noise)
            client.send(data)
            if number % 500 == 0:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
                    stream.sendall(struct.pack("!H", len(data)) + data + noise.randbytes(50))
            if number % 32 == 0:  # let it keep up: lost datagrams prove nothing
                client.settimeout(2)
                client.send(struct.pack("!H", 0xBEEF) + dns.message.make_query("hello.example", "A").to_wire()[2:])
                while client.recv(65535)[:2] != b"\xbe\xef":
                    answers += 1
                client.setblocking(False)
    return answers
