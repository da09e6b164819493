"""Our end of N4: one UDP socket and one thread, which keep the association with one UPF.

A `Node` sends requests and repeats them until they are answered (6.4), answers what the UPF asks, keeps its answers for
requests that come twice, and watches the UPF by heartbeats. `epoch` goes up each time that sessions which were made
before cannot be there any more: the UPF restarted, released us, or fell silent.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import secrets
import selectors
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from core.errors import Unavailable
from upf_adapter.pfcp import messages
from upf_adapter.pfcp.messages import REQUESTS, Kind
from upf_adapter.pfcp.reading import Malformed, Message, UnknownVersion, decode
from upf_adapter.pfcp.wire import Ie, message, node_id

log = logging.getLogger(__name__)

Address = tuple[str, int]
#: Seconds from 1900, in which NTP and so PFCP count, to 1970.
NTP_EPOCH = 2_208_988_800
#: One value for the life of this process: another one would tell the UPF that we have restarted and lost our sessions.
RECOVERY = int(time.time() + NTP_EPOCH) & 0xFFFFFFFF
#: Answers that are kept for requests that come twice.
MOST_KEPT = 256
#: Datagrams read before timers are looked at again.
BURST = 64


@dataclass(slots=True)
class _Try:
    """One request under way."""

    datagram: bytes
    expected: int
    due: float
    left: int
    done: threading.Event = field(default_factory=threading.Event)
    answer: Message | None = None


class Node:
    """The association with the UPF at `peer`. Nothing is sent before the first `request` or `ensure`."""

    def __init__(
        self,
        peer: Address,
        *,
        bind: Address,
        name: str = "",
        t1: float = 1.0,
        n1: int = 3,
        heartbeat: float = 10.0,
        recovery: int = RECOVERY,
        on_report: Callable[[Message], tuple[int, bytes]] | None = None,
    ) -> None:
        self.peer = peer
        self._peer_address = _bare(peer[0])
        self._bind, self.name = bind, name
        self._t1, self._n1, self._heartbeat, self._recovery = t1, n1, heartbeat, recovery
        self._on_report = on_report
        self.epoch = 0
        self.associated = False
        self.features = 0
        self.peer_name = ""
        self.peer_recovery: int | None = None
        #: What was seen: `strangers`, `malformed`, `repeated` (by us), `duplicates` (by the UPF), `late` answers, `reports`.
        self.seen: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._tries: dict[int, _Try] = {}
        # Not from 1: a UPF could still hold answers to the first requests of the process before.
        self._sequence = secrets.randbelow(1 << 24)
        self._kept: OrderedDict[tuple[Address, bytes], bytes] = OrderedDict()
        self._socket: socket.socket | None = None
        self._beat_due = 0.0

    # For the adapter's thread

    def ensure(self) -> None:
        """Return once there is an association; `Unavailable` or `Rejected` when the UPF gives none."""
        if self.associated:
            return
        found = self.request(Kind.SETUP, lambda: messages.setup(self.name, self._recovery))
        messages.check(found.ies, f"the UPF at {self.peer[0]} refuses an association")
        self._begin(found)

    def request(self, kind: int, body: Callable[[], bytes] | bytes, seid: int | None = None) -> Message:
        """Send a request and return its answer; `Unavailable` after N1 repetitions without one."""
        self._open()
        attempt = self._start(kind, body() if callable(body) else body, seid)
        # The thread gives up after N1 + 1 times T1; a little more than that in case it is late.
        attempt.done.wait(self._t1 * (self._n1 + 1) + 5)
        if attempt.answer is None:
            raise Unavailable(f"the UPF at {self.peer[0]} port {self.peer[1]} does not answer", peer=self.peer[0])
        return attempt.answer

    def release(self) -> None:
        """End the association; the UPF deletes all sessions of it."""
        if self.associated:
            self.request(Kind.RELEASE, lambda: node_id(self.name))
            self.end("we released the association")

    def close(self) -> None:
        """Stop; the association is left as it is."""
        with self._lock:
            sock, self._socket = self._socket, None
            self.associated = False
        if sock is not None:
            self._wake()
            self._thread.join(5)
            for each in (sock, self._waker, self._woken):
                each.close()

    # The thread

    def _open(self) -> None:
        with self._lock:
            if self._socket is not None:
                return
            family = socket.AF_INET if self._peer_address.version == 4 else socket.AF_INET6
            sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.bind(self._bind)
                if _bare(self._bind[0]).is_unspecified:
                    with socket.socket(family, socket.SOCK_DGRAM) as probe:
                        probe.connect(self.peer)
                        self._local = _bare(probe.getsockname()[0])
                else:
                    self._local = _bare(self._bind[0])
                self.name = self.name or str(self._local)
            except OSError as problem:
                sock.close()
                raise Unavailable(
                    f"{self._bind[0]} port {self._bind[1]} cannot be used for N4: {problem.strerror}"
                ) from None
            sock.setblocking(False)
            self._socket = sock
            self._woken, self._waker = socket.socketpair()
            self._woken.setblocking(False)
            self._thread = threading.Thread(target=self._run, args=(sock,), name="pfcp", daemon=True)
            self._thread.start()

    @property
    def address(self) -> Address:
        """Where our socket listens."""
        self._open()
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def local(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """Our address as the UPF sees it."""
        self._open()
        return self._local

    @property
    def beat(self) -> bytes:
        """The body of our heartbeats."""
        return messages.heartbeat(self._recovery)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _run(self, sock: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while self._socket is sock:
                selector.select(self._pause())
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                try:
                    self._read(sock)
                    self._tick()
                except Exception:  # one message must never end the watch over all of them
                    log.exception("a PFCP message could not be handled")

    def _pause(self) -> float:
        with self._lock:
            due = [attempt.due for attempt in self._tries.values()]
            if self.associated:
                due.append(self._beat_due)
        return max(0.0, min(due, default=time.monotonic() + 60) - time.monotonic())

    def _read(self, sock: socket.socket) -> None:
        for _ in range(BURST):
            try:
                datagram, source = sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error for something sent before; the repetition will tell.
                continue
            self._take(datagram, source)

    def _take(self, datagram: bytes, source: tuple[str, int]) -> None:
        if _bare(source[0]) != self._peer_address:
            self.seen["strangers"] += 1
            return
        try:
            found = decode(datagram)
            if found.kind in REQUESTS:
                self._asked(found, datagram, source)
            else:
                self._answered(found, source)
        except UnknownVersion as problem:
            self.seen["malformed"] += 1
            if problem.kind in REQUESTS:
                self._send(message(Kind.VERSION_ANSWER, problem.sequence, b""), source)
        except Malformed:
            self.seen["malformed"] += 1

    def _answered(self, found: Message, source: Address) -> None:
        with self._lock:
            attempt = self._tries.get(found.sequence)
            wanted = attempt is not None and found.kind == attempt.expected and source[1] == self.peer[1]
            if attempt is None or not wanted:
                self.seen["late"] += 1
                return
            del self._tries[found.sequence]
        attempt.answer = found
        try:
            if found.kind == Kind.HEARTBEAT_ANSWER:
                self._alive(found)
        finally:
            attempt.done.set()

    def _asked(self, found: Message, datagram: bytes, source: Address) -> None:
        """Answer a request of the UPF; one that comes twice gets the same answer and has no second effect."""
        # By its octets, not its number: a UPF that has restarted counts from the start again.
        key = (source[:2], hashlib.blake2b(datagram, digest_size=16).digest())
        kept = self._kept.get(key)
        if kept is not None:
            self.seen["duplicates"] += 1
            self._send(kept, source)
            return
        # What `_handle` does comes before the answer: whoever sees the answer may count on it.
        seid, body, after = self._handle(found)
        whole = message(REQUESTS[found.kind], found.sequence, body, seid)
        self._kept[key] = whole
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        self._send(whole, source)
        if after:
            after()

    def _handle(self, found: Message) -> tuple[int | None, bytes, Callable[[], object] | None]:
        """Return the SEID and the body of the answer, and what is to be done behind it."""
        if found.kind == Kind.HEARTBEAT:
            self._alive(found)
            return None, self.beat, None
        if found.kind == Kind.SETUP:
            self._begin(found)
            return None, messages.setup_answer(self.name, self._recovery), None
        if found.kind == Kind.RELEASE:
            self.end("the UPF released the association")
        elif found.kind == Kind.UPDATE:
            if (features := found.ies.one(Ie.UP_FEATURES)) is not None:
                self.features = features
            if found.ies.one(Ie.RELEASE_REQUEST):
                return None, messages.answer(self.name), self._let_go
        elif found.kind == Kind.REPORT and self._on_report:
            self.seen["reports"] += 1
            seid, body = self._on_report(found)
            return seid, body, None
        return None, messages.answer(self.name), None

    def _let_go(self) -> None:
        """The UPF asked to be released (6.2.7): do so without waiting."""
        self._start(Kind.RELEASE, node_id(self.name), None, background=True)
        self.end("the UPF asked to be released")

    def _tick(self) -> None:
        now = time.monotonic()
        silent: list[_Try] = []
        with self._lock:
            for sequence, attempt in list(self._tries.items()):
                if attempt.due > now:
                    continue
                if attempt.left == 0:
                    del self._tries[sequence]
                    silent.append(attempt)
                    continue
                attempt.left, attempt.due = attempt.left - 1, now + self._t1
                self.seen["repeated"] += 1
                self._send(attempt.datagram, self.peer)
            due = self.associated and self._beat_due <= now
            if due:
                self._beat_due = now + self._heartbeat
            # One at a time: while one is repeated, another would tell nothing more.
            beat = due and all(attempt.expected != Kind.HEARTBEAT_ANSWER for attempt in self._tries.values())
        for attempt in silent:
            self.end("the UPF does not answer")
            attempt.done.set()
        if beat and not silent:
            self._start(Kind.HEARTBEAT, self.beat, None, background=True)

    # State

    def _start(self, kind: int, body: bytes, seid: int | None, background: bool = False) -> _Try:
        with self._lock:
            self._sequence = (self._sequence + 1) & 0xFFFFFF
            sequence = self._sequence
            datagram = message(kind, sequence, body, seid)
            attempt = _Try(datagram, kind + 1, time.monotonic() + self._t1, self._n1)
            self._tries[sequence] = attempt
        self._send(datagram, self.peer)
        if not background:
            self._wake()
        return attempt

    def _begin(self, found: Message) -> None:
        """An association was set up, by us or by the UPF: all that was before is gone (6.2.6)."""
        recovery, name = found.ies.need(Ie.RECOVERY_TIME_STAMP), found.ies.need(Ie.NODE_ID)
        with self._lock:
            self.epoch += 1
            self.peer_name, self.peer_recovery = name, recovery
            self.features = found.ies.one(Ie.UP_FEATURES) or 0
            self.associated = True
            self._beat_due = time.monotonic() + self._heartbeat
        self._wake()
        log.info("PFCP association with %s", name)

    def end(self, why: str) -> None:
        """Take note that the association is over, and all sessions with it."""
        with self._lock:
            if not self.associated:
                return
            self.associated = False
            self.epoch += 1
        log.warning("the PFCP association with %s has ended: %s", self.peer_name, why)

    def _alive(self, found: Message) -> None:
        """A heartbeat came; another Recovery Time Stamp than before means that the UPF restarted (TS 23.527)."""
        recovery = found.ies.need(Ie.RECOVERY_TIME_STAMP)
        if self.associated and recovery != self.peer_recovery:
            self.end("the UPF restarted")

    def _send(self, datagram: bytes, to: Address) -> None:
        sock = self._socket
        if sock is not None:
            # Whatever fails here looks like a lost datagram, and is repeated like one.
            with contextlib.suppress(OSError):
                sock.sendto(datagram, to)


def _bare(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without the interface that link-local ones carry."""
    return ipaddress.ip_address(address.partition("%")[0])
