"""Long work of certification: one run, from laying out the files to the verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from appstore.certification import sandboxes, services, subjects, suites
from appstore.certification.contract import Kind, Need, Outcome, Result, Sandbox
from appstore.certification.models import CheckResult, Run
from appstore.certification.running.runner import Ended, Event, Job, Runner, Started, Told
from appstore.certification.verdicts import holds
from core.errors import BreakwaterError, Missing
from core.operations import services as operations
from core.operations.models import LostLease, Operation
from core.words import say

logger = logging.getLogger("breakwater.certification")

#: How often a run that waits for a long check is told to be alive, in seconds.
_TELL_EVERY = 2.0


@operations.handles(services.RUN, lease=300, max_attempts=3)
def certify(operation: Operation) -> None:
    """Run the checks of one run; after a lost worker those go on that had not ended. Twice is once."""
    run = Run.objects.select_related("package").filter(pk=operation.payload["run"]).first()
    if run is None or run.state not in (Run.State.PENDING, Run.State.RUNNING):
        operation.progress(100, say("nothing to do: the run is over or gone"))
        return
    try:
        _certify(run, operation)
    except operations.Cancelled:
        services.end(run, Run.State.CANCELLED, say("It was stopped"))
        raise
    except LostLease:
        raise
    except BreakwaterError as problem:
        if not problem.retryable or operation.attempts >= operation.max_attempts:
            services.end(run, Run.State.FAILED, problem.detail)
        raise
    except Exception:
        services.end(
            run, Run.State.FAILED, say("An unexpected error stopped the run; the log of the worker has the details")
        )
        raise


def _certify(run: Run, operation: Operation) -> None:
    operation.progress(2, say("laying out the package"))
    prepared = subjects.prepare(run.package, run.profile["values"])
    run.state, run.started_at = Run.State.RUNNING, run.started_at or timezone.now()
    run.parts, run.environment = dict(prepared.parts), dict(prepared.environment)
    run.save(update_fields=["state", "started_at", "parts", "environment"])
    rows = {row.check_name: row for row in run.results.all()}
    for row in rows.values():
        # The sandbox of an earlier attempt is gone, and with it what live checks had begun.
        if row.described["kind"] == Kind.LIVE and row.outcome and row.carried_from_id is None:
            row.outcome, row.findings = "", []
            row.save(update_fields=["outcome", "findings"])
    with ExitStack() as stack:
        runner = stack.enter_context(Runner(prepared.material))
        _carry(run, rows.values(), prepared.environment, (str(Kind.STATIC), str(Kind.MANUAL)))
        _perform(run, rows, _open(rows, Kind.STATIC), runner, None, operation)
        if _open(rows, Kind.LIVE):
            sandbox = _sandbox(run, rows, operation, stack)
            if sandbox is not None:
                run.environment = {**run.environment, "sandbox": dict(sandbox.about())}
                run.save(update_fields=["environment"])
                _carry(run, rows.values(), run.environment, (str(Kind.LIVE),))
                _perform(run, rows, _open(rows, Kind.LIVE), runner, sandbox, operation)
    verdict = services.settle(run)
    waiting = say("people have to decide the rest") if verdict.waiting else ""
    operation.progress(
        100, waiting or (say("level {level}", level=verdict.level) if verdict.level else say("no level was reached"))
    )


def _open(rows: Mapping[str, CheckResult], kind: Kind) -> list[CheckResult]:
    return [row for row in rows.values() if not row.outcome and row.described["kind"] == kind]


def _carry(run: Run, rows: Iterable[CheckResult], environment: Mapping[str, Any], kinds: tuple[str, ...]) -> None:
    """Take over what an earlier run found out and what still holds."""
    found = None if run.fresh else services.before(run)
    if found is None:
        return
    earlier, old, _ = found
    for row in rows:
        open_ = row.outcome in ("", Outcome.WAITING)
        if open_ and row.described["kind"] in kinds:
            seen = services.seen_of(row, run)
            if holds(seen, earlier, run.parts, environment):
                services.carry(row, old[row.check_name])


def _sandbox(run: Run, rows: Mapping[str, CheckResult], operation: Operation, stack: ExitStack) -> Sandbox | None:
    """Open the sandbox node for the live checks; None, and they are skipped with the reason, where there is none."""
    try:
        if not run.node_id:
            raise Missing(say("No sandbox node was chosen for this run"))
        provider = sandboxes.provider()
        opened = provider.open(
            run.package_id,
            organisation_id=run.organisation_id,
            actor_id=run.requested_by_id,
            node_id=run.node_id,
            operation=operation,
        )
        return stack.enter_context(opened)
    except Missing as problem:
        for row in _open(rows, Kind.LIVE):
            services.record(row, Result(row.check_name, row.described["version"], Outcome.SKIPPED, note=problem.detail))
        return None


def _perform(
    run: Run,
    rows: Mapping[str, CheckResult],
    chosen: list[CheckResult],
    runner: Runner,
    sandbox: Sandbox | None,
    operation: Operation,
) -> None:
    """Run some checks and write down what happens as it happens."""
    places = suites.places()
    jobs = []
    for row in chosen:
        told = row.described
        if row.check_name not in places:
            note = say("The check is no longer installed here")
            services.record(row, Result(row.check_name, told["version"], Outcome.CRASHED, note=note))
            continue
        jobs.append(
            Job(
                row.check_name,
                places[row.check_name],
                told["version"],
                row.options,
                float(told["seconds"]),
                int(told["memory_mib"]),
                Need.NETWORK in told["needs"],
                Need.SANDBOX in told["needs"],
            )
        )
    total, done, at = max(1, len(jobs)), 0, time.monotonic()
    for event in runner.run(jobs, sandbox=sandbox, cancelled=operation.cancelled):
        _note(event, rows[event.name])
        if runner.walls is not None and not run.walls:
            run.walls = asdict(runner.walls)
            run.save(update_fields=["walls"])
        done += isinstance(event, Ended)
        if time.monotonic() - at > _TELL_EVERY:
            at = time.monotonic()
            operation.progress(
                5 + 90 * done // total, say("{done} of {total} checks have ended", done=done, total=total)
            )
    if operation.cancelled():
        raise operations.Cancelled


def _note(event: Event, row: CheckResult) -> None:
    if isinstance(event, Started):
        CheckResult.objects.filter(pk=row.pk).update(percent=0, doing="running")
    elif isinstance(event, Told):
        CheckResult.objects.filter(pk=row.pk).update(percent=event.percent, doing=(event.note or "running")[:200])
    else:
        services.record(row, event.result, event.trace)
