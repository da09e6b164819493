"""What is answered to a query: the rules first; the rest is for others, or refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from mep.dns import wire
from mep.dns.table import Table

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Types that would lead a client past the edge when they were asked elsewhere.
OURS = frozenset({wire.A, wire.AAAA, wire.CNAME, wire.HTTPS, wire.SVCB})


class Forward:
    """The answer is somebody else's; carries the question for checking what comes back."""

    __slots__ = ("question",)

    def __init__(self, question: wire.Question) -> None:
        self.question = question


class Responder:
    """Decides about one message at a time; never raises, whatever comes in."""

    def __init__(self, networks: Sequence[Network], *, forwards: bool) -> None:
        self.table = Table()
        self.forwards = forwards
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def serves(self, source: str) -> bool:
        """Return whether an address may ask here."""
        known = self._known.get(source)
        if known is None:
            address = ipaddress.ip_address(source.partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            known = any(address.version == net.version and address in net for net in self._networks)
            if len(self._known) > 50_000:
                self._known.clear()
            self._known[source] = known
        return known

    def reply(self, data: bytes, source: str, *, udp: bool) -> bytes | Forward | None:
        """Return the response; `Forward` when the rules do not know the name; None for silence."""
        if len(data) < 12 or data[2] & 0x80:
            return None  # too short to be answered, or an answer itself: answering those makes loops
        message_id, flags = data[:2], data[2] << 8 | data[3]
        if not self.serves(source):
            return wire.bare(message_id, flags, wire.REFUSED)
        if wire.opcode(flags):
            return wire.bare(message_id, flags, wire.NOTIMP)
        try:
            asked = wire.question(data)
        except wire.Malformed:
            return wire.bare(message_id, flags, wire.FORMERR)
        if asked.edns_version:
            return wire.reply(message_id, asked, 0, code=wire.BADVERS)
        found = self.table.find(asked.name) if asked.klass == wire.IN else None
        ours = wire.AA | (wire.RA if self.forwards else 0)
        if found is None or (self.forwards and asked.kind not in OURS and asked.kind != wire.ANY):
            return Forward(asked) if self.forwards else wire.reply(message_id, asked, 0, code=wire.REFUSED)
        if asked.kind == wire.A and found.a_count:
            response = wire.reply(message_id, asked, ours, found.a, answers=found.a_count)
        elif asked.kind == wire.AAAA and found.aaaa_count:
            response = wire.reply(message_id, asked, ours, found.aaaa, answers=found.aaaa_count)
        elif asked.kind == wire.ANY:
            response = wire.reply(message_id, asked, ours, found.any, answers=1)
        else:
            # The other family or another type: nothing, said by us, or the client would ask the cloud.
            response = wire.reply(message_id, asked, ours, found.nothing, authorities=1)
        if udp and len(response) > min(asked.udp_size or 512, wire.UDP_SIZE):
            return wire.reply(message_id, asked, ours | wire.TC)
        return response
