"""The two-level layout: which chain of the kernel decides about which destination addresses. Pure.

Destination space is cut into elementary intervals; a map leads each to a chain with the clauses about it, in priority
order. Intervals of one address have a map of their own, a hash, which is looked into first. Clauses without a destination
are not copied into these chains but kept in shared segments, reached by a jump. A chain is named by its content, so equal
chains are one, and a chain never changes: only what leads to it does. A packet therefore costs a look into each map and
the few clauses of one chain, however many rules there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import chain, islice, pairwise
from operator import itemgetter

import msgspec

from upf_adapter.flows import Packet, Span
from upf_adapter.nftables.lowering import Clause

#: Clauses in one shared segment, and segments below one another: 8 ** 5 clauses within the kernel's 16 nested jumps.
FAN = 8
#: Runs of clauses without a destination that are at most this long are copied: a jump would cost as much.
SHORT = 2
#: Most destinations that are changed one by one.
MANY = 200


class Jump(msgspec.Struct, frozen=True, gc=False):
    """Go through another chain and come back."""

    chain: str


Step = Clause | Jump
Made = Callable[[str, tuple[Step, ...]], None]
#: First address, last address, and the chain that decides about them.
Element = tuple[int, int, str]


def _order(clause: Clause) -> tuple[int, str, int]:
    return clause.order


class Interval(msgspec.Struct, frozen=True, gc=False):
    """Destination addresses from `first` to `last` that the same clauses are about."""

    first: int
    last: int
    who: tuple[Clause, ...]


@dataclass(slots=True)
class Delta:
    """What changes in the kernel from one plan to the next; chains that are jumped to come before those that jump."""

    chains: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    gone_chains: list[str] = field(default_factory=list)
    elements: set[Element] = field(default_factory=set)
    gone_elements: set[Element] = field(default_factory=set)

    def put(self, element: Element) -> None:
        """Have the element; one that was to go just stays."""
        self.gone_elements.discard(element) if element in self.gone_elements else self.elements.add(element)

    def take(self, element: Element) -> None:
        """Not have the element; one that was to come never does."""
        self.elements.discard(element) if element in self.elements else self.gone_elements.add(element)


class Plan:
    """The layout of one address family. `code` gives the bytes that a clause becomes, which name the chains.

    `made` is told of each chain at once, in an order in which they can be made.
    """

    def __init__(self, clauses: Iterable[Clause], code: Callable[[Clause], bytes], made: Made | None = None) -> None:
        self.code, self._made = code, made
        #: In an order in which they can be made.
        self.chains: dict[str, tuple[Step, ...]] = {}
        self._known: dict[tuple[Clause, ...], str] = {}
        self._blocks: dict[tuple[int, int], str] = {}
        found = list(clauses)
        #: Clauses about any destination, in order.
        self.everywhere = sorted((each for each in found if not each.dst), key=_order)
        self._orders = [each.order for each in self.everywhere]
        self.intervals = _cut(each for each in found if each.dst)
        self.starts = [each.first for each in self.intervals]
        names = [self._chain_of(each.who) for each in self.intervals]
        self._elements = [(each.first, each.last, name) for each, name in zip(self.intervals, names, strict=True)]
        self._uses = Counter(names)
        #: The chain of the addresses that no interval holds; empty when nothing is about them.
        self.fallback = self._chain_of(()) if self.everywhere else ""
        self._uses[self.fallback] += 1
        self._made = None

    def elements(self) -> Sequence[Element]:
        """Return the map, in the order of its addresses."""
        return self._elements

    def change(self, gone: Iterable[Clause], come: Iterable[Clause]) -> Delta:
        """Take clauses out and others in, and return what that changes. The clauses must be `is_small`."""
        gone, come = set(gone), list(come)
        spans = [span for clause in (*gone, *come) for span in clause.dst]
        delta = Delta()
        known = len(self.chains)
        touched: list[tuple[Clause, ...]] = []
        for first, last in _united(spans):
            touched += self._recut(first, last, gone, come, delta)
        delta.chains = dict(islice(self.chains.items(), known, None))
        for who in touched:
            name = self._known.get(who)
            if name is None or self._uses[name]:
                continue
            del self._known[who], self._uses[name]
            # A chain that came and went in one change is not worth telling.
            if self.chains.pop(name, None) and not delta.chains.pop(name, None):
                delta.gone_chains.append(name)
        return delta

    def decide(self, packet: Packet) -> Clause | None:
        """Return the clause that decides about a packet of this family, as the kernel would find it."""
        at = bisect_right(self.starts, int(packet.dst)) - 1
        name = self.fallback
        if at >= 0 and int(packet.dst) <= self.intervals[at].last:
            _, _, name = self._elements[at]
        return self._walk(name, packet) if name else None

    def _walk(self, name: str, packet: Packet) -> Clause | None:
        for step in self.chains[name]:
            if isinstance(step, Jump):
                found = self._walk(step.chain, packet)
                if found:
                    return found
            elif step.test.holds(packet):
                return step
        return None

    def _chain_of(self, who: tuple[Clause, ...]) -> str:
        name = self._known.get(who)
        if name is None:
            if not self.everywhere:
                name = self._known[who] = self._make(who)
                return name
            steps: list[Step] = []
            done = 0
            for clause in who:
                until = bisect_left(self._orders, clause.order)
                steps += self._run(done, until)
                steps.append(clause)
                done = until
            steps += self._run(done, len(self.everywhere))
            name = self._known[who] = self._make(steps)
        return name

    def _run(self, first: int, end: int) -> list[Step]:
        """Return what stands for the clauses about any destination from one place in their order to another."""
        steps: list[Step] = []
        at = first
        while at < end:
            size = 1
            while at % (size * FAN) == 0 and at + size * FAN <= end:
                size *= FAN
            steps.append(Jump(self._block(at, at + size)) if size > 1 else self.everywhere[at])
            at += size
        if len(steps) <= SHORT:
            return steps
        name = self._blocks.get((first, end)) or self._blocks.setdefault((first, end), self._make(steps))
        return [Jump(name)]

    def _block(self, first: int, end: int) -> str:
        name = self._blocks.get((first, end))
        if name is None:
            size = (end - first) // FAN
            parts: list[Step] = list(self.everywhere[first:end])
            if size > 1:
                parts = [Jump(self._block(at, at + size)) for at in range(first, end, size)]
            name = self._blocks[first, end] = self._make(parts)
        return name

    def _make(self, steps: Sequence[Step]) -> str:
        if len(steps) == 1 and isinstance(steps[0], Clause):
            text = self.code(steps[0])  # most chains
        else:
            text = b"".join(step.chain.encode() if isinstance(step, Jump) else self.code(step) for step in steps)
        name = "c" + blake2b(text, digest_size=12).hexdigest()
        if name not in self.chains:
            self.chains[name] = tuple(steps)
            if self._made is not None:
                self._made(name, self.chains[name])
        return name

    def _recut(
        self, first: int, last: int, gone: set[Clause], come: list[Clause], delta: Delta
    ) -> list[tuple[Clause, ...]]:
        """Cut the intervals anew from one address to another; return the lists of clauses that may be over."""
        # With the neighbours, which may have become equal to what lies beside them.
        low = max(0, bisect_right(self.starts, first - 1) - 1)
        high = bisect_right(self.starts, last + 1)
        old = self.intervals[low:high]
        edges = {first, last + 1}
        edges.update(edge for each in old for edge in (each.first, each.last + 1))
        edges.update(edge for each in come for span in each.dst for edge in (span.first, span.last + 1))
        new: list[Interval] = []
        at = 0
        for begin, end in pairwise(sorted(edges)):
            while at < len(old) and old[at].last < begin:
                at += 1
            who = old[at].who if at < len(old) and old[at].first <= begin else ()
            if first <= begin <= last:
                extra = [each for each in come if any(span.first <= begin <= span.last for span in each.dst)]
                who = tuple(sorted((*(each for each in who if each not in gone), *extra), key=_order))
            _append(new, begin, end - 1, who)
        before = self._elements[low:high]
        after = [(each.first, each.last, self._chain_of(each.who)) for each in new]
        for element in before:
            delta.take(element)
            self._uses[element[2]] -= 1
        for element in after:
            delta.put(element)
            self._uses[element[2]] += 1
        self._elements[low:high] = after
        self.starts[low:high] = [each.first for each in new]
        self.intervals[low:high] = new
        return [each.who for each in (*old, *new)]


def is_small(*clauses: Clause) -> bool:
    """Return whether these clauses can come and go by `Plan.change`; otherwise it is a matter for a new plan."""
    return all(clause.dst for clause in clauses) and sum(len(clause.dst) for clause in clauses) <= MANY


def is_plain(delta: Delta, plan: Plan) -> bool:
    """Return whether the change to this plan may be one transaction: intervals come or go, and none is led elsewhere.

    Then a packet that meets half of it goes its ordinary way, as it does before the one or after the other.
    """
    lost, new = sorted(delta.gone_elements), sorted(delta.elements)
    return not plan.fallback and not any(
        first <= other[1] and other[0] <= last for first, last, _ in lost for other in new
    )


def moving(delta: Delta) -> set[Element]:
    """Return the single addresses that come out of a wider interval, with the chain that decided about them so far.

    A packet may have missed them among the single addresses before a switch and look for the interval after it. Put
    among the single addresses beforehand, they are never missed.
    """
    wide = sorted(each for each in delta.gone_elements if not is_single(each))
    found: set[Element] = set()
    for first, _, _ in filter(is_single, delta.elements) if wide else ():
        at = bisect_right(wide, first, key=itemgetter(0)) - 1
        if at >= 0 and first <= wide[at][1]:
            found.add((first, first, wide[at][2]))
    return found


def is_single(element: Element) -> bool:
    """Return whether the interval is one address."""
    return element[0] == element[1]


def layouts(
    found: Iterable[Iterable[Clause]],
    code: Callable[[Clause], bytes],
    made: Callable[[int, str, tuple[Step, ...]], None] | None = None,
) -> dict[int, Plan]:
    """Return a plan for each address family."""
    clauses: dict[int, list[Clause]] = {4: [], 6: []}
    for clause in chain.from_iterable(found):
        clauses[clause.family].append(clause)
    return {family: Plan(each, code, partial(made, family) if made else None) for family, each in clauses.items()}


def difference(old: Plan, new: Plan) -> Delta:
    """Return what changes from one plan to another."""
    before, after = set(old.elements()), set(new.elements())
    return Delta(
        {name: steps for name, steps in new.chains.items() if name not in old.chains},
        [name for name in reversed(old.chains) if name not in new.chains],
        after - before,
        before - after,
    )


def _cut(clauses: Iterable[Clause]) -> list[Interval]:
    """Cut the destinations into the fewest intervals that the same clauses are about."""
    spans = sorted(((s.first, s.last, clause) for clause in clauses for s in clause.dst), key=itemgetter(0))
    found: list[Interval] = []
    at = 0
    while at < len(spans):
        first, last, clause = spans[at]
        end = at + 1
        while end < len(spans) and spans[end][0] <= last:
            last = max(last, spans[end][1])
            end += 1
        # Most destinations are in one clause only.
        if end - at == 1:
            _append(found, first, last, (clause,))
        else:
            _cut_up(spans[at:end], found)
        at = end
    return found


def _cut_up(spans: Iterable[tuple[int, int, Clause]], found: list[Interval]) -> None:
    """Append the intervals of spans that overlap."""
    events: dict[int, tuple[list[Clause], list[Clause]]] = {}
    for first, last, clause in spans:
        events.setdefault(first, ([], []))[0].append(clause)
        events.setdefault(last + 1, ([], []))[1].append(clause)
    active: list[Clause] = []
    edge = 0
    for at, (begin, end) in sorted(events.items(), key=itemgetter(0)):
        _append(found, edge, at - 1, tuple(active))
        for clause in end:
            del active[bisect_left(active, clause.order, key=_order)]
        for clause in begin:
            insort(active, clause, key=_order)
        edge = at


def _append(intervals: list[Interval], first: int, last: int, who: tuple[Clause, ...]) -> None:
    if not who:
        return
    if intervals and intervals[-1].who == who and intervals[-1].last + 1 == first:
        intervals[-1] = Interval(intervals[-1].first, last, who)
    else:
        intervals.append(Interval(first, last, who))


def _united(spans: Iterable[Span]) -> list[tuple[int, int]]:
    done: list[tuple[int, int]] = []
    for span in sorted(spans):
        if done and span.first <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(done[-1][1], span.last))
        else:
            done.append((span.first, span.last))
    return done
