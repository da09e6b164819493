"""Keeps an external name server up to date with the ACTIVE rules: the whole is compared at the start, after an
outage and now and then; in between only differences are sent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.db import Error, connection

from core.errors import BreakwaterError
from mep.dns import reports
from mep.dns.backends.contract import DnsBackend, Key, RecordSet
from mep.dns.feed import Feed
from mep.dns.journal import Journal
from mep.dns.plan import Plan, owned, plan
from mep.dns.records import Wanted
from mep.mp1 import alarms
from mep.mp1.states import Enforcement, Severity

log = logging.getLogger(__name__)
BATCH = 500
#: Seconds between looks at the database, at the server when there is nothing to do, and at all that is there.
BEAT, PROBE, COMPARE = 0.05, 5.0, 600.0
#: Seconds before a server that is away is tried again: doubled each time. Told on the rules at the third failure.
FIRST, LONGEST, PATIENCE = 0.5, 30.0, 3
#: The kind of alarm that stands while the name server cannot be reached.
AWAY = "name-server-away"


class Synchroniser:
    """One server, one thread: call `step` for ever, or `run`."""

    def __init__(
        self,
        backend: DnsBackend,
        database: Path | str,
        *,
        default_ttl: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend = backend
        self._clock = clock
        self._feed = Feed(database)
        self._wanted = Wanted(default_ttl)
        self._journal = Journal(backend.server)
        #: What the server has, whoever put it; None when that has to be found out.
        self._present: dict[Key, RecordSet] | None = None
        self._ours: set[Key] = set()
        #: What the server cannot hold by its nature, and what it or a stranger's record stood against.
        self._unfit: dict[Key, str] = {}
        self._refused: dict[Key, tuple[RecordSet, str]] = {}
        self._failures = 0
        self._again_at = self._probe_at = self._compare_at = 0.0
        self._dirty = True

    def run(self, stopping: threading.Event) -> None:
        """Step until told to stop."""
        log.info("DNS rules go to %s", self.backend.server)
        while not stopping.is_set():
            try:
                self.step()
            except Error as problem:
                log.warning("the database cannot be used at the moment: %s", problem)
                self._dirty = True
                stopping.wait(1.0)
            stopping.wait(BEAT)
        self.close()

    def close(self) -> None:
        """Let go of the server and the database."""
        self.backend.close()
        self._feed.close()
        connection.close()

    def step(self) -> None:
        """Take over what changed and do what is due; an error of the server is noted, not raised."""
        self._take()
        now = self._clock()
        if now < self._again_at:
            return
        try:
            if self._present is None or now >= self._compare_at:
                self._compare()
            elif not self._dirty:
                if now >= self._probe_at:
                    self.backend.probe()
                    self._probe_at = now + PROBE
                return
            self._make()
        except BreakwaterError as problem:
            self._failed(problem, now)
            return
        if self._failures:
            log.info("%s is back", self.backend.server)
        self._failures, self._dirty, self._probe_at = 0, False, now + PROBE
        # Also the alarm of a process before this one: it has no other end.
        alarms.clear(AWAY, self._subject)
        self._report()

    def _take(self) -> None:
        change = self._feed.look()
        if change is None:
            return
        put, gone = self._wanted.update(change.names, self._feed.of)
        for each in put:
            self._unfit.pop(each.key, None)
            try:
                self.backend.check(each)
            except BreakwaterError as problem:
                self._unfit[each.key] = problem.detail
        for each in gone:
            self._unfit.pop(each.key, None)
        self._dirty = True

    def _compare(self) -> None:
        """Find out what the server has and which of it is ours."""
        journal = self._journal.read()
        shown = self.backend.present()
        if shown is None:
            # It does not tell, so all that we wrote down is put once more.
            self._ours = set(journal)
            self._present = {key: records for key, (records, _) in journal.items() if key not in self._wanted.sets}
        else:
            self._present = dict(shown)
            self._ours = owned(journal, shown, exclusive=self.backend.exclusive)
            lost = journal.keys() - self._ours
            if lost:
                self._journal.settle((), lost)
        self._refused.clear()
        self._compare_at = self._clock() + COMPARE

    def _make(self) -> None:
        """Send the differences."""
        assert self._present is not None
        wanted = {
            key: each
            for key, each in self._wanted.sets.items()
            if key not in self._unfit and self._refused.get(key, (None, ""))[0] != each
        }
        # What is refused in its new form is not wanted in its old one either: the old answer would be wrong.
        todo = plan(wanted, self._present, self._ours)
        for key, reason in todo.refused.items():
            self._refused[key] = (wanted[key], reason)
        for batch in _batches(todo):
            self._send(batch)

    def _send(self, batch: Plan) -> None:
        assert self._present is not None
        self._journal.intend(each for each in batch.put if each.key not in self._ours)
        outcome = self.backend.apply(batch.put, batch.delete, owned=self._ours)
        there, gone = [], []
        for each in batch.put:
            problem = outcome.get(each.key)
            if problem is None:
                there.append(each)
                self._present[each.key] = each
                self._ours.add(each.key)
            else:
                self._refused[each.key] = (each, problem.detail)
                if each.key not in self._ours:
                    gone.append(each.key)
                log.warning("%s refuses %s %s: %s", self.backend.server, each.name, each.kind, problem.detail)
        for each in batch.delete:
            if outcome.get(each.key) is None:
                gone.append(each.key)
                self._present.pop(each.key, None)
                self._ours.discard(each.key)
        self._journal.settle(there, gone)

    def _failed(self, problem: BreakwaterError, now: float) -> None:
        self._failures += 1
        self._again_at = now + min(LONGEST, FIRST * 2 ** min(self._failures - 1, 10))
        # A part may have arrived, and what comes back may have forgotten everything.
        self._present = None
        log.warning("%s; tried again in %.1f s", problem.detail, self._again_at - now)
        if self._failures == PATIENCE:
            text = f"The name server is away: {problem.detail}. Its present answers stay, changes wait"
            alarms.raise_alarm(AWAY, self._subject, Severity.MAJOR, text)
        if self._failures >= PATIENCE:
            self._report(f"{problem.detail}; tried again until it works")

    @property
    def _subject(self) -> str:
        return f"dns={self.backend.server}"

    def _report(self, away: str = "") -> None:
        verdicts: dict[int, reports.Verdict] = {}
        for of in self._feed.rules.values():
            for pk, rule in of.items():
                verdicts[pk] = self._verdict(rule.key, away)
        reports.report(verdicts, self._feed.version)

    def _verdict(self, key: Key, away: str) -> reports.Verdict:
        wanted = self._wanted.sets.get(key)
        if key in self._unfit:
            return Enforcement.REFUSED, self._unfit[key]
        if away:
            return Enforcement.PENDING, away
        if self._present is not None and wanted is not None and self._present.get(key) == wanted:
            return Enforcement.IN_FORCE, ""
        refused = self._refused.get(key)
        return (Enforcement.REFUSED, refused[1]) if refused else (Enforcement.PENDING, "")


def _batches(todo: Plan) -> list[Plan]:
    """Cut a plan into parts of at most 500 changes."""
    changes: list[tuple[RecordSet, bool]] = [(each, False) for each in todo.delete] + [
        (each, True) for each in todo.put
    ]
    return [
        Plan(
            delete=tuple(each for each, new in changes[at : at + BATCH] if not new),
            put=tuple(each for each, new in changes[at : at + BATCH] if new),
        )
        for at in range(0, len(changes), BATCH)
    ]
