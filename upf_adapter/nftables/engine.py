"""The rules of one edge in the kernel: what should be there, what is, and the shortest way from one to the other.

Each change is made in three transactions. The first adds what nobody leads to yet, the second switches over, and the third
takes away what nobody leads to any more. So the one switch changes the meaning, for all rules and both address
families at once, and a packet that is under way at that moment finds every chain that it is sent to complete.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from operator import attrgetter

from core.errors import BreakwaterError
from upf_adapter.contract import Capabilities, Counters, Outcome, Refused, TrafficRule
from upf_adapter.nftables import batch as bt
from upf_adapter.nftables import expressions as ex
from upf_adapter.nftables import netlink as nl
from upf_adapter.nftables import readback
from upf_adapter.nftables.batch import Batch
from upf_adapter.nftables.examples import Examples
from upf_adapter.nftables.held import Books, Held, Need, Thing, without_collection
from upf_adapter.nftables.line import Line
from upf_adapter.nftables.lowering import MOST_RULES, Clause
from upf_adapter.nftables.plan import Delta, Plan, Step, difference, is_plain, is_small, layouts, moving
from upf_adapter.nftables.routes import Router, hints

log = logging.getLogger(__name__)
FAMILIES = (4, 6)
Lowered = tuple[TrafficRule, tuple[Clause, ...]]
#: The maps take turns: a large change is put into those that are not looked at. A turn is a letter and the room for single
#: addresses, as a power of two that is not below this.
FIRST, LEAST = "a10", 10
_TURN = re.compile("[ab][0-9]{2}")
#: A change of more elements than this, and than this part of the maps, is put into the other ones.
FEW, PART = 100, 0.1
#: From so many pieces of a batch on, an idle kernel works on them while the next are made.
LARGE = 1400
#: First word of the note that the ruleset holds about itself.
VERSION = "breakwater-3"


class Engine:
    """Holds rules in force in the network namespace that it was made in."""

    def __init__(self, name: str, can: Capabilities, interfaces: Iterable[str], table: str, router: Router) -> None:
        self._name, self._interfaces, self._table = name, tuple(sorted(interfaces)), table
        #: The last change, while things that it left over are still being taken away.
        self._behind: Line | None = None
        self._examples = Examples(can, name)
        self._kernel = nl.Kernel()
        self._router = router
        self._books = Books()
        #: The kernel's rule for each clause in force.
        self._codes: dict[Clause, bytes] = {}
        self._plans = layouts((), self._code_bytes)
        self._map = dict.fromkeys(FAMILIES, FIRST)
        #: The generation of the ruleset that is as we made it; None while that is not known.
        self._generation: int | None = None
        #: The fingerprint of what the kernel holds, once it was taken.
        self._digest = ""

    def close(self) -> None:
        """Let go; rules stay in force."""
        self._finish()
        self._kernel.close()
        self._router.close()

    def rules(self) -> dict[str, TrafficRule]:
        """Return what is in force, as far as this process knows."""
        return {key: held.rule for key, held in self._books.held.items()}

    def put(self, rule: TrafficRule) -> None:
        """Make one rule be in force; raises what is wrong with it, and then nothing has changed."""
        before = self._books.held.get(rule.id)
        if not self._known():
            # All of it has to be made anew.
            outcome = self.replace([*(held.rule for held in self._books.held.values() if held is not before), rule])
            if rule.id in outcome.problems:
                raise outcome.problems[rule.id]
        elif not before or before.rule != rule:
            clauses = self._examples.lower(rule)
            if not before:
                self._bounded(len(self._books.held))
            for problem in self._router.settle(clauses[0].verdict.exits, again=False).values():
                raise problem
            self._change(before, self._ready(rule, clauses, self._new_codes(), self._codes))

    def delete(self, rule_id: str) -> None:
        """Take one rule out."""
        before = self._books.held.get(rule_id)
        if before and self._known():
            self._change(before, None)
        elif before:
            self.replace([held.rule for held in self._books.held.values() if held is not before])

    def replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        """Make exactly these rules be in force; rules with a problem are left out, and told."""
        with without_collection():
            return self._replace(wanted)

    def _replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        lowered: dict[str, Lowered] = {}
        problems: dict[str, BreakwaterError] = {}
        lower, before = self._examples.lower, self._books.held
        for rule in sorted(wanted, key=attrgetter("priority", "id")):
            key = rule.id
            held = before.get(key)
            try:
                if len(lowered) >= MOST_RULES:
                    self._bounded(len(lowered))
                # The filters first, which tell most of them apart.
                if held is not None and held.rule.filters == rule.filters and held.rule == rule:
                    lowered[key] = held.rule, held.clauses
                else:
                    lowered[key] = rule, lower(rule)
            except BreakwaterError as problem:
                problems[key] = problem
        # Rules share their verdicts, the very objects.
        verdicts = {id(clauses[0].verdict): clauses[0].verdict for _, clauses in lowered.values()}
        away = self._router.settle({exit_ for verdict in verdicts.values() for exit_ in verdict.exits}, again=True)
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
        self._finish()
        seen: dict[str, tuple[int, int]] = {}
        for family in FAMILIES:
            for name, packets, octets in readback.counters(self._kernel, family, self._table):
                before = seen.get(name, (0, 0))
                seen[name] = before[0] + packets, before[1] + octets
        return {key: Counters(*seen[held.counter]) for key, held in self._books.held.items() if held.counter in seen}

    def describe(self) -> str:
        """Return what steers here, and what the node should still be told."""
        system = os.uname()
        return f"nf_tables of {system.sysname} {system.release}{''.join(f'; {hint}' for hint in hints())}"

    # From one set to the next

    def _bounded(self, count: int) -> None:
        if count >= MOST_RULES:
            raise Refused(f"the user plane {self._name} takes at most {MOST_RULES} rules")

    def _new_codes(self) -> ex.Codes:
        return ex.Codes(self._router.mark, self._router.mask)

    def _ready(
        self, rule: TrafficRule, clauses: tuple[Clause, ...], codes: ex.Codes, made: dict[Clause, bytes]
    ) -> Held:
        """Return the rule with all that the kernel will need for it; the code of its clauses is put into `made`."""
        before = self._books.held.get(rule.id)
        if before and before.rule is rule and all(clause in self._codes for clause in clauses):
            made.update((clause, self._codes[clause]) for clause in clauses)
            return before
        counter = bt.counter_name(rule)
        if len(clauses) == 1:
            made[clauses[0]], needs = codes.of(clauses[0], counter)
            return Held(rule, clauses, counter, needs)
        all_: list[Need] = []
        for clause in clauses:
            made[clause], needs = codes.of(clause, counter)
            all_ += needs
        return Held(rule, clauses, counter, tuple(dict.fromkeys(all_)))

    def _hold(self, held: dict[str, Held], made: dict[Clause, bytes]) -> None:
        """Have this set instead of the one before, in our books."""
        self._books.hold(held)
        self._books.tidy()
        self._codes = made

    def _change(self, before: Held | None, after: Held | None) -> None:
        """Change one rule, touching only the chains and intervals that it concerns."""
        clauses = (*(before.clauses if before else ()), *(after.clauses if after else ()))
        held = after or before
        if not is_small(*clauses) or held is None:
            wanted = {key: (each.rule, each.clauses) for key, each in self._books.held.items() if each is not before}
            return self._move({**wanted, after.rule.id: (after.rule, after.clauses)} if after else wanted)
        with self._all_or_anew():
            deltas = {
                family: self._plans[family].change(
                    before.of(family) if before else [], after.of(family) if after else []
                )
                for family in FAMILIES
            }
            come, gone_things = self._books.change(held.rule.id, before, after)
            try:
                batch = Batch(self._table)
                for thing in come:
                    batch.thing(thing)
                for family, delta in deltas.items():
                    for name, steps in delta.chains.items():
                        batch.chain(family, name, steps, self._codes)
                with self._line() as line:
                    self._commit(line, deltas, lambda: ({}, gone_things), come=batch)
            except BaseException:
                self._books.change(held.rule.id, after, before)
                raise
        for clause in before.clauses if before else ():
            self._codes.pop(clause, None)
        if before and any(not self._books.exits[exit_] for exit_ in before.exits):
            self._forget()
        return None

    def _move(self, wanted: dict[str, Lowered]) -> None:
        """Go over to another set; nothing is touched when it is the same one."""
        known, new = self._known(), not self._books.held
        if known and self._books.same(wanted):
            return self._forget()
        with self._all_or_anew():
            try:
                if known:
                    self._go_over(wanted)
                else:
                    codes, made = self._new_codes(), dict[Clause, bytes]()
                    self._hold({key: self._ready(*each, codes, made) for key, each in wanted.items()}, made)
                    self._plans = layouts((each.clauses for each in self._books.held.values()), self._code_bytes)
                    if not self._adopt(new=new):
                        self._rebuild()
            except BaseException:
                # What is wished is told by the next call; ours is only not to claim what is not so.
                self._hold({}, {})
                raise
        return self._forget()

    def _go_over(self, wanted: dict[str, Lowered]) -> None:
        """Go over from the set in force. What nobody leads to yet is sent on its way while the rest is still thought about."""
        plans, before, ahead = self._plans, self._books.held, Batch(self._table)
        held: dict[str, Held] = {}
        new: set[Need] = set()
        codes, ready_codes = self._new_codes(), dict[Clause, bytes]()
        with self._line() as line:

            def code(clause: Clause) -> bytes:
                key = clause.rule
                if key not in held:
                    held[key] = ready = self._ready(*wanted[key], codes, ready_codes)
                    was = before.get(key)
                    if was is None or was.counter != ready.counter:
                        for family in ready.families:
                            ahead.counter(family, ready.counter)
                    for need in ready.needs:
                        if need not in new:
                            new.add(need)
                            if need not in self._books.needs:
                                ahead.thing(need)
                return ready_codes[clause]

            def made(family: int, name: str, steps: tuple[Step, ...]) -> None:
                if name not in plans[family].chains:
                    ahead.chain(family, name, steps, ready_codes)
                    if len(ahead.messages) > LARGE and line.idle:
                        line.put(ahead.take(), large=True)

            self._plans = layouts((clauses for _, clauses in wanted.values()), code, made)
            for plan in self._plans.values():
                plan.code = self._code_bytes
            line.put(ahead.take())
            self._books.hold({key: held[key] for key in wanted})
            self._codes = ready_codes
            deltas = {family: difference(plans[family], self._plans[family]) for family in FAMILIES}
            turned = {family for family in FAMILIES if plans[family].fallback != self._plans[family].fallback}
            self._commit(line, deltas, self._books.tidy, turned)
            # Many objects: they go while the kernel works.
            before.clear()
            plans.clear()
            deltas.clear()

    def _code_bytes(self, clause: Clause) -> bytes:
        return self._codes[clause]

    def _forget(self) -> None:
        self._books.exits = +self._books.exits
        self._router.forget(self._books.exits)

    def _commit(
        self,
        line: Line,
        deltas: dict[int, Delta],
        gone: Callable[[], tuple[Mapping[int, list[str]], Iterable[Thing]]],
        turned: Iterable[int] = (),
        come: Batch | None = None,
    ) -> None:
        """Carry out the difference, with what is to `come` before; `turned` are the families whose packets without an
        interval go elsewhere. What has `gone` is asked for when the rest is on its way.
        """
        prepare, switch, clean = come or Batch(self._table), Batch(self._table), Batch(self._table)
        maps = dict(self._map)
        for family, delta in deltas.items():
            plan = self._plans[family]
            size = len(delta.elements) + len(delta.gone_elements)
            if size > max(FEW, PART * len(plan.intervals)) or size + len(plan.intervals) > _room(maps[family]):
                maps[family] = _turn("b" if maps[family][0] == "a" else "a", plan)
                prepare.maps(family, maps[family], _room(maps[family]))
                prepare.elements(family, maps[family], plan.elements())
            else:
                kept = moving(delta)
                prepare.elements(family, maps[family], kept)
                switch.elements(family, maps[family], delta.gone_elements | kept, drop=True)
                switch.elements(family, maps[family], delta.elements)
            if maps[family] != self._map[family] or family in turned:
                switch.flush(family, bt.BASE)
                switch.ways(family, self._interfaces, maps[family], self._plans[family].fallback)
        switch.state(FAMILIES[0], self._note(maps))
        plain = maps == self._map and all(is_plain(delta, self._plans[family]) for family, delta in deltas.items())
        if not plain:
            line.put(prepare.messages)
            line.put(switch.messages)
        for family, delta in deltas.items():
            if maps[family] != self._map[family]:
                clean.drop_maps(family, self._map[family])
            clean.drop_chains(family, delta.gone_chains)
        counters, things = gone()
        for family, names in counters.items():
            clean.drop_counters(family, names)
        for thing in things:
            clean.drop_thing(thing)
        if plain:
            line.put([*prepare.messages, *switch.messages, *clean.messages])
        else:
            line.put_behind(clean.messages)
        self._map = maps

    def _rebuild(self) -> None:
        """Make both tables anew, in one transaction, whatever is there."""
        self._generation = self._kernel.generation()
        self._map = {family: _turn("a", plan) for family, plan in self._plans.items()}
        batch = Batch(self._table)
        for family in FAMILIES:
            batch.make_table(family)
        for held in self._books.held.values():
            for family in held.families:
                batch.counter(family, held.counter)
        for thing in self._books.needs:
            batch.thing(thing)
        for family, plan in self._plans.items():
            for name, steps in plan.chains.items():
                batch.chain(family, name, steps, self._codes)
            turn = self._map[family]
            batch.maps(family, turn, _room(turn))
            batch.elements(family, turn, plan.elements())
            batch.base(family)
            for need in ex.interfaces_code(self._interfaces).needs:
                batch.thing((family, need))
            batch.ways(family, self._interfaces, turn, plan.fallback)
        batch.chain(FAMILIES[0], bt.STATE)
        batch.state(FAMILIES[0], self._note(self._map))
        self._send(batch)
        log.info("%d rules were put into the kernel", len(self._books.held))

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
            generation = line.end()
        self._generation, self._digest, self._behind = generation, "", line

    def _finish(self) -> None:
        """Wait for what is still taken away after the last change, before the kernel is asked anything."""
        line, self._behind = self._behind, None
        try:
            if line:
                line.finish()
        except BreakwaterError as problem:
            log.warning("what no rule needs any more was not taken away, all is put anew: %s", problem)
            self._generation = None

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
        self._finish()
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
        roots = repr(
            (self._interfaces, self._router.mask, sorted((e, self._router.mark(e)) for e in +self._books.exits))
        )
        content = self._books.content ^ int.from_bytes(blake2b(roots.encode(), digest_size=12).digest(), "big")
        return f"{VERSION} {content:024x} {maps[4]} {maps[6]} {digest}"

    def _adopt(self, *, new: bool) -> bool:
        """After a start: take over what the kernel has, when it proves to be what is wanted."""
        if not new:
            return False
        generation = self._kernel.generation()
        said = readback.note(self._kernel, self._table)
        words = said.split(" ")
        if len(words) != 5 or not (_TURN.fullmatch(words[2]) and _TURN.fullmatch(words[3])):
            return False
        maps = dict(zip(FAMILIES, words[2:4], strict=True))
        if said != self._note(maps, words[4]) or readback.fingerprint(self._kernel, self._table, maps) != words[4]:
            return False
        if self._kernel.generation() != generation:
            return False
        self._map, self._generation, self._digest = maps, generation, words[4]
        log.info("the %d rules were in force already", len(self._books.held))
        return True


def _turn(letter: str, plan: Plan) -> str:
    """Return the turn of new maps for a plan, with room to grow."""
    return f"{letter}{max(LEAST, (2 * len(plan.intervals)).bit_length()):02}"


def _room(turn: str) -> int:
    return 1 << int(turn[1:])
