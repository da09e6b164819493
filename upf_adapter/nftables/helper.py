"""The one process of an edge node that may change its data plane: `python -m upf_adapter.nftables.helper`.

It runs in the network namespace whose traffic is steered, takes rules of MEC 011 over a Unix socket from the one user
that may give them, and holds CAP_NET_ADMIN and nothing else.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import BreakwaterError, Invalid
from upf_adapter.nftables import CAPABILITIES, NAME, wire
from upf_adapter.nftables.engine import Engine
from upf_adapter.nftables.held import without_collection
from upf_adapter.nftables.privileges import CAP_NET_ADMIN, NOBODY, keep_only
from upf_adapter.nftables.routes import Router

log = logging.getLogger("upf.nftables")
#: Connections at one time, and seconds that a client may take to read an answer.
MOST_CLIENTS, PATIENCE = 8, 5.0
#: Seconds without a request after which garbage is looked for, and requests after which it is in any case.
QUIET, MOST_UNSWEPT = 0.5, 1000
#: Of so many looks for garbage one is at everything, the others at what is new.
WHOLE = 100
_CHUNK = 1 << 20


@dataclass
class Client:
    """One connection and what has come in over it."""

    socket: socket.socket
    data: bytearray = field(default_factory=bytearray)

    def message(self) -> bytes | None:
        """Return the next whole message; `Invalid` when it would be too large."""
        if len(self.data) < wire.PREFIX:
            return None
        end = wire.PREFIX + wire.size(self.data)
        if len(self.data) < end:
            return None
        found = bytes(self.data[wire.PREFIX : end])
        del self.data[:end]
        return found


class Server:
    """Listens, checks who asks, and lets the engine do it, one request after the other."""

    def __init__(self, engine: Engine, listener: socket.socket, users: set[int]) -> None:
        self._engine, self._listener, self._users = engine, listener, users
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._clients = 0
        #: Requests since garbage was looked for.
        self._unswept = 0
        self._sweeps = 0
        self._stopping, self._bell = os.pipe()
        self._selector.register(self._stopping, selectors.EVENT_READ, None)

    def stop(self) -> None:
        """End `serve`; safe in a signal handler."""
        os.write(self._bell, b".")

    def close(self) -> None:
        """Let go of all connections."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._stopping)
        os.close(self._bell)

    def serve(self) -> None:
        """Answer until `stop`."""
        # Rules are a hundred thousand objects that stay: looking through them for garbage is left to quiet moments.
        with without_collection():
            self._serve()

    def _serve(self) -> None:
        while True:
            ready = self._selector.select(QUIET if self._unswept else None)
            if not ready or self._unswept > MOST_UNSWEPT:
                self._sweep()
            for key, _ in ready:
                if key.fd == self._stopping:
                    return
                if key.data is None:
                    self._greet()
                else:
                    self._hear(key.data)

    def _sweep(self) -> None:
        """Look for garbage among what came since the last time; what stays is passed over from now on."""
        # Rules hold no circles, so they go by themselves when nobody needs them; anything else is found by a look at all.
        if self._sweeps % WHOLE == 0:
            gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._sweeps += 1
        self._unswept = 0

    def _greet(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if user not in self._users or self._clients >= MOST_CLIENTS:
                log.warning("a connection of user %d was refused", user)
                connection.close()
                return
            connection.settimeout(PATIENCE)
            self._clients += 1
            self._selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _hear(self, client: Client) -> None:
        try:
            data = client.socket.recv(_CHUNK)
            client.data += data
            while (message := client.message()) is not None:
                client.socket.sendall(wire.pack(self._answer(message)))
                self._unswept += 1
        except (OSError, Invalid) as problem:
            log.warning("a connection was ended: %s", problem)
            data = b""
        if not data:
            self._selector.unregister(client.socket)
            client.socket.close()
            self._clients -= 1

    def _answer(self, message: bytes) -> wire.Answer:
        try:
            return answer(self._engine, wire.request(message))
        except BreakwaterError as problem:
            return wire.Answer(problem=problem.problem())
        except Exception:
            log.exception("a request failed")
            return wire.Answer(problem=BreakwaterError("the helper of the user plane failed; see its log").problem())


def answer(engine: Engine, asked: wire.Request) -> wire.Answer:
    """Do what is asked."""
    match asked.op:
        case "replace":
            outcome = engine.replace(asked.rules)
            problems = {key: problem.problem() for key, problem in outcome.problems.items()}
            return wire.Answer(in_force=list(outcome.in_force), problems=problems)
        case "put":
            if asked.rule is None:
                raise Invalid("put needs a rule")
            engine.put(asked.rule)
        case "delete":
            engine.delete(asked.id)
        case "rules":
            return wire.Answer(rules=list(engine.rules().values()))
        case "counters":
            return wire.Answer(counters={key: (each.packets, each.octets) for key, each in engine.counters().items()})
        case "intact":
            return wire.Answer(intact=engine.intact())
        case "ping":
            return wire.Answer(text=engine.describe())
    return wire.Answer()


def listen(path: Path, owner: int) -> socket.socket:
    """Return the listening socket, which only `owner` may open."""
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    if owner != os.geteuid():
        os.chown(path, owner, -1)
    listener.listen(MOST_CLIENTS)
    return listener


def _interface(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", name):
        raise argparse.ArgumentTypeError(f"{name!r} is no name of an interface")
    return name


def _number(text: str) -> int:
    return int(text, 0)


def options(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ends the process when it cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m upf_adapter.nftables.helper", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument(
        "--interface", type=_interface, action="append", required=True, help="where traffic of UEs comes in; repeatable"
    )
    parser.add_argument("--table", default="breakwater", help="name of our nftables tables")
    parser.add_argument("--mark-mask", type=_number, default=0x0FFF0000, help="bits of the packet mark that are ours")
    parser.add_argument("--first-table", type=_number, default=20000, help="number before our first routing table")
    parser.add_argument(
        "--rule-priority", type=_number, default=10000, help="first of our three priorities in `ip rule`"
    )
    parser.add_argument("--owner", type=int, default=os.geteuid(), help="user id that may give rules")
    parser.add_argument("--user", type=int, default=NOBODY, help="user id to become when started by root")
    found = parser.parse_args(argv)
    run = found.mark_mask // (found.mark_mask & -found.mark_mask or 1)
    if not 0 < found.mark_mask < 1 << 32 or run & (run + 1):
        parser.error("--mark-mask must be one run of bits, for example 0x0fff0000")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", found.table):
        parser.error("--table must be 1 to 31 of a-z, 0-9, _ and -")
    return found


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM; the rules stay in force."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    chosen = options(argv)
    try:
        router = Router(chosen.mark_mask, chosen.first_table, chosen.rule_priority)
        engine = Engine(NAME, CAPABILITIES, chosen.interface, chosen.table, router)
        listener = listen(chosen.socket, chosen.owner)
        keep_only(CAP_NET_ADMIN, chosen.user)
    except (BreakwaterError, OSError) as problem:
        log.critical("the helper cannot start: %s", problem)
        return 1
    # The thread that gives work to the kernel (`line.py`) is not to wait long for the interpreter.
    sys.setswitchinterval(0.0005)
    server = Server(engine, listener, {chosen.owner, 0})
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: server.stop())
    log.info("steers what comes in by %s", ", ".join(chosen.interface))
    server.serve()
    server.close()
    engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
