"""Merge patches by serial: whoever stands wherever arrives at the same index."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appstore.federation import feed
from tests.appstore.federation.forge import AUDIENCE, ref, release

members = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b"])},
    optional={
        "description": st.sampled_from(["x", "y"]),
        "keywords": st.lists(st.sampled_from(["k", "l"]), max_size=2),
        "reason": st.just("r"),
    },
)
indexes = st.dictionaries(st.sampled_from([ref(n) for n in range(4)]), members, max_size=4)


@given(indexes, indexes)
def test_a_difference_leads_from_one_index_to_the_other(old: Any, new: Any) -> None:
    assert feed.apply(old, feed.difference(old, new)) == new


@given(indexes, indexes, indexes)
def test_two_patches_made_one_do_the_same_without_their_base(first: Any, second: Any, third: Any) -> None:
    patch = feed.compose(feed.difference(first, second), feed.difference(second, third))
    assert feed.apply(first, patch) == third


@given(st.lists(indexes, min_size=2, max_size=24), st.data())
def test_from_every_serial_of_the_window_the_diffs_lead_to_the_present_index(states: Any, data: Any) -> None:
    diffs: dict[Any, Any] = {}
    for number in range(1, len(states)):
        serial = number + 1
        diffs |= feed.extended(diffs, serial, feed.difference(states[number - 1], states[number]), window=16)
    last = len(states)
    start = data.draw(st.integers(max(1, last - 16), last - 1))
    at, index, walked = start, states[start - 1], 0
    while at < last:
        to = feed.steps(last, window=16)[at]
        index, at, walked = feed.apply(index, diffs[at, to]), to, walked + 1
    assert index == states[-1]
    assert walked <= 8  # 2 log2(16)


def test_the_patches_are_merge_patches_of_the_standard() -> None:
    # RFC 7396, 2: the pseudocode, on the whole document
    def merge_patch(target: Any, patch: Any) -> Any:
        if not isinstance(patch, dict):
            return patch
        result = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merge_patch(result.get(name), value)
        return result

    old = {ref(1): release("one", description="was"), ref(2): release("two")}
    new = {ref(1): release("one", keywords=["now"]), ref(3): release("three")}
    document = {"format": feed.FORMAT, "serial": 1, "releases": old}
    patch = feed.parsed(feed.unpack(feed.diff_bytes(2, feed.difference(old, new))))
    assert merge_patch(document, patch) == {"format": feed.FORMAT, "serial": 2, "releases": new}


def entry(serial: int, diffs: dict[int, tuple[int, int]], full: int = 10**6) -> feed.Entry:
    def file(name: str, size: int) -> feed.File:
        return feed.File(f"{AUDIENCE}/{name}.json.gz", "a" * 64, size)

    steps = {start: feed.Step(to, file(f"diff-{start}-{to}", size)) for start, (to, size) in diffs.items()}
    return feed.Entry(AUDIENCE, serial, "", "", file(f"index-{serial}", full), steps)


def test_a_chain_begins_at_our_serial_and_ends_at_the_present_one() -> None:
    found = feed.chain(entry(5, {2: (4, 10), 4: (5, 10), 3: (4, 10)}), 2)
    assert found is not None
    assert [(start, step.to) for start, step in found] == [(2, 4), (4, 5)]


def test_who_stands_outside_of_the_window_takes_the_full_index() -> None:
    assert feed.chain(entry(5, {4: (5, 10)}), 1) is None


def test_a_chain_that_costs_more_than_the_full_index_is_not_walked() -> None:
    assert feed.chain(entry(3, {2: (3, 200_000)}, full=100_000), 2) is None


def test_a_chain_of_too_many_steps_is_not_walked() -> None:
    assert feed.chain(entry(40, {n: (n + 1, 1) for n in range(1, 40)}), 1) is None
