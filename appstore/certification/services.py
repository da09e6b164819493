"""Verbs of certification: start and stop runs, write down results, decide what only people can, settle the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from appstore.certification import issuing, profiles, suites
from appstore.certification.contract import Kind, Outcome, Result
from appstore.certification.models import CheckResult, Run, Suite
from appstore.certification.verdicts import Before, Seen, Verdict, judge
from appstore.packages.models import Package
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

RUN = "certification.run"
#: The questions that other topics ask of certificates; see `issuing`.
verify, accept, levels_of = issuing.verify, issuing.accept, issuing.levels_of
_MOST_SUITES = 12


def organisation_for(package: Package, actor: Actor, permission: str = "certification.run") -> UUID:
    """Return for whom `actor` may certify the package: its own organisation, or the operator of the store.

    `Missing` for strangers, `Denied` for members whose role is not enough.
    """
    if actor is SYSTEM or actor.may(permission, package.organisation_id):
        return UUID(str(package.organisation_id))
    try:
        operator = accounts.operator().pk
    except Missing:
        operator = None
    if (
        operator
        and actor.may(permission, operator)
        and Package.objects.visible_to(actor).filter(pk=package.pk).exists()
    ):
        return UUID(str(operator))
    actor.require(permission, package.organisation_id)
    raise Denied(say("You may not certify this package"))


@transaction.atomic
def start(package: Package, *, actor: Actor, wanted: Sequence[str] = (), node_id: str = "", fresh: bool = False) -> Run:
    """Ask for a certification of the package by these suites (those of the profile when none are named).

    `Conflict` while a run of it is under way or when it has not passed its check, `Missing` for an unknown suite,
    `Invalid` when two suites ask for the same check with different options. `fresh` repeats every check.
    """
    organisation_id = organisation_for(package, actor)
    if package.state in (Package.State.DRAFT, Package.State.REJECTED):
        raise Conflict(say("Only a package that has passed its check can be certified."), state=package.state)
    suites.ensure_builtin()  # may ask a process of its own about the checks, so not inside the transaction
    return _start(package, organisation_id, actor, wanted, node_id, fresh)


@transaction.atomic
def _start(
    package: Package, organisation_id: UUID, actor: Actor, wanted: Sequence[str], node_id: str, fresh: bool
) -> Run:
    Package.objects.select_for_update().filter(pk=package.pk).first()
    settle_abandoned(package)
    busy = Run.objects.filter(package=package, state__in=[Run.State.PENDING, Run.State.RUNNING]).first()
    if busy is not None:
        raise Conflict(say("It is being certified already."), run=str(busy.pk))
    profile = profiles.of(organisation_id)
    names = list(dict.fromkeys(wanted or profile["suites"]))
    if not names or len(names) > _MOST_SUITES:
        raise Invalid(say("Choose between one and {most_suites} suites", most_suites=_MOST_SUITES), field="suites")
    chosen = [suites.newest(name) for name in names]
    present = {suite.name: suite for suite in suites.all_newest()}
    others = [present[name] for demand in profiles.demands(profile) for name in demand.suites if name in present]
    run = Run.objects.create(
        organisation_id=organisation_id,
        package=package,
        sha256=package.sha256,
        wanted=[{"name": suite.name, "version": suite.version, "digest": suite.digest} for suite in chosen],
        profile=profile,
        node_id=node_id[:64],
        fresh=fresh,
        requested_by=actor.user,
    )
    rows = _plan(run, chosen, profile)
    for suite in dict.fromkeys(others):
        if suite not in chosen and _covered(suite, rows, profile):
            run.wanted.append({"name": suite.name, "version": suite.version, "digest": suite.digest, "covered": True})
    run.save(update_fields=["wanted"])
    CheckResult.objects.bulk_create(rows)
    operations.request(RUN, target_of(run), organisation=organisation_id, actor=actor, run=str(run.pk))
    audit.record(actor, "certification.start", run, package=str(package.pk), suites=[str(suite) for suite in chosen])
    return run


def make_suite(name: str, title: str, checks: Sequence[str], *, actor: Actor) -> Suite:
    """Make a suite of these checks, or the next version of the one with that name; for the operator of the store."""
    operator = accounts.operator()
    actor.require("certification.manage", operator)
    if not checks:
        raise Invalid(say("Choose at least one check"), field="checks")
    made = suites.make(name, title, {check: {} for check in checks})
    audit.record(actor, "certification.suite", made, organisation=operator, version=made.version)
    return made


def _plan(run: Run, chosen: Iterable[Suite], profile: Mapping[str, Any]) -> list[CheckResult]:
    """Return one row for each check of the suites: static ones first, then live ones in their order, then manual ones."""
    rows: dict[str, CheckResult] = {}
    for suite in chosen:
        for check in suite.checks:
            options = suites.settle(check, {**check["chosen"], **profile["options"].get(check["name"], {})})
            row = rows.get(check["name"])
            if row is None:
                manual = check["kind"] == Kind.MANUAL
                rows[check["name"]] = CheckResult(
                    run=run,
                    check_name=check["name"],
                    described={name: value for name, value in check.items() if name != "chosen"},
                    options=options,
                    suites=[suite.name],
                    outcome=str(Outcome.WAITING) if manual else "",
                )
            elif row.options != options or row.described["digest"] != check["digest"]:
                raise Invalid(
                    say("Two of the suites ask for {name} in different ways", name=check["name"]), field="suites"
                )
            else:
                row.suites.append(suite.name)
    kinds = [str(Kind.STATIC), str(Kind.LIVE), str(Kind.MANUAL)]
    ordered = sorted(
        rows.values(),
        key=lambda row: (
            kinds.index(row.described["kind"]),
            row.described.get("order", 100) if row.described["kind"] == Kind.LIVE else row.described["group"],
            row.check_name,
        ),
    )
    for position, row in enumerate(ordered):
        row.position = position
    return ordered


def _covered(suite: Suite, rows: Iterable[CheckResult], profile: Mapping[str, Any]) -> bool:
    """Return whether the run holds every check of a suite that was not asked for; its rows are marked then."""
    mine = {row.check_name: row for row in rows}
    for check in suite.checks:
        row = mine.get(check["name"])
        options = {**check["chosen"], **profile["options"].get(check["name"], {})}
        if row is None or row.described["digest"] != check["digest"] or row.options != options:
            return False
    for check in suite.checks:
        mine[check["name"]].suites.append(suite.name)
    return bool(suite.checks)


def cancel(run: Run, *, actor: Actor) -> Run:
    """Stop a run, also one that waits for people; `Conflict` when it is over."""
    actor.require("certification.run", run.organisation_id)
    if run.ended:
        raise Conflict(say("This run is over already ({state})", state=run.state))
    operation = Operation.objects.about(target_of(run)).first()
    if operation is not None and not operation.finished:
        operation = operations.cancel(operation, actor=actor)
    if operation is None or operation.finished:
        end(run, Run.State.CANCELLED, say("It was stopped"))
    audit.record(actor, "certification.cancel", run)
    return run


def end(run: Run, state: str, problem: str) -> None:
    """Write down that a run ended without a verdict; what was found is kept."""
    ended = Run.objects.filter(pk=run.pk).exclude(state__in=[Run.State.FINISHED, Run.State.FAILED, Run.State.CANCELLED])
    ended.update(state=state, problem=problem[:500], finished_at=timezone.now())
    CheckResult.objects.filter(run=run, outcome="").update(outcome=str(Outcome.STOPPED), note=problem[:500])
    run.refresh_from_db()


def settle_abandoned(package: Package) -> None:
    """End the runs of a package whose operation is over without them: stopped on the list of operations, or given up."""
    for run in Run.objects.filter(package=package, state__in=[Run.State.PENDING, Run.State.RUNNING]):
        operation = Operation.objects.about(target_of(run)).first()
        if operation is None or operation.finished:
            stopped = operation is not None and operation.state == Operation.State.CANCELLED
            end(run, Run.State.CANCELLED if stopped else Run.State.FAILED, say("Its work was stopped"))


def record(row: CheckResult, result: Result, trace: str = "", carried_from: Run | None = None) -> None:
    """Write down how a check ended."""
    row.outcome = str(result.outcome)
    row.findings = [finding.as_dict() for finding in result.findings]
    row.seconds, row.note, row.trace = result.seconds, result.note[:1200], trace[:4000]
    row.percent, row.doing, row.carried_from = 100, "", carried_from
    row.save(
        update_fields=["outcome", "findings", "seconds", "note", "trace", "percent", "doing", "carried_from"],
    )


def carry(row: CheckResult, old: CheckResult) -> None:
    """Take over the result of an earlier run, with its decision where a person made it."""
    row.outcome, row.findings, row.seconds, row.note = old.outcome, old.findings, old.seconds, old.note
    row.answers, row.decided_by_id, row.decided_at = old.answers, old.decided_by_id, old.decided_at
    # The run in which it was really found out, not the last one that took it over.
    row.carried_from_id = old.carried_from_id or old.run_id
    row.percent = 100
    row.save()


def before(run: Run) -> tuple[Before, dict[str, CheckResult], Run] | None:
    """Return the newest finished run of the same application, as rules see it and as rows; None without one."""
    package = run.package
    same = Run.objects.filter(
        organisation=run.organisation_id,
        package__organisation=package.organisation_id,
        package__origin=package.origin,
        package__provider=package.provider,
        package__name=package.name,
        state__in=[Run.State.FINISHED, Run.State.WAITING],
    ).exclude(pk=run.pk)
    earlier = same.order_by("-created_at").first()
    if earlier is None:
        return None
    rows = {row.check_name: row for row in earlier.results.select_related("run")}
    seen = {name: seen_of(row, earlier) for name, row in rows.items()}
    return Before(earlier.parts, earlier.environment, seen), rows, earlier


def seen_of(row: CheckResult, run: Run) -> Seen:
    """Return a row as the rules of `verdicts` see it."""
    digests = {suite["name"]: suite["digest"] for suite in run.wanted}
    told = row.described
    return Seen(
        name=row.check_name,
        version=told["version"],
        digest=told["digest"],
        kind=told["kind"],
        options=row.options,
        parts=frozenset(told["parts"]),
        outcome=row.outcome,
        levels=frozenset(finding["level"] for finding in row.findings),
        suites=tuple(row.suites),
        suite_digests=frozenset(digests[name] for name in row.suites if name in digests),
    )


@transaction.atomic
def settle(run: Run) -> Verdict:
    """Write down what a run comes to; when nothing waits any more it is finished, and a certificate issued if one is due."""
    run = Run.objects.select_for_update().get(pk=run.pk)
    rows = list(run.results.all())
    results = [seen_of(row, run) for row in rows]
    verdict = judge(results, profiles.demands(run.profile), [suite["name"] for suite in run.wanted])
    run.level, run.levels, run.reasons = verdict.level, verdict.levels, verdict.reasons
    if verdict.waiting:
        run.state = Run.State.WAITING
        run.save(update_fields=["state", "level", "levels", "reasons"])
        return verdict
    if not run.ended:
        run.state, run.finished_at = Run.State.FINISHED, timezone.now()
    run.verdict = "passed" if verdict.passed else "failed"
    run.save(update_fields=["state", "finished_at", "verdict", "level", "levels", "reasons"])
    audit.record(SYSTEM, "certification.finish", run, verdict=run.verdict, level=run.level)
    if run.level:
        issuing.issue(run, rows)
    return verdict


def target_of(run: Run) -> str:
    """Return how operations name this run."""
    return f"certification:{run.pk}"
