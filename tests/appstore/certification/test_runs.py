"""A run from the start to the certificate: what is checked, carried over, decided, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appstore.certification import deciding, issuing, profiles, sandboxes, services, suites
from appstore.certification.deciding import Given
from appstore.certification.models import Certificate, CheckResult, Run, Suite
from appstore.packages import blobs
from appstore.packages import services as packages
from core.accounts.access import Actor
from core.errors import Conflict, Denied, Invalid, Missing, TooLarge
from core.operations import services as operations
from core.operations.models import Operation
from tests.appstore import making

EXTRA = Path(__file__).parent / "extra"
Certify = Callable[..., Run]


def test_a_run_gives_results_a_verdict_and_a_certificate(package: Any, certify: Certify) -> None:
    run = certify(package, "static-full")
    assert (run.state, run.verdict) == ("finished", "passed")
    results = {row.check_name: row.outcome for row in run.results.all()}
    assert results["chart-renders"] == "passed"
    assert results["manifest-metadata"] == "passed"
    assert run.walls["network"] in ("network namespace", "system call filter")
    certificate = Certificate.objects.get(run=run)
    verified = issuing.verify(certificate.envelope, package.sha256)
    assert verified.level == run.level
    assert verified.application["name"] == "hello"


def test_a_level_needs_its_suites_and_the_levels_below(package: Any, certify: Certify) -> None:
    both = certify(package, "static-basic", "static-full")
    assert both.levels == ["basic", "standard"]
    assert any(reason.startswith("telco: live") or reason.startswith("telco:") for reason in both.reasons)


def test_what_fails_gives_no_certificate(make_release: Any, certify: Certify) -> None:
    files = making.edgegallery_files()
    broken = making.chart_bytes(**{"templates/hello.yaml": '{{ fail "no" }}'})
    files["Artifacts/Deployment/Charts/hello.tgz"] = broken
    package = make_release(making.zip_bytes({"hello.mf": making.manifest_of(files), **files}))
    run = certify(package, "static-basic")
    assert (run.verdict, run.level) == ("failed", "")
    row = run.results.get(check_name="chart-renders")
    assert (row.outcome, row.findings[0]["code"]) == ("failed", "chart-does-not-render")
    assert not Certificate.objects.filter(run=run).exists()


def test_what_the_diff_does_not_touch_is_carried_over_and_says_from_where(make_release: Any, certify: Certify) -> None:
    first = certify(make_release(making.edgegallery()), "static-full")
    files = making.edgegallery_files()
    second_package = make_release(
        making.zip_bytes({"hello.mf": making.manifest_of(files, app_package_version="1.1"), **files})
    )
    second = certify(second_package, "static-full")
    rows = {row.check_name: row for row in second.results.all()}
    assert rows["chart-renders"].carried_from == first  # the chart is the same
    assert rows["manifest-metadata"].carried_from is None  # the version is not
    third = certify(second_package, "static-full", fresh=True)
    assert not third.results.exclude(carried_from=None).exists()


def test_a_carried_result_names_the_run_in_which_it_was_found(package: Any, certify: Certify) -> None:
    first = certify(package, "static-full")
    certify(package, "static-full")
    third = certify(package, "static-full")
    assert set(third.results.values_list("carried_from", flat=True)) == {first.pk}


def test_a_manual_check_waits_for_somebody_else(package: Any, certify: Certify, actor: Actor, judge_user: Any) -> None:
    run = certify(package, "static-full", "manual")
    assert run.state == "waiting"
    assert not Certificate.objects.filter(run=run).exists()
    row = run.results.get(check_name="support-contact")
    answers = {"contact": "+49 40 1234", "answered": "yes", "hours": "2"}
    with pytest.raises(Denied, match="uploaded this package"):
        deciding.decide(row, actor=actor, passed=True, answers=answers)
    judge = Actor(judge_user)
    with pytest.raises(Invalid) as problem:
        deciding.decide(row, actor=judge, passed=True, answers={"answered": "perhaps"})
    assert {error["field"] for error in problem.value.context["errors"]} == {"contact", "answered"}
    paper = Given("record", "../../letter.pdf", [b"%PDF-1.7 ", b"hello"])
    deciding.decide(row, actor=judge, passed=True, answers=answers, evidence=[paper])
    run.refresh_from_db()
    assert (run.state, run.verdict) == ("finished", "passed")
    row.refresh_from_db()
    assert row.answers == {"contact": "+49 40 1234", "answered": True, "hours": 2}
    assert row.decided_by == judge_user
    kept = row.evidence.get()
    assert (kept.filename, kept.content_type, kept.size) == ("letter.pdf", "application/pdf", 14)
    assert Certificate.objects.filter(run=run).exists()
    assert blobs.path_of(kept.blob_id).exists()
    blobs.collect_garbage(grace=-1)
    assert blobs.path_of(kept.blob_id).exists()


def test_a_manual_check_that_fails_says_why(package: Any, certify: Certify, judge_user: Any) -> None:
    run = certify(package, "manual")
    row = run.results.get()
    answers = {"contact": "nobody", "answered": "no"}
    with pytest.raises(Invalid, match="Say why"):
        deciding.decide(row, actor=Actor(judge_user), passed=False, answers=answers)
    deciding.decide(row, actor=Actor(judge_user), passed=False, answers=answers, note="Nobody answered")
    run.refresh_from_db()
    assert (run.state, run.verdict, run.level) == ("finished", "failed", "")
    with pytest.raises(Conflict):
        deciding.decide(row, actor=Actor(judge_user), passed=True, answers=answers)


@pytest.mark.parametrize("content", [b"MZ\x00\x01program", b""])
def test_evidence_is_a_document_or_a_picture(package: Any, certify: Certify, judge_user: Any, content: bytes) -> None:
    row = certify(package, "manual").results.get()
    with pytest.raises(Invalid, match="PDF"):
        deciding.decide(
            row,
            actor=Actor(judge_user),
            passed=True,
            answers={"contact": "x", "answered": "yes"},
            evidence=[Given("record", "a.pdf", [content])],
        )
    row.refresh_from_db()
    assert row.outcome == "waiting"


def test_evidence_is_bounded(package: Any, certify: Certify, judge_user: Any) -> None:
    row = certify(package, "manual").results.get()
    endless = (b"x" * (1 << 20) for _ in range(1000))
    with pytest.raises(TooLarge):
        deciding.decide(
            row,
            actor=Actor(judge_user),
            passed=True,
            answers={"contact": "x", "answered": "yes"},
            evidence=[Given("record", "a.txt", endless)],
        )


def test_a_package_is_certified_once_at_a_time_and_only_when_it_has_passed(package: Any, actor: Actor) -> None:
    run = services.start(package, actor=actor, wanted=["static-basic"])
    with pytest.raises(Conflict, match="already"):
        services.start(package, actor=actor)
    services.cancel(run, actor=actor)
    assert (run.state, set(run.results.values_list("outcome", flat=True))) == ("cancelled", {"stopped"})
    package.state = "rejected"
    with pytest.raises(Conflict, match="passed its check"):
        services.start(package, actor=actor)


def test_a_run_that_was_stopped_on_the_list_of_operations_blocks_nothing(
    package: Any, actor: Actor, certify: Certify
) -> None:
    first = services.start(package, actor=actor, wanted=["static-basic"])
    operations.cancel(Operation.objects.get(kind=services.RUN))
    assert certify(package, "static-basic").state == "finished"
    first.refresh_from_db()
    assert first.state == "cancelled"


def test_a_second_worker_does_a_run_once(package: Any, certify: Certify) -> None:
    run = certify(package, "static-basic")
    operation = Operation.objects.get(kind=services.RUN)
    Operation.objects.filter(pk=operation.pk).update(state="pending")
    operations.run_due()
    assert Certificate.objects.filter(run=run).count() == 1


def test_a_missing_file_ends_the_run_with_the_reason(package: Any, certify: Certify) -> None:
    blobs.path_of(package.sha256).unlink()
    run = certify(package, "static-basic")
    assert (run.state, run.problem) == ("failed", "The file of this package is no longer in the store.")


def test_strangers_learn_nothing_and_viewers_are_denied(
    package: Any, stranger: Any, make_user: Any, organisation: Any
) -> None:
    with pytest.raises(Missing):
        services.start(package, actor=Actor(stranger))
    with pytest.raises(Denied):
        services.start(package, actor=Actor(make_user("viewer", organisation, "viewer")))


def test_an_unknown_suite_is_told(package: Any, actor: Actor) -> None:
    with pytest.raises(Missing, match="no suite"):
        services.start(package, actor=actor, wanted=["nonsense"])


def test_suites_never_change_and_get_a_new_version_with_their_checks(db: None, settings: Any) -> None:
    suites.ensure_builtin()
    suites.ensure_builtin()
    assert set(Suite.objects.filter(name="static-full").values_list("version", flat=True)) == {1}
    settings.CHECKS = [str(EXTRA)]
    suites.ensure_builtin()
    newest = suites.newest("static-full")
    assert newest.version == 2
    assert "needs-note" in {check["name"] for check in newest.checks}
    with pytest.raises(Conflict):
        newest.save()


def test_an_own_suite_names_checks_and_options_that_exist(db: None, settings: Any) -> None:
    settings.CHECKS = [str(EXTRA)]
    made = suites.make("ours", "What we ask for", {"needs-note": {"word": "hello"}, "chart-renders": {}})
    assert {check["name"]: check["chosen"] for check in made.checks} == {
        "needs-note": {"word": "hello"},
        "chart-renders": {},
    }
    assert suites.make("ours", "What we ask for", {"chart-renders": {}, "needs-note": {"word": "hello"}}) == made
    for name, options in (("nonsense", {}), ("needs-note", {"words": "x"}), ("needs-note", {"word": 3})):
        with pytest.raises(Invalid):
            suites.make("ours", "", {name: options})
    with pytest.raises(Invalid):
        suites.make("static-full", "", {"chart-renders": {}})


def test_the_profile_changes_options_and_what_gates(
    package: Any, certify: Certify, actor: Actor, organisation: Any, settings: Any
) -> None:
    settings.CHECKS = [str(EXTRA)]
    suites.ensure_builtin()
    suites.make("ours", "What we ask for", {"needs-note": {}})
    levels = {"basic": {"suites": ["ours"], "gates": "warning"}}
    profiles.save(organisation, actor=actor, suites=["ours"], levels=levels, options={"needs-note": {"word": "absent"}})
    run = certify(package)
    assert run.results.get().outcome == "warned"
    assert (run.verdict, run.level) == ("passed", "")
    profiles.save(organisation, actor=actor, levels={"basic": {"suites": ["ours"], "gates": "error"}})
    assert certify(package).level == "basic"
    profiles.save(organisation, actor=actor, options={"needs-note": {"word": "hello"}})
    assert certify(package).results.get().outcome == "passed"


@pytest.mark.parametrize(
    "changes",
    [
        {"suites": ["nonsense"]},
        {"suites": "static-full"},
        {"levels": {"gold": {"suites": ["static-full"]}}},
        {"levels": {"basic": {"suites": []}}},
        {"levels": {"basic": {"suites": ["static-full"], "gates": "info"}}},
        {"options": {"nonsense": {}}},
        {"publish_level": "gold"},
        {"valid_days": 0},
        {"valid_days": True},
        {"more": 1},
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(changes: dict[str, Any], actor: Actor, organisation: Any) -> None:
    suites.ensure_builtin()
    with pytest.raises(Invalid):
        profiles.save(organisation, actor=actor, **changes)


def test_a_level_can_be_needed_for_a_deed(package: Any, certify: Certify, actor: Actor, organisation: Any) -> None:
    suites.ensure_builtin()
    profiles.save(organisation, actor=actor, publish_level="basic")
    with pytest.raises(Conflict, match="level basic"):
        packages.publish(package, actor=actor)
    run = certify(package, "static-basic", "static-full")
    assert "basic" in run.levels
    certificate = Certificate.objects.get(run=run)
    issuing.revoke(certificate, actor=actor, reason="a mistake")
    with pytest.raises(Conflict, match="level basic"):
        packages.publish(package, actor=actor)
    certify(package, "static-basic", "static-full")
    assert packages.publish(package, actor=actor).state == "published"


def test_what_the_operator_demands_holds_for_every_tenant(
    package: Any, actor: Actor, organisation: Any, stranger_organisation: Any, stranger: Any, settings: Any
) -> None:
    settings.OPERATOR = stranger_organisation.slug
    suites.ensure_builtin()
    profiles.save(stranger_organisation, actor=Actor(stranger), publish_level="standard")
    with pytest.raises(Conflict, match="operator of this store"):
        packages.publish(package, actor=actor)


def test_levels_of_many_packages_cost_the_same_queries(
    make_release: Any, certify: Certify, django_assert_max_num_queries: Any
) -> None:
    first = make_release(making.edgegallery())
    second = make_release(making.edgegallery(images=False))
    certify(first, "static-basic", "static-full")
    with django_assert_max_num_queries(2):
        assert issuing.levels_of([first.pk, second.pk]) == {first.pk: "standard"}


class Lent:
    """A sandbox that answers what the live check asks."""

    def __init__(self, simulated: bool = True) -> None:
        self.simulated = simulated

    def about(self) -> dict[str, Any]:
        return {"node": "trial-1", "engine": "memory", "simulated": self.simulated}

    def state(self) -> dict[str, Any]:
        return {"state": "ready"}


@pytest.fixture
def lent(monkeypatch: Any) -> list[str]:
    """A provider that lends one node; the list says what was opened and given back."""
    seen: list[str] = []

    class Provider:
        def nodes(self, organisation_id: Any) -> list[Any]:
            return [{"id": "n-1", "name": "trial-1", "engine": "memory", "simulated": True}]

        @contextmanager
        def open(self, package_id: Any, *, node_id: str, **facts: Any) -> Any:
            if node_id != "n-1":
                raise Missing("There is no such node.")
            seen.append("opened")
            yield Lent()
            seen.append("given back")

    monkeypatch.setitem(sandboxes.registry._loaded, sandboxes.PROVIDER, Provider)
    return seen


def test_live_checks_use_the_sandbox_and_the_certificate_says_that_it_is_simulated(
    package: Any, certify: Certify, settings: Any, lent: list[str]
) -> None:
    settings.CHECKS = [str(EXTRA)]
    run = certify(package, "static-full", "live", node_id="n-1")
    assert run.results.get(check_name="is-ready").outcome == "passed"
    assert lent == ["opened", "given back"]
    assert run.environment["sandbox"]["simulated"] is True
    assert issuing.verify(Certificate.objects.get(run=run).envelope).simulated


@pytest.mark.parametrize("node", ["", "n-2"])
def test_without_a_node_live_checks_are_skipped_and_say_why(
    package: Any, certify: Certify, settings: Any, lent: list[str], node: str
) -> None:
    settings.CHECKS = [str(EXTRA)]
    run = certify(package, "live", node_id=node)
    row = run.results.get(check_name="is-ready")
    assert row.outcome == "skipped"
    assert "node" in row.note
    assert run.level == ""


def test_a_check_that_is_gone_is_no_pass(package: Any, actor: Actor, settings: Any) -> None:
    settings.CHECKS = [str(EXTRA)]
    suites.ensure_builtin()
    suites.make("ours", "What we ask for", {"needs-note": {}})
    run = services.start(package, actor=actor, wanted=["ours"])
    settings.CHECKS = []
    operations.run_due()
    assert CheckResult.objects.get(run=run).outcome == "crashed"
