"""The backends that need no server keep the contract; embedded answers through the responder's own code."""

from __future__ import annotations

import ipaddress

import dns.message
import pytest

from mep.dns import backends
from mep.dns.backends.contract import RecordSet
from mep.dns.backends.embedded import EmbeddedDns
from mep.dns.backends.memory import MemoryDns
from mep.dns.responder import Responder
from tests.mep.dns.contract.suite import Contract


class Memory:
    domain = "edge.example"

    def __init__(self) -> None:
        self.backend = MemoryDns()
        theirs = RecordSet("own.edge.example", "A", 30, ("192.0.2.1",))
        self.backend.records[theirs.key] = theirs

    def answers(self, name: str, kind: str) -> set[str]:
        found = self.backend.records.get(("", name, kind))
        return set(found.addresses) if found else set()

    def foreign(self) -> RecordSet:
        return RecordSet("own.edge.example", "A", 30, ("192.0.2.1",))

    def stop(self) -> None:
        self.backend.away = True

    def start(self) -> None:
        self.backend.away = False


class Embedded:
    domain = "edge.example"

    def __init__(self) -> None:
        self.backend = EmbeddedDns()
        self._responder = Responder([ipaddress.ip_network("127.0.0.0/8")], forwards=False, table=self.backend.table)

    def answers(self, name: str, kind: str) -> set[str]:
        data = self._responder.reply(dns.message.make_query(name, kind).to_wire(), "127.0.0.1", udp=True)
        assert isinstance(data, bytes)
        return {each.address for rrset in dns.message.from_wire(data).answer for each in rrset}

    def foreign(self) -> None:
        return None

    def stop(self) -> None: ...

    def start(self) -> None: ...


class TestMemory(Contract):
    @pytest.fixture
    def peer(self) -> Memory:
        return Memory()


class TestEmbedded(Contract):
    @pytest.fixture
    def peer(self) -> Embedded:
        return Embedded()


def test_each_known_backend_has_its_name() -> None:
    for name, kind in backends.registry:
        assert kind.name == name
