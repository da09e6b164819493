"""What is answered to a query: the rules first; the rest is for others, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mep.dns import wire
from mep.dns.limits import MOST, Bucket, Limits, make_room
from mep.dns.scopes import Network, Scope, read
from mep.dns.table import Answers, Table, View

#: Types that would lead a client past the edge when they were asked elsewhere.
OURS = frozenset({wire.A, wire.AAAA, wire.CNAME, wire.HTTPS, wire.SVCB})
#: The longest query whose response is kept whole.
LONGEST = 128


class Forward:
    """The answer is somebody else's.

    Carries the question for checking what comes back. `nothing` is set for a name with a rule: NXDOMAIN would say
    that the whole name is not there (RFC 8020), addresses included, so this is said in its place.
    """

    __slots__ = ("nothing", "question")

    def __init__(self, question: wire.Question, nothing: bytes | None = None) -> None:
        self.question, self.nothing = question, nothing


class Client:
    """What is known about one source address: what it sees (None: it is not served), and what it may still ask."""

    __slots__ = ("bucket", "round", "view")

    def __init__(self, view: View | None, bucket: Bucket, round: int) -> None:
        self.view, self.bucket, self.round = view, bucket, round


class Responder:
    """Decides about one message at a time; never raises, whatever comes in."""

    def __init__(
        self, networks: Sequence[Network], *, forwards: bool, table: Table | None = None, limits: Limits | None = None
    ) -> None:
        self.table = Table() if table is None else table
        self.forwards = forwards
        self._networks = tuple(networks)
        self._limits = limits or Limits()
        self._clients: dict[str, Client] = {}
        self._round = 0
        self._flags = wire.AA | (wire.RA if forwards else 0)

    def serves(self, source: str) -> bool:
        """Return whether an address may ask here."""
        return self.client(source).view is not None

    def client(self, source: str) -> Client:
        """Return what is known about a source."""
        known = self._clients.get(source)
        if known is None:
            make_room(self._clients, MOST)
            bucket = self._limits.bucket(read(source))
            known = self._clients[source] = Client(self._view(source), bucket, self._round)
        elif known.round != self._round:
            known.view, known.round = self._view(source), self._round
        return known

    def use(self, scopes: Iterable[Scope]) -> None:
        """Take over who belongs to which scope; what clients have asked so far still counts."""
        self.table.use(scopes)
        self._round += 1

    def reply(self, data: bytes, source: str, *, udp: bool) -> bytes | Forward | None:
        """Return the response; `Forward` when the rules do not know the name; None for silence."""
        if len(data) < 12 or data[2] & 0x80:
            return None  # too short to be answered, or an answer itself: answering those makes loops
        client = self._clients.get(source)
        if client is None or client.round != self._round:
            client = self.client(source)
        view = client.view
        if not udp:
            return self._answer(data, view, udp=False)
        bucket = client.bucket
        bucket.tokens -= 1
        if bucket.tokens < 0 and not self._limits.refill(bucket):
            return self._too_much(data, view, bucket)
        if view is not None:
            kept = view.memo.get(_key(data))
            if kept is not None:
                head, end, tail = kept
                return data[:2] + head + data[12:end] + tail
        return self._answer(data, view, udp=True)

    def _answer(self, data: bytes, view: View | None, *, udp: bool) -> bytes | Forward | None:
        message_id, flags = data[:2], data[2] << 8 | data[3]
        if view is None:
            return wire.bare(message_id, flags, wire.REFUSED)
        if wire.opcode(flags):
            return wire.bare(message_id, flags, wire.NOTIMP)
        try:
            asked = wire.question(data)
        except wire.Malformed:
            return wire.bare(message_id, flags, wire.FORMERR)
        if asked.edns_version:
            return wire.reply(message_id, asked, 0, code=wire.BADVERS)
        found = view.find(asked.name) if asked.klass == wire.IN else None
        if found is None:
            return Forward(asked) if self.forwards else wire.reply(message_id, asked, 0, code=wire.REFUSED)
        if self.forwards and asked.kind not in OURS and asked.kind != wire.ANY:
            return Forward(asked, wire.reply(message_id, asked, self._flags, found.nothing, authorities=1))
        response = self._found(message_id, asked, found)
        if not udp:
            return response
        if len(response) > min(asked.udp_size or 512, wire.UDP_SIZE):
            return wire.reply(message_id, asked, self._flags | wire.TC)
        if len(data) <= LONGEST:
            end = 12 + len(asked.raw)
            self.table.keep(view, _key(data), (response[2:12], end, response[end:]))
        return response

    def _found(self, message_id: bytes, asked: wire.Question, found: Answers) -> bytes:
        if asked.kind == wire.A and found.a_count:
            return wire.reply(message_id, asked, self._flags, found.a, answers=found.a_count)
        if asked.kind == wire.AAAA and found.aaaa_count:
            return wire.reply(message_id, asked, self._flags, found.aaaa, answers=found.aaaa_count)
        if asked.kind == wire.ANY:
            return wire.reply(message_id, asked, self._flags, found.any, answers=1)
        # The other family or another type: nothing, said by us, or the client would ask the cloud.
        return wire.reply(message_id, asked, self._flags, found.nothing, authorities=1)

    def _view(self, source: str) -> View | None:
        address = read(source)
        if not any(address.version == net.version and address in net for net in self._networks):
            return None
        return self.table.view(address)

    def _too_much(self, data: bytes, view: View | None, bucket: Bucket) -> bytes | None:
        """Tell every second query to come over TCP, which nobody can do in another's name; the rest is silence."""
        bucket.over += 1
        if view is None or bucket.over % 2:
            return None
        try:
            return wire.reply(data[:2], wire.question(data), wire.TC)
        except wire.Malformed:
            return None


def _key(data: bytes) -> bytes:
    """Return what all queries have in common that differ in their id and the case of the name's letters.

    The name ends at the first zero. Where it does not, because a label holds one, less is folded, never too much.
    """
    end = data.find(0, 12)
    return data[2:12] + data[12:end].lower() + data[end:]
