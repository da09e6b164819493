"""The Linux data plane behind N6: rules are carried out by nf_tables and policy routing of the edge node itself.

The adapter runs without privileges and only speaks to its helper, which changes the kernel (`helper.py`).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from core.errors import BreakwaterError, Unavailable
from upf_adapter.contract import Capabilities, Counters, Outcome, TrafficRule, UpfAdapter
from upf_adapter.nftables import wire
from upf_adapter.nftables.lowering import FILTERS, MOST_RULES, lower

NAME = "nftables"
CAPABILITIES = Capabilities(
    actions=frozenset({"DROP", "PASSTHROUGH", "FORWARD_DECAPSULATED", "DUPLICATE_DECAPSULATED"}),
    filters=FILTERS,
    interfaces=frozenset({"IP"}),
    counters=True,
    atomic=True,
    most_rules=MOST_RULES,
    notes=(
        "Works behind N6, where packets have no tunnel header: members about tunnels, QCI and tags cannot be matched.",
        "FLOW and PACKET filters match the same packets, as written; answers take the ordinary way back.",
        "A destination must be on a network of the edge node itself.",
        "Fragments behind the first have no ports, so filters on ports pass them by.",
    ),
)
#: Seconds that the helper may take; a set of 20,000 rules needs a few on a slow machine.
PATIENCE = 30.0


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What MEP_UPF_CONFIG may hold.

    `socket` is that of a helper which somebody else started; then the other options are that one's own business.
    Otherwise `manage.py edge` starts the helper with them: `interfaces` are where traffic of UEs comes in.
    """

    socket: str = ""
    interfaces: tuple[str, ...] = ()
    table: str = "breakwater"
    mark_mask: int = 0x0FFF0000
    first_table: int = 20000
    rule_priority: int = 10000

    def command(self, path: str, owner: int) -> list[str]:
        """Return the arguments of the helper that does it so."""
        return [
            "--socket", path, "--owner", str(owner), "--table", self.table, "--mark-mask", hex(self.mark_mask),
            "--first-table", str(self.first_table), "--rule-priority", str(self.rule_priority),
            *(part for name in self.interfaces for part in ("--interface", name)),
        ]  # fmt: skip


class NftablesUpf(UpfAdapter):
    """Speaks to the helper; opens no socket before something has to be done."""

    name: ClassVar[str] = NAME
    Options: ClassVar[type[msgspec.Struct]] = Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._path = "" if options is None else str(options.socket)
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def check(self, rule: TrafficRule) -> None:
        lower(rule, CAPABILITIES, NAME)

    def put(self, rule: TrafficRule) -> None:
        self.check(rule)
        self._ask(wire.Request("put", rule=rule))

    def delete(self, rule_id: str) -> None:
        self._ask(wire.Request("delete", id=rule_id))

    def replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        # The helper checks every rule anyway, so they are not read twice.
        told = self._ask(wire.Request("replace", rules=list(wanted)))
        problems: dict[str, BreakwaterError] = {key: wire.as_error(each) for key, each in told.problems.items()}
        return Outcome(frozenset(told.in_force), problems)

    def intact(self) -> bool:
        return self._ask(wire.Request("intact")).intact

    def rules(self) -> dict[str, TrafficRule]:
        return {rule.id: rule for rule in self._ask(wire.Request("rules")).rules}

    def counters(self) -> dict[str, Counters]:
        return {key: Counters(*seen) for key, seen in self._ask(wire.Request("counters")).counters.items()}

    def ping(self) -> str:
        return self._ask(wire.Request("ping")).text

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, asked: wire.Request) -> wire.Answer:
        data = wire.pack(asked)
        with self._lock:
            try:
                told = wire.answer(self._exchange(data))
            except OSError as problem:
                self.close()
                raise Unavailable(f"the helper of the user plane {NAME} does not answer: {problem}") from None
            except BreakwaterError:
                self.close()
                raise
        if told.problem is not None:
            raise wire.as_error(told.problem)
        return told

    def _exchange(self, data: bytes) -> bytes:
        if self._socket is not None:
            try:
                self._socket.sendall(data)
                return self._receive()
            except (BrokenPipeError, ConnectionError):
                # The helper was started anew; every request may be repeated, because twice is once.
                self.close()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(self._path)
        self._socket.sendall(data)
        return self._receive()

    def _receive(self) -> bytes:
        return self._exactly(wire.size(self._exactly(wire.PREFIX)))

    def _exactly(self, count: int) -> bytes:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(count - len(data), 1 << 20))
            if not part:
                raise ConnectionError("the helper closed the connection")
            data += part
        return bytes(data)
