"""A resolver of our own that answers as told, over UDP and TCP on one port."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import dns.message
import dns.rcode
import dns.rrset


class Upstream:
    """Answers every name with 198.51.100.7, those that begin with `missing` with NXDOMAIN, until told otherwise."""

    def __init__(self) -> None:
        self.answer: Callable[[dns.message.Message], list[bytes]] = self.usual
        self.queries: list[tuple[bytes, int]] = []
        self.tcp_queries: list[bytes] = []
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.port = self.stream.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    def usual(self, query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        name = query.question[0].name
        if str(name).startswith("missing"):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            reply.answer.append(dns.rrset.from_text(name, 77, "IN", "A", "198.51.100.7"))
        return [reply.to_wire()]

    def _serve_udp(self) -> None:
        while True:
            try:
                data, source = self.udp.recvfrom(4096)
            except OSError:
                return
            self.queries.append((data, source[1]))
            for each in self.answer(dns.message.from_wire(data)):
                self.udp.sendto(each, source)

    def _serve_tcp(self) -> None:
        while True:
            try:
                client, _ = self.stream.accept()
            except OSError:
                return
            with client, client.makefile("rb") as file:
                data = file.read(struct.unpack("!H", file.read(2))[0])
                self.tcp_queries.append(data)
                reply = self.usual(dns.message.from_wire(data))[0]
                client.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self) -> None:
        self.udp.close()
        self.stream.shutdown(socket.SHUT_RDWR)
        self.stream.close()
