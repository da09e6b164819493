"""Real name servers, started on loopback in a folder of their own, without privileges, and removed again."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import httpx
import pytest

from mep.dns import backends
from mep.dns.backends.contract import DnsBackend, RecordSet
from mep.dns.wire import wire_name
from tests.ports import free_port
from tests.waiting import until

SECRET = "bWVwLW1lcC1tZXAtbWVwLW1lcC1tZXAtbWVwLW1lcC0="  # no secret: the key of servers that live for a test
ZONE = """$TTL 30
@ SOA ns hostmaster 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
own A 192.0.2.1
alias CNAME own
"""


class Server:
    """One server program; a subclass writes its configuration."""

    program = ""
    domain = "edge.example"

    def __init__(self) -> None:
        path = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{self.program} is not installed")
        self.path = path
        self.folder = Path(tempfile.mkdtemp(prefix="breakwater-dns-"))
        self.port = free_port()
        self.running: subprocess.Popen[bytes] | None = None
        self.configure()
        if os.geteuid() == 0:
            for each in (self.folder, *self.folder.rglob("*")):
                shutil.chown(each, "nobody", "nogroup")
        self.start()
        self.backend = self.make_backend()

    def configure(self) -> None:
        raise AssertionError("a subclass writes its files here")

    def command(self) -> list[str]:
        raise AssertionError("a subclass says here how it is started")

    def make_backend(self, **options: Any) -> DnsBackend:
        raise AssertionError("a subclass makes its backend here")

    def start(self) -> None:
        """Start it and wait until it answers."""
        nobody: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(
                [self.path, *self.command()], cwd=self.folder, stdout=log, stderr=log, **nobody
            )
        until(self.answering, timeout=60, what=f"{self.program} to answer")

    def answering(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, (self.folder / "log").read_text()
        try:
            return bool(self.answers("own.edge.example", "A", timeout=1))
        except (OSError, dns.exception.Timeout):
            return False

    def answers(self, name: str, kind: str, timeout: float = 30.0) -> set[str]:
        """Return the addresses that a client gets."""
        reply = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=self.port, timeout=timeout)
        wanted = dns.rdatatype.from_text(kind)
        return {each.address for rrset in reply.answer if rrset.rdtype == wanted for each in rrset}

    def foreign(self) -> RecordSet | None:
        return RecordSet("own.edge.example", "A", 30, ("192.0.2.1",))

    def stop(self) -> None:
        """End it politely, so that it keeps its zone."""
        if self.running is not None:
            self.running.terminate()
            try:
                self.running.wait(60)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()
            self.running = None

    def remove(self) -> None:
        """End it and delete its folder."""
        if hasattr(self, "backend"):
            self.backend.close()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Bind(Server):
    """BIND 9 as the primary of a zone."""

    program = "named"
    mode = "zone"
    extra = (
        'zone "edge.example" { type primary; file "zone"; allow-update { key mep; }; allow-transfer { key mep; }; };'
    )
    options = "recursion no;"

    def configure(self) -> None:
        (self.folder / "zone").write_text(ZONE)
        (self.folder / "named.conf").write_text(f"""
            key "mep" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
            controls {{ }};
            options {{
                directory "{self.folder}"; pid-file "{self.folder}/pid"; session-keyfile "{self.folder}/session.key";
                managed-keys-directory "{self.folder}"; listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                dnssec-validation no; allow-query {{ 127.0.0.0/8; }}; notify no; {self.options}
            }};
            {self.extra}
        """)

    def command(self) -> list[str]:
        return ["-g", "-n", "1", "-c", str(self.folder / "named.conf")]

    def make_backend(self, **options: Any) -> DnsBackend:
        known = {"server": "127.0.0.1", "port": self.port, "zone": "edge.example", "mode": self.mode, "key_name": "mep"}
        return backends.create("rfc2136", {**known, **options}, SECRET)


class BindRpz(Bind):
    """BIND 9 as a resolver with a response policy zone; other names are asked at `upstream`."""

    mode = "rpz"

    def __init__(self, upstream: int) -> None:
        self.options = (
            f"recursion yes; forward only; forwarders {{ 127.0.0.1 port {upstream}; }}; "
            'response-policy { zone "rpz.mep" min-update-interval 0; } qname-wait-recurse no break-dnssec yes;'
        )
        self.extra = (
            'zone "rpz.mep" { type primary; file "zone"; allow-update { key mep; }; allow-transfer { key mep; }; };'
        )
        super().__init__()

    def configure(self) -> None:
        super().configure()
        (self.folder / "zone").write_text(ZONE.replace("\nown A", "\nown.edge.example A"))

    def make_backend(self, **options: Any) -> DnsBackend:
        return super().make_backend(**{"zone": "rpz.mep", **options})


class Knot(Server):
    """Knot DNS as the primary of a zone."""

    program = "knotd"

    def configure(self) -> None:
        (self.folder / "zone").write_text(ZONE)
        (self.folder / "knot.conf").write_text(f"""
server:
    rundir: "{self.folder}"
    listen: 127.0.0.1@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{self.folder}"
log:
  - target: stderr
    any: info
key:
  - id: mep
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: mep
    key: mep
    action: [update, transfer]
zone:
  - domain: edge.example
    storage: "{self.folder}"
    file: zone
    acl: mep
""")

    def command(self) -> list[str]:
        return ["-c", str(self.folder / "knot.conf")]

    def make_backend(self, **options: Any) -> DnsBackend:
        known = {"server": "127.0.0.1", "port": self.port, "zone": "edge.example", "key_name": "mep"}
        return backends.create("rfc2136", {**known, **options}, SECRET)


class PowerDns(Server):
    """PowerDNS with its SQLite backend and REST API."""

    program = "pdns_server"
    schema = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")

    def configure(self) -> None:
        if not self.schema.exists():
            pytest.skip("pdns-backend-sqlite3 is not installed")
        database = sqlite3.connect(self.folder / "pdns.sqlite3")
        database.executescript(self.schema.read_text())
        database.close()
        self.api = free_port()
        (self.folder / "pdns.conf").write_text(
            f"launch=gsqlite3\ngsqlite3-database={self.folder}/pdns.sqlite3\nlocal-address=127.0.0.1\n"
            f"local-port={self.port}\nsocket-dir={self.folder}\napi=yes\napi-key={SECRET}\nwebserver=yes\n"
            f"webserver-address=127.0.0.1\nwebserver-port={self.api}\ndaemon=no\nguardian=no\nsetuid=\nsetgid=\n"
        )

    def command(self) -> list[str]:
        return [f"--config-dir={self.folder}"]

    def answering(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, (self.folder / "log").read_text()
        url = f"http://127.0.0.1:{self.api}/api/v1/servers/localhost/zones"
        records = [("SOA", "edge.example.", "ns.edge.example. hostmaster.edge.example. 1 3600 600 86400 1"),
                   ("NS", "edge.example.", "ns.edge.example."), ("A", "ns.edge.example.", "127.0.0.1"),
                   ("A", "own.edge.example.", "192.0.2.1"), ("CNAME", "alias.edge.example.", "own.edge.example.")]  # fmt: skip
        rrsets = [
            {"name": name, "type": kind, "ttl": 30, "records": [{"content": text}]} for kind, name, text in records
        ]
        try:
            httpx.post(
                url,
                json={"name": "edge.example.", "kind": "Native", "rrsets": rrsets},
                headers={"X-API-Key": SECRET},
                trust_env=False,
                timeout=60,
            )
        except httpx.HTTPError:
            return False
        return super().answering()

    def make_backend(self, **options: Any) -> DnsBackend:
        known = {"url": f"http://127.0.0.1:{self.api}", "zone": "edge.example"}
        return backends.create("powerdns", {**known, **options}, SECRET)


def served(server: Server, wanted: dict[str, str]) -> int:
    """Return how many of these names a client gets the right IPv4 address of, asked fifty at a time."""
    good = 0
    names = list(wanted)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", server.port))
        client.settimeout(30)
        for at in range(0, len(names), 50):
            asked = dict(enumerate(names[at : at + 50]))
            for number, name in asked.items():
                client.send(struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + wire_name(name) + b"\0\1\0\1")
            deadline = time.monotonic() + 30
            while asked and time.monotonic() < deadline:
                data = client.recv(4096)
                name = asked.pop(int.from_bytes(data[:2], "big"), "")
                good += bool(name) and b"\0\4" + socket.inet_aton(wanted[name]) in data
    return good
