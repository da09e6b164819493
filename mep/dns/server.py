"""The responder on the network: UDP and TCP, IPv4 and IPv6, fed by the ACTIVE rules of the node's database.

UDP sockets are drained in batches from the event loop's reader callback, which answers many times as many queries
as a datagram protocol does. Before each batch the database is asked whether anything was committed (4 microseconds),
so a changed rule counts from the next query on and an idle responder does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mep.dns import wire
from mep.dns.backends.embedded import EmbeddedDns
from mep.dns.batches import Batch
from mep.dns.feed import Feed
from mep.dns.forwarder import Forwarder, Server
from mep.dns.limits import Limits
from mep.dns.records import Wanted
from mep.dns.responder import Forward, Responder
from mep.dns.scopes import Network

log = logging.getLogger(__name__)
#: TCP connections at a time: of all, and of one source.
CONNECTIONS, OF_ONE = 256, 64
#: Seconds that a TCP client may be silent, or slow to read.
IDLE = 10.0
#: Seconds between looks at the database when nobody asks anything.
BEAT = 0.2


@dataclass(frozen=True, slots=True)
class Config:
    """What the responder is told."""

    database: Path
    bind: Sequence[str]
    port: int
    networks: Sequence[Network]
    upstreams: Sequence[Server] = ()
    default_ttl: int = 30
    timeout: float = 2.0
    #: Queries that one source may send over UDP: a second, and at once. 0: any number.
    rate: float = 0
    burst: float = 0
    #: Other processes listen at the same addresses; the kernel spreads the clients over them.
    shared: bool = False


class DnsServer:
    """One responder process. `start`, then let the loop run, then `close`.

    `changed` is called after each change of what is answered, with the version of the rules.
    """

    def __init__(self, config: Config, changed: Callable[[int], None] = lambda version: None) -> None:
        self.config = config
        self.backend = EmbeddedDns()
        self.responder = Responder(
            config.networks,
            forwards=bool(config.upstreams),
            table=self.backend.table,
            limits=Limits(config.rate, config.burst),
        )
        self.addresses: list[tuple[str, int]] = []
        self._changed = changed
        self._feed = Feed(config.database)
        self._wanted = Wanted(config.default_ttl)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._open: Counter[str] = Counter()
        self._forwarder: Forwarder | None = None
        self._beat: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Bind every address for UDP and TCP; the error names the one that cannot be bound."""
        self.refresh()
        if self.config.upstreams:
            self._forwarder = Forwarder(self.config.upstreams, self.config.timeout)
        for address in self.config.bind:
            await self._listen(address)
        self._tick()
        log.info(
            "DNS on %s; %d names",
            ", ".join(f"{host} port {port}" for host, port in self.addresses),
            len(self.responder.table),
        )

    async def _listen(self, address: str) -> None:
        # Port 0 is any port: the one that UDP was given may be somebody's over TCP, then another one is tried.
        for tries_left in reversed(range(1 if self.config.port else 20)):
            udp = self._bound(address)
            try:
                port = udp.getsockname()[1]
                server = await asyncio.start_server(
                    self._talk,
                    address,
                    port,
                    family=udp.family,
                    reuse_address=True,
                    reuse_port=self.config.shared or None,
                )
            except OSError:
                udp.close()
                if not tries_left:
                    raise
                continue
            self._sockets.append(udp)
            self._servers.append(server)
            asyncio.get_running_loop().add_reader(udp, self._drain, udp, Batch(udp))
            self.addresses.append((address, port))
            return

    def _bound(self, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.setblocking(False)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            if self.config.shared:
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.bind((address, self.config.port))
        except OSError:
            udp.close()
            raise
        return udp

    async def close(self) -> None:
        """Stop listening."""
        loop = asyncio.get_running_loop()
        if self._beat:
            self._beat.cancel()
        for each in self._sockets:
            loop.remove_reader(each)
            each.close()
        for server in self._servers:
            server.close()
        if self._forwarder:
            self._forwarder.close()
        self._feed.close()

    def refresh(self) -> None:
        """Take over what has changed in the database; costs as much as it is much."""
        change = self._feed.look()
        if change is None:
            return
        self.backend.table.serial = self._feed.version
        put, gone = self._wanted.update(change.names, self._feed.of)
        self.backend.apply(put, gone)
        if change.scopes:
            self.responder.use(self._feed.scopes)
        self._changed(self._feed.version)

    def _tick(self) -> None:
        try:
            self.refresh()
        finally:
            self._beat = asyncio.get_running_loop().call_later(BEAT, self._tick)

    # --- UDP ---------------------------------------------------------------------------------------------------------

    def _drain(self, udp: socket.socket, batch: Batch) -> None:
        self.refresh()
        reply = self.responder.reply
        for at, (data, source) in enumerate(batch.receive()):
            try:
                response = reply(data, source, udp=True)
            except Exception:
                log.exception("a query of %d bytes could not be handled", len(data))
                continue
            if isinstance(response, bytes):
                batch.put(at, response)
            elif response is not None:
                assert self._forwarder is not None
                self._forwarder.ask(data, response.question, _relay(udp, batch.address(at), data, response))
        batch.send()

    # --- TCP ---------------------------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        source = str(peer[0]) if peer else ""
        if not source or self._open.total() >= CONNECTIONS or self._open[source] >= OF_ONE:
            writer.close()
            return
        self._open[source] += 1
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self.refresh()
                response = self.responder.reply(data, source, udp=False)
                if isinstance(response, Forward):
                    assert self._forwarder is not None
                    answer = await self._forwarder.ask_stream(data, response.question)
                    response = _instead(response, answer) or answer
                if response is None:
                    return
                async with asyncio.timeout(IDLE):
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client has gone, or says nothing
        except Exception:
            log.exception("a DNS connection broke off")
        finally:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]
            writer.close()


def _relay(udp: socket.socket, source: Any, query: bytes, forward: Forward) -> Callable[[bytes], None]:
    def deliver(answer: bytes) -> None:
        answer = _instead(forward, answer) or answer
        if len(answer) > max(512, forward.question.udp_size):
            # More than the client can take (RFC 6891 6.2.5): it comes back over TCP, and then so do we.
            answer = wire.reply(query[:2], forward.question, wire.TC | wire.RA)
        _send(udp, answer, source)

    return deliver


def _instead(forward: Forward, answer: bytes) -> bytes | None:
    """Return what we say ourselves when an upstream says that a name with a rule is not there at all."""
    return forward.nothing if answer[3] & 15 == wire.NXDOMAIN else None


def _send(udp: socket.socket, response: bytes, source: Any) -> None:
    try:
        udp.sendto(response, source)
    except OSError as problem:  # the buffer is full or the client unreachable: it asks again
        log.debug("an answer to %s was lost: %s", source[0], problem)
