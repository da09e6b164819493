"""Transactions in a line: in order, each on the ruleset of the one before, and what goes wrong is told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from core.errors import Rejected
from upf_adapter.nftables.line import Line


class Kernel:
    """Takes transactions, and refuses one that holds `bad`; waits before one that holds `slow`."""

    def __init__(self) -> None:
        self.done: list[tuple[list[bytes], int]] = []
        self.go = threading.Event()

    def commit(self, messages: Sequence[bytes], generation: int) -> None:
        if b"slow" in messages:
            assert self.go.wait(10)
        if b"bad" in messages:
            raise Rejected("no")
        self.done.append((list(messages), generation))


def line(kernel: Any, generation: int = 7) -> Line:
    return Line(kernel, generation)


@pytest.mark.parametrize("large", [False, True])
def test_each_transaction_is_made_on_the_ruleset_of_the_one_before(large: bool) -> None:
    kernel = Kernel()
    made = line(kernel)
    made.put([b"a"], large=large)
    made.put([])
    made.put([b"b"])
    made.put_behind([b"c"])
    assert made.end() == 10
    made.finish()
    assert kernel.done == [([b"a"], 7), ([b"b"], 8), ([b"c"], 9)]


def test_the_generation_goes_on_from_its_largest_number_as_the_kernel_counts() -> None:
    made = line(Kernel(), 0xFFFFFFFF)
    made.put([b"a"])
    assert made.end() == 1


def test_nobody_waits_for_what_is_done_behind() -> None:
    kernel = Kernel()
    made = line(kernel)
    made.put([b"a"], large=True)
    made.put_behind([b"slow"])
    assert made.end() == 9
    assert kernel.done == [([b"a"], 7)]
    kernel.go.set()
    made.finish()
    assert len(kernel.done) == 2


@pytest.mark.parametrize("large", [False, True])
def test_nothing_is_done_after_what_went_wrong(large: bool) -> None:
    kernel = Kernel()
    made = line(kernel)
    made.put([b"a"], large=large)

    def more() -> None:
        made.put([b"bad"])
        made.put([b"b"])
        made.put_behind([b"c"])
        made.end()

    with pytest.raises(Rejected):
        more()
    assert kernel.done == [([b"a"], 7)]


def test_what_goes_wrong_behind_is_told_in_the_end() -> None:
    made = line(Kernel())
    made.put([b"a"], large=True)
    made.put_behind([b"bad"])
    made.end()
    with pytest.raises(Rejected):
        made.finish()
