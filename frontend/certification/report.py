"""The certification of one package: its certificates, its runs, and what each check found."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from appstore.certification import deciding, issuing, profiles, sandboxes, services, suites
from appstore.certification.contract import Outcome
from appstore.certification.models import Certificate, CheckResult, Run
from appstore.packages.models import Package
from core.accounts import access
from core.accounts.access import Actor
from core.errors import BreakwaterError, Denied, Missing
from frontend import tenancy
from frontend.certification.forms import DecisionForm, StartForm
from frontend.deeds import Question, ReasonForm, answered
from frontend.page import page, told
from frontend.store.packages import visible

_RUNS = 12
REVOKE = gettext_lazy(
    "It counts for nothing from now on where this store is asked, and that cannot be undone. Whoever verifies it offline does "
    "not learn of it."
)
#: More findings of one check than this help nobody on a page; all are in the JUnit file.
_FINDINGS = 25
#: The words of the filter, and the outcomes that each shows.
FILTERS: dict[str, tuple[Promise, frozenset[str]]] = {
    "": (gettext_lazy("everything"), frozenset()),
    "attention": (
        gettext_lazy("what needs attention"),
        frozenset({*map(str, Outcome)} - {Outcome.PASSED, Outcome.SKIPPED, Outcome.STOPPED}),
    ),
    "failed": (gettext_lazy("failed or broken"), frozenset({"failed", "crashed", "timed-out", "out-of-memory"})),
    "warned": (gettext_lazy("with warnings"), frozenset({"warned"})),
    "passed": (gettext_lazy("passed"), frozenset({"passed"})),
    "skipped": (gettext_lazy("does not apply"), frozenset({"skipped"})),
}


@require_GET
@page
def package_certification(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show the certification of a package."""
    return render(request, "frontend/certification/package.html", _facts(request, pk))


@require_GET
@page
def package_certification_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """Return the part of the page that changes while a run is under way."""
    return render(request, "frontend/certification/package_live.html", _facts(request, pk))


def _facts(request: HttpRequest, pk: Any) -> dict[str, Any]:
    package, actor = visible(request, pk), tenancy.actor_of(request)
    runs = list(Run.objects.visible_to(actor).filter(package=package).select_related("requested_by")[:_RUNS])
    run = _chosen(request, runs)
    wanted = request.GET.get("outcome", "")
    wanted = wanted if wanted in FILTERS else ""
    rows = list(run.results.select_related("decided_by").prefetch_related("evidence")) if run else []
    certificates = list(Certificate.objects.filter(sha256=package.sha256).select_related("package")[:10])
    certificate = next((row for row in certificates if run and row.run_id == run.pk), None)
    for row in certificates:
        row.may_revoke = actor.may("certification.manage", row.organisation_id)  # type: ignore[attr-defined]
    return {
        "section": "packages" if actor.may("packages.read", package.organisation_id) else "catalogue",
        "package": package,
        "runs": runs,
        "run": run,
        "under_way": run is not None and run.state in (Run.State.PENDING, Run.State.RUNNING),
        "groups": _groups(rows, wanted),
        "counts": _counts(rows),
        "carried": [row for row in rows if row.carried_from_id],
        "waiting": [row for row in rows if row.outcome == Outcome.WAITING],
        "ended": sum(bool(row.outcome) for row in rows),
        "total": len(rows),
        "filters": [(name, words) for name, (words, _) in FILTERS.items()],
        "wanted": wanted,
        "certificates": certificates,
        "certificate": certificate,
        "may_decide": run is not None and deciding.may_decide(run, actor),
        "may_start": _may_start(package, actor),
        "may_cancel": run is not None and not run.ended and actor.may("certification.run", run.organisation_id),
    }


def _chosen(request: HttpRequest, runs: list[Run]) -> Run | None:
    """Return the run that `?run=` names, else the newest one."""
    named = request.GET.get("run", "")
    return next((run for run in runs if str(run.pk) == named), runs[0] if runs else None)


def _groups(rows: list[CheckResult], wanted: str) -> list[tuple[str, list[CheckResult]]]:
    """Return the results by group; what needs attention comes first in each."""
    shown = FILTERS[wanted][1]
    groups: dict[str, list[CheckResult]] = {}
    for row in rows:
        if not shown or row.outcome in shown:
            groups.setdefault(str(row.described.get("group", "other")), []).append(row)
    levels = {"error": 0, "warning": 1, "info": 2}
    for row in rows:
        worst = sorted(row.findings, key=lambda finding: levels.get(finding.get("level", ""), 3))
        row.shown, row.more = worst[:_FINDINGS], max(0, len(worst) - _FINDINGS)  # type: ignore[attr-defined]
    order = ["failed", "crashed", "timed-out", "out-of-memory", "waiting", "warned", "", "passed"]
    for group in groups.values():
        group.sort(key=lambda row: order.index(row.outcome) if row.outcome in order else 9)
    return sorted(groups.items())


def _counts(rows: list[CheckResult]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row.outcome or "open"] = found.get(row.outcome or "open", 0) + 1
    return found


def _may_start(package: Package, actor: Actor) -> bool:
    try:
        services.organisation_for(package, actor)
    except (Denied, Missing):
        return False
    return package.state not in (Package.State.DRAFT, Package.State.REJECTED)


@require_http_methods(["GET", "POST"])
@page
def start(request: HttpRequest, pk: Any) -> HttpResponse:
    """Ask which suites should run and where, and start."""
    package, actor = visible(request, pk), tenancy.actor_of(request)
    organisation_id = services.organisation_for(package, actor)
    suites.ensure_builtin()
    every = suites.all_newest()
    nodes = sandboxes.nodes(organisation_id)
    initial = {"suites": profiles.of(organisation_id)["suites"]}
    form = StartForm(request.POST or None, suites=every, nodes=nodes, initial=initial)
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            given = form.cleaned_data
            try:
                run = services.start(
                    package, actor=actor, wanted=given["suites"], node_id=given["node"], fresh=given["fresh"]
                )
            except BreakwaterError as error:
                form.blame(error)
            else:
                return redirect(f"{reverse('frontend:package-certification', args=[package.pk])}?run={run.pk}")
    context = {"section": "certifications", "package": package, "form": form, "suites": every, "nodes": nodes}
    return render(request, "frontend/certification/start.html", context, status=status)


@require_POST
@page
def cancel(request: HttpRequest, pk: Any) -> HttpResponse:
    """Stop a run."""
    actor = tenancy.actor_of(request)
    run = access.get(Run.objects.all(), actor, "certification.run", pk)
    with told(request, _("The run is being stopped.")):
        services.cancel(run, actor=actor)
    return _back(run.package_id, run.pk)


@require_POST
@page
def revoke(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Take a certificate back, with a reason."""
    actor = tenancy.actor_of(request)
    found = access.get(Certificate.objects.all(), actor, "certification.manage", pk)
    back = _back(found.package_id, found.run_id) if found.package_id else redirect("frontend:certifications")
    return answered(
        request, ReasonForm(request.POST), Question(_("Revoke this certificate?"), _("Revoke"), REVOKE, danger=True),
        act=lambda reason: issuing.revoke(found, actor=actor, reason=reason),
        back=back.headers["Location"], done=_("The certificate is revoked."),
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@page
def decide(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show a manual check with its form, and take the decision."""
    actor = tenancy.actor_of(request)
    row = CheckResult.objects.select_related("run__package", "decided_by").filter(pk=pk).first()
    if row is None:
        raise Missing(_("There is no such check, or you may not see it."))
    run = row.run
    actor.require("certification.decide" if request.method == "POST" else "packages.read", run.organisation_id)
    kept = list(row.evidence.all())
    initial = {f"q-{name}": _shown(value) for name, value in row.answers.items()}
    form = DecisionForm(
        request.POST or None,
        request.FILES or None,
        questions=row.described["form"],
        present={each.field for each in kept},
        initial={**initial, "note": row.note},
    )
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            given = form.cleaned_data
            files = [
                deciding.Given(name, given[f"q-{name}"].name, given[f"q-{name}"].chunks())
                for name in form.asked
                if hasattr(given.get(f"q-{name}"), "chunks")
            ]
            answers = {name: given.get(f"q-{name}") for name in form.asked}
            try:
                deciding.decide(
                    row,
                    actor=actor,
                    passed=given["verdict"] == "passed",
                    answers=answers,
                    note=given["note"],
                    evidence=files,
                )
            except Denied:
                raise
            except BreakwaterError as error:
                form.blame(error)
            else:
                messages.success(request, _("Your decision is written down."))
                return _back(run.package_id, run.pk)
    context = {
        "section": "certifications",
        "row": row,
        "run": run,
        "package": run.package,
        "form": form,
        "kept": kept,
        "may_decide": deciding.may_decide(run, actor),
        "own_work": actor.user is not None and run.package.uploaded_by_id == actor.user.pk,
    }
    return render(request, "frontend/certification/decide.html", context, status=status)


def _shown(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value


def _back(package: UUID | Any, run: UUID | Any) -> HttpResponse:
    return redirect(f"{reverse('frontend:package-certification', args=[package])}?run={run}")
