"""10,000 random and damaged datagrams to a real responder process: an answer or silence, no crash, memory flat."""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.mep.conftest import DNS_RULE
from tests.mep.process import Process
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.live
ROUNDS = 10_000
NAMES = ["hello.example", "cloud.example", "HELLO.eXample", "x" * 63 + ".example", "."]


class Hostile:
    """An upstream that means no good, over UDP and TCP on one port; it never reads what it is asked."""

    def __init__(self) -> None:
        self.noise = random.Random(21)
        self.asked = 0
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.port = self.stream.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    def _serve_udp(self) -> None:
        with suppress(OSError):
            while True:
                data, source = self.udp.recvfrom(65535)
                self.asked += 1
                for _ in range(self.noise.randrange(1, 3)):
                    self.udp.sendto(self.answer(data), source)

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.stream.accept()
                with client, suppress(OSError):
                    client.settimeout(1)
                    reply = self.answer(client.recv(65535)[2:])
                    length = self.noise.choice([len(reply), 0, 5, 65535])
                    client.sendall(struct.pack("!H", length) + reply[:65535])

    def answer(self, query: bytes) -> bytes:
        noise = self.noise
        end = query.find(0, 12) + 5
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x33\x64\7"
        good = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + record
        return noise.choice(
            [
                b"",
                good[: noise.randrange(len(good))],
                good[:2] + noise.randbytes(noise.randrange(700)),
                good[:2] + b"\x83\x80" + good[4:],
                good[:6] + b"\xff\xff\xff\xff" + good[10:],
                good + bytes(60_000),
                good[:-16] + b"\xc0\x0c" * 8,
                good[:2] + b"\x80\x05" + bytes(8),
                good[:2] + b"\x81\x83" + good[4:],
                damaged(good, noise),
                good,
            ]
        )

    def close(self) -> None:
        self.udp.close()
        self.stream.shutdown(socket.SHUT_RDWR)
        self.stream.close()


@pytest.fixture
def upstream() -> Iterator[Hostile]:
    made = Hostile()
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


def memory(process: Process) -> int:
    assert process.running is not None
    status = Path(f"/proc/{process.running.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1])


def test_random_datagrams_get_an_answer_or_silence(tmp_path: Path, upstream: Hostile) -> None:
    noise = random.Random(20)
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
            assert upstream.asked > ROUNDS // 20
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
