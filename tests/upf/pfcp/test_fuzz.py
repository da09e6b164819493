"""Octets from anywhere: a message or Malformed, never anything else, and no memory is kept."""

from __future__ import annotations

import gc
import random
import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.upf.pfcp.gallery import everything
from tests.upf.pfcp.peer import Peer
from tests.waiting import until
from upf_adapter.pfcp import PfcpUpf
from upf_adapter.pfcp.reading import GROUPS, MOST_DEPTH, Malformed, Message, UnknownVersion, decode
from upf_adapter.pfcp.wire import Ie, group, message, octet

SEEDS = list(everything().values())


def judged(datagram: bytes) -> Message | None:
    """Return what was read, None for Malformed; anything else that is raised is a failure."""
    try:
        return decode(datagram)
    except Malformed:
        return None


@given(st.binary(max_size=300))
def test_random_octets_are_a_message_or_malformed(datagram: bytes) -> None:
    judged(datagram)


#: Elements of any number, those that are known most of all, with groups in groups and lengths that may lie.
_known = sorted(value for name, value in vars(Ie).items() if name.isupper())
_value = st.recursive(
    st.binary(max_size=24),
    lambda inner: st.lists(
        st.builds(
            lambda number, value, lie: struct.pack("!HH", number, max(0, len(value) + lie)) + value,
            st.sampled_from(_known) | st.integers(0, 65535),
            inner,
            st.sampled_from([0, 0, 0, 0, -1, 1, 400]),
        ),
        max_size=5,
    ).map(b"".join),
    max_leaves=12,
)


@given(st.integers(0, 255), st.booleans(), _value)
def test_elements_of_any_shape_are_a_message_or_malformed(kind: int, session: bool, body: bytes) -> None:
    judged(message(kind, 1, body, seid=1 if session else None))


def test_ten_thousand_random_and_mutated_datagrams_leave_nothing_behind() -> None:
    dice = random.Random(29244)
    read = 0

    def run(count: int) -> None:
        nonlocal read
        for number in range(count):
            seed = bytearray(dice.choice(SEEDS))
            if number % 3 == 0:
                seed = bytearray(dice.randbytes(dice.randrange(400)))
            for _ in range(dice.randrange(1, 5)):
                if seed:
                    seed[dice.randrange(len(seed))] = dice.choice((0, 1, 4, 127, 128, 255, dice.randrange(256)))
            if number % 7 == 0:
                del seed[dice.randrange(len(seed) + 1) :]
            read += judged(bytes(seed)) is not None

    run(1000)
    gc.collect()
    before = sys.getallocatedblocks()
    run(10_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000
    assert read > 500, "some of them must get through, or nothing but the header was tried"


def test_every_cut_of_every_message_is_malformed() -> None:
    for whole in SEEDS:
        for end in range(len(whole)):
            assert judged(whole[:end]) is None
        assert judged(whole + b"\0") is None


def test_groups_in_groups_end_at_a_depth() -> None:
    inner = octet(Ie.CAUSE, 1)
    for _ in range(MOST_DEPTH - 1):
        inner = group(Ie.PDI, inner)
    assert judged(message(52, 1, inner, seid=1))
    with pytest.raises(Malformed, match="deep"):
        decode(message(52, 1, group(Ie.PDI, inner), seid=1))


def test_a_datagram_of_nothing_but_empty_elements_is_refused() -> None:
    with pytest.raises(Malformed, match="more than 4096"):
        decode(message(52, 1, struct.pack("!HH", 9999, 0) * 5000, seid=1))


def test_an_element_of_each_number_may_be_empty() -> None:
    for number in _known:
        found = judged(message(52, 1, group(number), seid=1))
        assert found is None or number in GROUPS or number in (Ie.NETWORK_INSTANCE, Ie.NODE_ID)


def test_another_version_is_told_apart() -> None:
    with pytest.raises(UnknownVersion) as caught:
        decode(b"\x40\x05\x00\x04\x00\x00\x07\x00")
    assert (caught.value.sequence, caught.value.kind) == (7, 5)


def test_a_session_message_without_seid_is_malformed() -> None:
    with pytest.raises(Malformed, match="must have a SEID"):
        decode(message(52, 1, b""))
    with pytest.raises(Malformed, match="must not have a SEID"):
        decode(message(1, 1, b"", seid=1))


def test_garbage_from_the_upf_itself_does_no_harm(peer: Peer, adapter: Callable[..., PfcpUpf]) -> None:
    upf = adapter()
    upf.replace([])
    dice = random.Random(7)
    assert peer._cp
    sent = 0
    before = sum(upf.node.seen.values())
    for number in range(2000):
        seed = bytearray(dice.choice(SEEDS)) if number % 2 else bytearray(dice.randbytes(dice.randrange(1, 200)))
        if seed[1:2] in (b"\1", b"\5", b"\7", b"\x09"):
            seed[0] = 0x40  # a restart, setup, update or release would be meant
        for _ in range(3):
            if len(seed) > 2:
                seed[dice.randrange(2, len(seed))] = dice.randrange(256)
        peer._socket.sendto(bytes(seed), peer._cp)
        sent += 1
        if number % 50 == 0:
            upf.ping()
    until(lambda: sum(upf.node.seen.values()) > before + sent / 2, what="the datagrams to be looked at")
    assert upf.ping()
    assert upf.intact()
