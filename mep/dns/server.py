"""The responder on the network: UDP and TCP, IPv4 and IPv6, fed by the ACTIVE rules of the node's database.

UDP sockets are drained in batches from the event loop's reader callback, which answers four times as many queries
as a datagram protocol does. Before each batch the database is asked whether anything was committed (4 microseconds),
so a changed rule counts from the next query on and an idle responder does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mep.dns.forwarder import Forwarder, Server
from mep.dns.responder import Forward, Network, Responder
from mep.dns.table import Table
from mep.mp1.database import Pulse

log = logging.getLogger(__name__)
BATCH = 64
CONNECTIONS = 256
IDLE = 10.0


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


class DnsServer:
    """One responder process. `start`, then let the loop run, then `close`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.responder = Responder(config.networks, forwards=bool(config.upstreams))
        self.addresses: list[tuple[str, int]] = []
        self._pulse = Pulse(config.database)
        self._version: int | None = None
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._open = 0
        self._forwarder: Forwarder | None = None

    async def start(self) -> None:
        """Bind every address for UDP and TCP; the error names the one that cannot be bound."""
        self.refresh()
        if self.config.upstreams:
            self._forwarder = Forwarder(self.config.upstreams, self.config.timeout)
        for address in self.config.bind:
            await self._listen(address)
        log.info(
            "DNS on %s; %d names",
            ", ".join(f"{host} port {port}" for host, port in self.addresses),
            len(self.responder.table),
        )

    async def _listen(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        self._sockets.append(udp)
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind((address, self.config.port))
        port = udp.getsockname()[1]
        self._servers.append(await asyncio.start_server(self._talk, address, port, family=family, reuse_address=True))
        asyncio.get_running_loop().add_reader(udp, self._drain, udp)
        self.addresses.append((address, port))

    async def close(self) -> None:
        """Stop listening."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            loop.remove_reader(each)
            each.close()
        for server in self._servers:
            server.close()
        if self._forwarder:
            self._forwarder.close()
        self._pulse.close()

    def refresh(self) -> None:
        """Take over the rules when any has changed. With the database out of reach the present ones stay."""
        try:
            if not self._pulse.moved():
                return
            database = self._pulse.open()
            database.execute("BEGIN")
            try:
                row = database.execute("SELECT value FROM mp1_counter WHERE name = 'dns'").fetchone()
                version = row[0] if row else 0
                if version == self._version:
                    return
                rows = database.execute(
                    "SELECT domain_name, family, address, ttl FROM mp1_dnsrule WHERE state = 'ACTIVE'"
                ).fetchall()
            finally:
                database.execute("COMMIT")
        except sqlite3.Error as problem:
            log.warning("the DNS rules cannot be read, the present ones stay: %s", problem)
            self._pulse.close()
            return
        self.responder.table = Table(rows, default_ttl=self.config.default_ttl, serial=version)
        self._version = version

    # --- UDP ---------------------------------------------------------------------------------------------------------

    def _drain(self, udp: socket.socket) -> None:
        self.refresh()
        reply = self.responder.reply
        for _ in range(BATCH):
            try:
                data, source = udp.recvfrom(65535)
            except OSError:  # nothing more, or an ICMP error of an earlier answer
                return
            try:
                response = reply(data, source[0], udp=True)
            except Exception:
                log.exception("a query of %d bytes could not be handled", len(data))
                continue
            if isinstance(response, Forward):
                assert self._forwarder is not None
                self._forwarder.ask(data, response.question, _sender(udp, source))
            elif response is not None:
                _send(udp, response, source)

    # --- TCP ---------------------------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= CONNECTIONS:
            writer.close()
            return
        self._open += 1
        try:
            source = str(writer.get_extra_info("peername")[0])
            while True:
                async with asyncio.timeout(IDLE):
                    data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self.refresh()
                response = self.responder.reply(data, source, udp=False)
                if isinstance(response, Forward):
                    assert self._forwarder is not None
                    response = await self._forwarder.ask_stream(data, response.question)
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
            self._open -= 1
            writer.close()


def _sender(udp: socket.socket, source: Any) -> Callable[[bytes], None]:
    return lambda response: _send(udp, response, source)


def _send(udp: socket.socket, response: bytes, source: Any) -> None:
    try:
        udp.sendto(response, source)
    except OSError as problem:  # the buffer is full or the client unreachable: it asks again
        log.debug("an answer to %s was lost: %s", source[0], problem)
