"""The packet tester's verdict is what the kernel does: 1,000 random rules, thousands of packets, every one accounted for."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Invalid
from tests.upf.lab import Helper, Lab, needs_lab
from tests.upf.nftables import worlds
from upf_adapter import create
from upf_adapter.contract import TrafficRule, UpfAdapter
from upf_adapter.flows import Packet, decide

pytestmark = [pytest.mark.live, needs_lab]


@pytest.fixture(scope="module")
def upf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, UpfAdapter]]:
    with Lab(()) as lab:
        helper = Helper(lab, tmp_path_factory.mktemp("helper"))
        adapter = create("nftables", {"socket": str(helper.socket)})
        yield lab, adapter
        adapter.close()


def rules_of(dice: random.Random, upf: UpfAdapter, count: int, places: worlds.Places) -> list[TrafficRule]:
    found: list[TrafficRule] = []
    while len(found) < count:
        rule = worlds.rule(dice, f"app-{len(found) % 50}/r{len(found)}", places)
        try:
            upf.check(rule)
        except Invalid:
            continue
        found.append(rule)
    return found


def on_the_wire(packet: Packet) -> bytes:
    ports = struct.pack("!HH", packet.src_port, packet.dst_port)
    payload = ports + (struct.pack("!HH", 8, 0) if packet.protocol == 17 else bytes(8) + b"\x50" + bytes(7))
    octet = packet.dscp << 2 | packet.ecn
    if packet.src.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, octet, 20 + len(payload), 0, 0, 64, packet.protocol, 0)
    else:
        head = struct.pack("!IHBB", 6 << 28 | octet << 20, len(payload), packet.protocol, 64)
    return head + packet.src.packed + packet.dst.packed + payload


def judged(rules: list[TrafficRule], packets: list[Packet]) -> Counter[str]:
    verdicts = (decide(rules, packet) for packet in packets)
    return Counter(verdict.id for verdict in verdicts if verdict)


def counted(upf: UpfAdapter) -> Counter[str]:
    return +Counter({key: each.packets for key, each in upf.counters().items()})


@pytest.mark.parametrize(("places", "count", "shots"), [(worlds.LARGE, 1000, 600), (worlds.SMALL, 60, 400)])
def test_the_kernel_decides_as_the_packet_tester_says(
    upf: tuple[Lab, UpfAdapter], places: worlds.Places, count: int, shots: int
) -> None:
    lab, adapter = upf
    dice = random.Random(count)
    rules = rules_of(dice, adapter, count, places)
    adapter.replace([])
    assert not adapter.replace(rules).problems
    packets = [worlds.packet(dice, rules, places) for _ in range(shots)]
    lab.shoot(on_the_wire(packet) for packet in packets)
    expected = judged(rules, packets)
    assert counted(adapter) == expected
    assert len(expected) > 5, "many rules had their say"


def test_after_many_single_changes_the_kernel_still_decides_so(upf: tuple[Lab, UpfAdapter], tmp_path: Path) -> None:
    lab, adapter = upf
    dice = random.Random(7)
    rules = {rule.id: rule for rule in rules_of(dice, adapter, 60, worlds.SMALL)}
    adapter.replace(rules.values())
    for _ in range(60):
        key = dice.choice([*rules, "new/1", "new/2"])
        if dice.random() < 0.3:
            adapter.delete(key)
            rules.pop(key, None)
            continue
        rule = worlds.rule(dice, key)
        try:
            adapter.put(rule)
        except Invalid:
            continue
        rules[key] = rule
    assert adapter.rules() == rules
    assert adapter.intact()
    before = counted(adapter)
    packets = [worlds.packet(dice, list(rules.values())) for _ in range(400)]
    lab.shoot(on_the_wire(packet) for packet in packets)
    assert counted(adapter) - before == judged(list(rules.values()), packets)
