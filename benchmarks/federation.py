"""What federation costs: first sync, one day's diff, an idle sync, and packages from store to store beside curl.

    .venv/bin/python benchmarks/federation.py [--apps 10000] [--releases 4] [--megabytes 512]

The feed is signed by a partner made in memory and served over HTTP on loopback; our side is the real sync into a new database.
The build of our own feed and the transfer of packages run on the real models, the latter by a real server process.
Bytes are counted on the line, with all headers.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
VAR = Path(tempfile.mkdtemp(prefix="breakwater-federation-"))
os.environ["BREAKWATER_VAR"] = str(VAR)
os.environ["DJANGO_SETTINGS_MODULE"] = "mecm.settings"
PREFIX = "/api/v1/federation/"


_WORDS = (
    *(
        "camera",
        "stream",
        "analytics",
        "edge",
        "inference",
        "vehicle",
        "safety",
        "zone",
        "relay",
        "cache",
        "map",
        "tile",
    ),
    *(
        "radio",
        "planner",
        "twin",
        "voice",
        "gateway",
        "broker",
        "sensor",
        "fusion",
        "drone",
        "harbour",
        "crane",
        "alarm",
    ),
)


class Relay:
    """Passes a connection on, counts the bytes, and cuts it after `cut_after` bytes as often as `cuts` says."""

    def __init__(self, port: int, cuts: int = 0, cut_after: int = 0) -> None:
        self.target, self.cuts, self.cut_after = port, cuts, cut_after
        self.up = self.down = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self.socket.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pass, args=(near, far, "up", 0), daemon=True).start()
            cut = self.cut_after if self.cuts else 0
            self.cuts = max(0, self.cuts - 1)
            threading.Thread(target=self._pass, args=(far, near, "down", cut), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, way: str, cut: int) -> None:
        sent = 0
        try:
            while data := source.recv(1 << 18):
                setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)
                sent += len(data)
                if cut and sent >= cut:
                    break
        except OSError:
            pass
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def serve(files: dict[str, bytes], key: Any) -> int:
    """Serve files by path with ETags, signed with the key of the store; returns the port."""
    from appstore.federation import signing

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = files.get(self.path.removeprefix(PREFIX))
            etag = f'"{hashlib.sha256(data or b"").hexdigest()}"'
            known = data is not None and self.headers.get("If-None-Match") == etag
            self.send_response(304 if known else 404 if data is None else 200)
            body = b"" if known or data is None else data
            path = self.path.removeprefix(PREFIX)
            # As a store does: what is named by its version or digest has no ETag.
            headers = (
                {}
                if path == "feed" or path.startswith("targets/") or path[4:5].isdigit() or data is None
                else {"ETag": etag}
            )
            if body:
                kind = "application/gzip" if self.path.endswith(".gz") else "application/json"
                headers |= {"Content-Type": kind, "Content-Digest": signing.digest_of(body)}
            lower = {name.lower(): value for name, value in headers.items()}
            asked = {name.lower(): value for name, value in self.headers.items()}
            status = 304 if known else 404 if data is None else 200
            headers |= signing.sign_answer(key, status, self.path, lower, asked)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def releases(apps: int, each: int) -> dict[str, Any]:
    """Make the metadata of a store: `apps` applications with `each` releases."""
    import uuid

    words = list(_WORDS)
    found = {}
    for number in range(apps):
        text = " ".join(words[(number * 7 + step * step) % len(words)] for step in range(24))
        for release in range(each):
            found[str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number}-{release}"))] = {
                "name": f"{words[number % len(words)]}-{words[number // 7 % len(words)]}-{number}",
                "provider": f"Provider {number % 211}",
                "version": f"{release + 1}.{number % 10}.0",
                "state": "published",
                "owner": f"org-{number % 37}",
                "sha256": hashlib.sha256(f"{number}-{release}".encode()).hexdigest(),
                "size": 10_000_000 + number,
                "published": f"2026-0{1 + release % 9}-11T10:00:00+00:00",
                "format": "etsi-csar",
                "description": text,
                "category": words[number % 9],
                "keywords": sorted({words[number % 11], words[number % 13]}),
                "architectures": ["x86_64"],
                "services": ["mec-rni"],
                "licences": ["Apache-2.0"],
                "certification": "basic",
                "signature": "trusted",
            }
    return found


def day(index: dict[str, Any]) -> dict[str, Any]:
    """One day: 50 applications get a new release, 5 are new, 3 go."""
    import uuid

    after = dict(index)
    some = list(index)
    for number in range(50):
        old = index[some[number * 31 % len(some)]]
        new = {
            **old,
            "version": f"9.{number}.1",
            "sha256": secrets.token_hex(32),
            "published": "2026-11-20T10:00:00+00:00",
        }
        after[str(uuid.uuid4())] = new
    for number in range(5):
        old = index[some[number]]
        after[str(uuid.uuid4())] = {**old, "name": f"new-{number}", "sha256": secrets.token_hex(32)}
    for number in range(3):
        after.pop(some[-1 - number])
    return after


def following(organisation: Any, apps: int, each: int) -> None:
    from appstore.federation import sync
    from appstore.federation.models import Peer, RemoteRelease
    from tests.appstore.federation.forge import Forge

    forge = Forge()
    forge.steady = True
    index = releases(apps, each)
    began = time.perf_counter()
    forge.offer(index)
    full = forge.targets["index-1.json.gz"]
    seconds = time.perf_counter() - began
    print(f"partner: {len(index)} releases of {apps} apps, index {len(full) / 1e6:.2f} MB, signed in {seconds:.2f} s")
    relay = Relay(serve(forge.files, forge.store))
    peer = forge.peer(organisation, url=f"http://127.0.0.1:{relay.port}")

    def measured(what: str) -> None:
        fresh = Peer.objects.get(pk=peer.pk)
        relay.up = relay.down = 0
        began = time.perf_counter()
        done = sync.follow(fresh)
        seconds = time.perf_counter() - began
        time.sleep(0.1)
        print(f"{what:12} {seconds:8.3f} s  {done.requests} requests, {relay.up + relay.down} bytes on the line "
              f"({relay.up} up, {relay.down} down), {done.put} put, {done.removed} removed")  # fmt: skip

    measured("first sync")
    for _ in range(70):  # so that the entry lists a full window of diffs
        forge.say({next(iter(forge.index)): {**next(iter(forge.index.values())), "category": secrets.token_hex(4)}})
    measured("70 serials")
    forge.offer(day(forge.index))
    measured("one day")
    measured("idle")
    assert RemoteRelease.objects.count() == len(forge.index)


def building(organisation: Any, count: int) -> None:
    from django.utils import timezone

    from appstore.federation import serials, terms
    from appstore.packages.models import Package
    from tests.appstore.federation.test_feed_served import Partner

    now = timezone.now()
    Package.objects.bulk_create(
        [
            Package(organisation=organisation, sha256=hashlib.sha256(str(n).encode()).hexdigest(), size=1000, name=f"app-{n}",
                    provider="Acme", version="1.0", state="published", published_at=now, description="An application " * 5)
            for n in range(count)
        ],
        batch_size=500,
    )  # fmt: skip
    for number in range(4):
        Partner(organisation, name=f"Partner {number}", out=terms.Offer() if number else None)
    began = time.perf_counter()
    serials.build()
    print(
        f"our feed of {count} releases for 4 partners of equal terms: first build {time.perf_counter() - began:.2f} s"
    )
    for package in Package.objects.all()[:58]:
        Package.objects.filter(pk=package.pk).update(visibility="organisation")
        serials.note_change(package)
    began = time.perf_counter()
    serials.build()
    print(f"next build with 58 changes: {time.perf_counter() - began:.2f} s")


def transferring(organisation: Any, megabytes: int) -> None:
    from django.conf import settings
    from django.utils import timezone

    from appstore.federation import serials, signing, transfer, wire
    from appstore.federation.link import WireLink
    from appstore.keys import services as keys
    from appstore.packages import blobs
    from appstore.packages.models import Package
    from tests.appstore.federation.test_feed_served import Partner

    piece = secrets.token_bytes(1 << 20)
    sha256, size = blobs.store(piece[number % 256 :] + piece[: number % 256] for number in range(megabytes))
    package = Package.objects.create(
        organisation=organisation, sha256=sha256, size=size, name="large", provider="Acme", version="1", state="published",
        published_at=timezone.now(),
    )  # fmt: skip
    partner = Partner(organisation, name="Puller")
    serials.note_change(package)
    serials.build()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "mecm.asgi:application", "--port", str(port), "--log-level", "error"],
        cwd=ROOT, env=os.environ,
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.1)
        store = keys.current(keys.STORE)
        path = f"{PREFIX}blobs/{sha256}"

        def curl() -> float:
            signed = signing.sign(partner.key, "GET", path, b"", audience=store.pk, now=time.time())
            headers = [word for name, value in signed.items() for word in ("-H", f"{name}: {value}")]
            began = time.perf_counter()
            target = VAR / "curl.bin"
            subprocess.run(
                ["curl", "-sf", *headers, "-o", str(target), f"http://127.0.0.1:{port}{path}"], check=True, timeout=600
            )
            assert target.stat().st_size == size
            return time.perf_counter() - began

        def ours(to: int, name: str) -> tuple[float, int]:
            settings.BLOB_DIR = VAR / name  # the other store
            client = wire.SignedClient(name="Here", url=f"http://127.0.0.1:{to}", audience=store.pk)
            client._key = partner.key
            began = time.perf_counter()
            came = transfer.fetch(WireLink(client), f"blobs/{sha256}", sha256=sha256, size=size, budget=Plenty())
            seconds = time.perf_counter() - began
            assert blobs.path_of(sha256).stat().st_size == size
            client.close()
            return seconds, came

        curl()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = min(ours(port, f"blobs-{n}")[0] for n in range(3))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        other = min(curl() for _ in range(3))
        print(f"package of {megabytes} MiB: ours {first:.2f} s ({megabytes / first:.0f} MiB/s, verified and on disk)")
        print(f"curl {other:.2f} s ({megabytes / other:.0f} MiB/s); ours takes {first / other:.2f} times as long")
        print(f"memory grew by {grown} kB")
        relay = Relay(port, cuts=5, cut_after=size // 7)
        seconds, _ = ours(relay.port, "blobs-cut")
        print(f"cut five times: {seconds:.2f} s, {relay.down / size:.4f} of the bytes")
    finally:
        server.terminate()
        server.wait(20)


class Plenty:
    def require(self, size: int) -> None:
        pass

    def spend(self, size: int) -> None:
        pass


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--apps", type=int, default=10_000)
    options.add_argument("--releases", type=int, default=4)
    options.add_argument("--megabytes", type=int, default=512)
    given = options.parse_args()

    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.OPERATION_BELL = ""
    call_command("migrate", verbosity=0)
    from core.accounts.models import Organisation

    organisation = Organisation.objects.create(slug="here", name="Here")
    following(organisation, given.apps, given.releases)
    building(organisation, given.apps)
    transferring(organisation, given.megabytes)


if __name__ == "__main__":
    import shutil

    try:
        main()
    finally:
        shutil.rmtree(VAR, ignore_errors=True)
