"""The rules of one edge in the kernel: what should be there, what is, and the shortest way from one to the other.

Each change is made in three transactions. The first adds what nobody leads to yet, the second switches over, and the third
takes away what nobody leads to any more. So the one switch changes the meaning, for all rules and both address
families at once, and a packet that is under way at that moment finds every chain that it is sent to complete.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from itertools import chain

from core.errors import BreakwaterError
from upf_adapter.contract import Capabilities, Counters, Outcome, Refused, TrafficRule
from upf_adapter.nftables import batch as bt
from upf_adapter.nftables import expressions as ex
from upf_adapter.nftables import netlink as nl
from upf_adapter.nftables import readback
from upf_adapter.nftables.batch import Batch
from upf_adapter.nftables.examples import Examples
from upf_adapter.nftables.held import Held, Thing, without_collection
from upf_adapter.nftables.line import Line
from upf_adapter.nftables.lowering import MOST_RULES, Clause, Exit
from upf_adapter.nftables.plan import Delta, Plan, Step, difference, is_small
from upf_adapter.nftables.routes import Router, hints

log = logging.getLogger(__name__)
FAMILIES = (4, 6)
Lowered = tuple[TrafficRule, tuple[Clause, ...]]
#: The maps take turns: a large change is put into the one that is not looked at.
MAPS = ("where_a", "where_b")
#: A change of more elements than this, and than this part of the map, is put into the other one.
FEW, PART = 100, 0.1
#: From so many messages on, the kernel works on them while the next are made.
LARGE = 6000
#: First word of the note that the ruleset holds about itself.
VERSION = "breakwater-2"


class Engine:
    """Holds rules in force in the network namespace that it was made in."""

    def __init__(self, name: str, can: Capabilities, interfaces: Iterable[str], table: str, router: Router) -> None:
        self._name, self._interfaces, self._table = name, tuple(sorted(interfaces)), table
        self._examples = Examples(can, name)
        self._kernel = nl.Kernel()
        self._router = router
        self._held: dict[str, Held] = {}
        self._exits: Counter[Exit] = Counter()
        self._things: Counter[Thing] = Counter()
        self._content = 0
        self._codes: dict[Clause, ex.Code] = {}
        self._plans = _plan((), self._code_bytes)
        self._map = dict.fromkeys(FAMILIES, MAPS[0])
        #: The generation of the ruleset that is as we made it; None while that is not known.
        self._generation: int | None = None
        #: The fingerprint of what the kernel holds, once it was taken.
        self._digest = ""

    def close(self) -> None:
        """Let go; rules stay in force."""
        self._kernel.close()
        self._router.close()

    def rules(self) -> dict[str, TrafficRule]:
        """Return what is in force, as far as this process knows."""
        return {key: held.rule for key, held in self._held.items()}

    def put(self, rule: TrafficRule) -> None:
        """Make one rule be in force; raises what is wrong with it, and then nothing has changed."""
        before = self._held.get(rule.id)
        if not self._known():
            # All of it has to be made anew.
            outcome = self.replace([*(held.rule for held in self._held.values() if held is not before), rule])
            if rule.id in outcome.problems:
                raise outcome.problems[rule.id]
        elif not before or before.rule != rule:
            clauses = self._examples.lower(rule)
            if not before:
                self._bounded(len(self._held))
            for problem in self._router.settle(clauses[0].verdict.exits, again=False).values():
                raise problem
            self._change(before, self._ready(rule, clauses))

    def delete(self, rule_id: str) -> None:
        """Take one rule out."""
        before = self._held.get(rule_id)
        if before and self._known():
            self._change(before, None)
        elif before:
            self.replace([held.rule for held in self._held.values() if held is not before])

    def replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        """Make exactly these rules be in force; rules with a problem are left out, and told."""
        with without_collection():
            return self._replace(wanted)

    def _replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        lowered: dict[str, Lowered] = {}
        problems: dict[str, BreakwaterError] = {}
        for rule in sorted(wanted, key=lambda rule: rule.order):
            held = self._held.get(rule.id)
            try:
                self._bounded(len(lowered))
                same = held is not None and held.rule == rule
                clauses = held.clauses if held and same else self._examples.lower(rule)
                lowered[rule.id] = (held.rule if held and same else rule, clauses)
            except BreakwaterError as problem:
                problems[rule.id] = problem
        verdicts = {clauses[0].verdict for _, clauses in lowered.values()}
        away = self._router.settle({exit_ for verdict in verdicts for exit_ in verdict.exits}, again=True)
        for key, (_, clauses) in list(lowered.items()) if away else ():
            unreachable = [away[each] for each in clauses[0].verdict.exits if each in away]
            if unreachable:
                problems[key] = unreachable[0]
                del lowered[key]
        self._move(lowered)
        return Outcome(frozenset(lowered), problems)

    def intact(self) -> bool:
        """Return whether the kernel still has what was put."""
        if not self._known():
            return False
        if not self._digest:
            self._remember()
        return self._router.intact()

    def counters(self) -> dict[str, Counters]:
        """Return what each rule has seen."""
        seen: dict[str, tuple[int, int]] = {}
        for family in FAMILIES:
            for name, packets, octets in readback.counters(self._kernel, family, self._table):
                before = seen.get(name, (0, 0))
                seen[name] = before[0] + packets, before[1] + octets
        return {key: Counters(*seen[held.counter]) for key, held in self._held.items() if held.counter in seen}

    def describe(self) -> str:
        """Return what steers here, and what the node should still be told."""
        system = os.uname()
        return f"nf_tables of {system.sysname} {system.release}{''.join(f'; {hint}' for hint in hints())}"

    # From one set to the next

    def _bounded(self, count: int) -> None:
        if count >= MOST_RULES:
            raise Refused(f"the user plane {self._name} takes at most {MOST_RULES} rules")

    def _ready(self, rule: TrafficRule, clauses: tuple[Clause, ...]) -> Held:
        """Return the rule with all that the kernel will need for it."""
        before = self._held.get(rule.id)
        if before and before.rule is rule and all(clause in self._codes for clause in clauses):
            return before
        counter = bt.counter_name(rule)
        things: list[Thing] = []
        for clause in clauses:
            code = self._codes[clause] = ex.clause_code(clause, counter, self._router.mark, self._router.mask)
            things.append((clause.family, counter))
            things += [(clause.family, need) for need in code.needs]
        return Held(rule, clauses, counter, tuple(things if len(clauses) == 1 else dict.fromkeys(things)))

    def _hold(self, held: dict[str, Held]) -> tuple[set[Thing], set[Thing]]:
        """Have this set instead of the one before, in our books; return what the kernel needs more, and no more."""
        self._held = held
        before, self._things = self._things, Counter(chain.from_iterable(each.things for each in held.values()))
        self._exits = Counter(chain.from_iterable(each.exits for each in held.values()))
        self._content = 0
        for each in held.values():
            self._content ^= int(each.counter[1:], 16)
        kept = {clause for each in held.values() for clause in each.clauses}
        self._codes = {clause: code for clause, code in self._codes.items() if clause in kept}
        return self._things.keys() - before.keys(), before.keys() - self._things.keys()

    def _change(self, before: Held | None, after: Held | None) -> None:
        """Change one rule, touching only the chains and intervals that it concerns."""
        clauses = (*(before.clauses if before else ()), *(after.clauses if after else ()))
        held = after or before
        if not is_small(*clauses) or held is None:
            wanted = {key: (each.rule, each.clauses) for key, each in self._held.items() if each is not before}
            return self._move({**wanted, after.rule.id: (after.rule, after.clauses)} if after else wanted)
        with self._all_or_anew():
            deltas = {
                family: self._plans[family].change(
                    before.of(family) if before else [], after.of(family) if after else []
                )
                for family in FAMILIES
            }
            come, gone_things = self._book(held.rule.id, before, after)
            try:
                batch = Batch(self._table)
                for thing in come:
                    batch.thing(thing)
                for family, delta in deltas.items():
                    for name, steps in delta.chains.items():
                        batch.chain(family, name, steps, self._codes)
                with self._line() as line:
                    self._commit(line, deltas, gone_things, come=batch)
            except BaseException:
                self._book(held.rule.id, after, before)
                raise
        for clause in before.clauses if before else ():
            self._codes.pop(clause, None)
        if before and any(not self._exits[exit_] for exit_ in before.exits):
            self._forget()
        return None

    def _book(self, key: str, before: Held | None, after: Held | None) -> tuple[set[Thing], set[Thing]]:
        """Have one rule instead of another, in our books; return what the kernel needs more, and no more."""
        touched = {*(before.things if before else ()), *(after.things if after else ())}
        had = {thing for thing in touched if self._things[thing]}
        for each, step in ((before, -1), (after, 1)):
            if each:
                for thing in each.things:
                    self._things[thing] += step
                self._content ^= int(each.counter[1:], 16)
                for exit_ in each.exits:
                    self._exits[exit_] += step
        self._held.pop(key, None)
        if after:
            self._held[key] = after
        has = {thing for thing in touched if self._things[thing]}
        for thing in touched - has:
            del self._things[thing]
        return has - had, had - has

    def _move(self, wanted: dict[str, Lowered]) -> None:
        """Go over to another set; nothing is touched when it is the same one."""
        before, known = self._held, self._known()
        if known and wanted.keys() == before.keys() and all(before[k].rule is rule for k, (rule, _) in wanted.items()):
            return self._forget()
        with self._all_or_anew():
            try:
                if known:
                    self._go_over(wanted)
                else:
                    self._hold({key: self._ready(*each) for key, each in wanted.items()})
                    self._plans = _plan((each.clauses for each in self._held.values()), self._code_bytes)
                    if not self._adopt(new=not before):
                        self._rebuild()
            except BaseException:
                # What is wished is told by the next call; ours is only not to claim what is not so.
                self._hold({})
                raise
        return self._forget()

    def _go_over(self, wanted: dict[str, Lowered]) -> None:
        """Go over from the set in force. What nobody leads to yet is sent on its way while the rest is still thought about."""
        plans, ahead = self._plans, Batch(self._table)
        held: dict[str, Held] = {}
        new: set[Thing] = set()
        with self._line() as line:

            def code(clause: Clause) -> bytes:
                if clause.rule not in held:
                    held[clause.rule] = ready = self._ready(*wanted[clause.rule])
                    for thing in ready.things:
                        if thing not in self._things and thing not in new:
                            new.add(thing)
                            ahead.thing(thing)
                return self._codes[clause].data

            def made(family: int, name: str, steps: tuple[Step, ...]) -> None:
                if name not in plans[family].chains:
                    ahead.chain(family, name, steps, self._codes)
                    if len(ahead.messages) > LARGE:
                        line.put(ahead.take(), large=True)

            self._plans = _plan((clauses for _, clauses in wanted.values()), code, made)
            for plan in self._plans.values():
                plan.code = self._code_bytes
            line.put(ahead.take())
            _, gone = self._hold({key: held[key] for key in wanted})
            deltas = {family: difference(plans[family], self._plans[family]) for family in FAMILIES}
            turned = {family for family in FAMILIES if plans[family].fallback != self._plans[family].fallback}
            self._commit(line, deltas, gone, turned)

    def _code_bytes(self, clause: Clause) -> bytes:
        return self._codes[clause].data

    def _forget(self) -> None:
        self._exits = +self._exits
        self._router.forget(self._exits)

    def _commit(
        self,
        line: Line,
        deltas: dict[int, Delta],
        gone: Iterable[Thing],
        turned: Iterable[int] = (),
        come: Batch | None = None,
    ) -> None:
        """Carry out the difference, with what is to `come` before; `turned` are the families whose packets without an
        interval go elsewhere.
        """
        prepare, switch, clean = come or Batch(self._table), Batch(self._table), Batch(self._table)
        maps = dict(self._map)
        for family, delta in deltas.items():
            plan = self._plans[family]
            if len(delta.elements) + len(delta.gone_elements) > max(FEW, PART * len(plan.intervals)):
                maps[family] = MAPS[1 - MAPS.index(maps[family])]
                prepare.map(family, maps[family])
                prepare.elements(family, maps[family], plan.elements())
                clean.drop_set(family, self._map[family])
            else:
                switch.elements(family, maps[family], delta.gone_elements, drop=True)
                switch.elements(family, maps[family], delta.elements)
            if maps[family] != self._map[family] or family in turned:
                switch.flush(family, bt.BASE)
                switch.ways(family, self._interfaces, maps[family], self._plans[family].fallback)
            for name in delta.gone_chains:
                clean.drop_chain(family, name)
        for thing in gone:
            clean.drop_thing(thing)
        switch.state(FAMILIES[0], self._note(maps))
        if maps == self._map and all(self._is_plain(family, delta) for family, delta in deltas.items()):
            prepare.messages += switch.messages + clean.messages
            line.put(prepare.messages)
        else:
            for batch in (prepare, switch, clean):
                line.put(batch.messages)
        self._map = maps

    def _is_plain(self, family: int, delta: Delta) -> bool:
        """Return whether the change may be one transaction: intervals come or go, and none is led elsewhere.

        Then a packet that meets half of it goes its ordinary way, as it does before the one or after the other.
        """
        lost, new = sorted(delta.gone_elements), sorted(delta.elements)
        return not self._plans[family].fallback and not any(
            first <= other[1] and other[0] <= last for first, last, _ in lost for other in new
        )

    def _rebuild(self) -> None:
        """Make both tables anew, in one transaction, whatever is there."""
        self._generation = self._kernel.generation()
        self._map = dict.fromkeys(FAMILIES, MAPS[0])
        batch = Batch(self._table)
        for family in FAMILIES:
            batch.make_table(family)
        for thing in self._things:
            batch.thing(thing)
        for family, plan in self._plans.items():
            for name, steps in plan.chains.items():
                batch.chain(family, name, steps, self._codes)
            batch.map(family, MAPS[0])
            batch.elements(family, MAPS[0], plan.elements())
            batch.base(family)
            for need in ex.interfaces_code(self._interfaces).needs:
                batch.thing((family, need))
            batch.ways(family, self._interfaces, MAPS[0], plan.fallback)
        batch.chain(FAMILIES[0], bt.STATE)
        batch.state(FAMILIES[0], self._note(self._map))
        self._send(batch)
        log.info("%d rules were put into the kernel", len(self._held))

    def _send(self, batch: Batch) -> None:
        with self._line() as line:
            line.put(batch.messages)

    @contextmanager
    def _line(self) -> Iterator[Line]:
        """Change the ruleset that is as we know it, and know what it is afterwards."""
        line = Line(self._kernel, self._generation or 0)
        try:
            yield line
        finally:
            line.end()
        self._generation, self._digest = line.generation, ""

    @contextmanager
    def _all_or_anew(self) -> Iterator[None]:
        """When the work fails half-way, all is made anew at the next change."""
        try:
            yield
        except BaseException:
            self._generation = None
            raise

    # What the kernel has

    def _known(self) -> bool:
        """Return whether the ruleset is as we made it; cheap while nobody else has changed anything."""
        if self._generation is None:
            return False
        generation = self._kernel.generation()
        if generation == self._generation:
            return True
        if self._digest and self._fingerprint() == self._digest and self._kernel.generation() == generation:
            # Somebody changed what is theirs.
            self._generation = generation
            return True
        log.warning("the ruleset was changed by somebody else; the rules will be put anew")
        self._generation = None
        return False

    def _fingerprint(self) -> str:
        return readback.fingerprint(self._kernel, self._table, self._map)

    def _remember(self) -> None:
        """Take the fingerprint that later foreign changes are judged by, and note it where a restart finds it."""
        digest = self._fingerprint()
        if self._kernel.generation() != self._generation:
            return
        batch = Batch(self._table)
        batch.state(FAMILIES[0], self._note(self._map, digest))
        try:
            self._send(batch)
            self._digest = digest
        except nl.Foreign:
            log.info("the ruleset changed while it was read; the next look tells by whom")

    def _note(self, maps: dict[int, str], digest: str = "-") -> str:
        """Return what the ruleset says about itself: what it was made of, which maps it uses, its fingerprint."""
        roots = repr((self._interfaces, self._router.mask, sorted((e, self._router.mark(e)) for e in +self._exits)))
        content = self._content ^ int.from_bytes(blake2b(roots.encode(), digest_size=12).digest(), "big")
        return f"{VERSION} {content:024x} {maps[4]} {maps[6]} {digest}"

    def _adopt(self, *, new: bool) -> bool:
        """After a start: take over what the kernel has, when it proves to be what is wanted."""
        if not new:
            return False
        generation = self._kernel.generation()
        said = readback.note(self._kernel, self._table)
        words = said.split(" ")
        if len(words) != 5 or not {words[2], words[3]} <= set(MAPS):
            return False
        maps = dict(zip(FAMILIES, words[2:4], strict=True))
        if said != self._note(maps, words[4]) or readback.fingerprint(self._kernel, self._table, maps) != words[4]:
            return False
        if self._kernel.generation() != generation:
            return False
        self._map, self._generation, self._digest = maps, generation, words[4]
        log.info("the %d rules were in force already", len(self._held))
        return True


def _plan(
    found: Iterable[Iterable[Clause]],
    code: Callable[[Clause], bytes],
    made: Callable[[int, str, tuple[Step, ...]], None] | None = None,
) -> dict[int, Plan]:
    clauses: dict[int, list[Clause]] = {family: [] for family in FAMILIES}
    for clause in chain.from_iterable(found):
        clauses[clause.family].append(clause)
    return {family: Plan(each, code, partial(made, family) if made else None) for family, each in clauses.items()}
