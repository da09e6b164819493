"""The pages of certification: what they say, and what their forms do."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.files.uploadedfile import SimpleUploadedFile

from appstore.certification import profiles
from appstore.certification.models import Certificate, CheckResult, Run, TrustedLab


@pytest.fixture
def judge(make_user: Any, organisation: Any, browser_of: Any) -> Any:
    """Somebody else who may decide, signed in."""
    return browser_of(make_user("judge", organisation, "certifier"))


def test_the_report_shows_what_was_found_and_what_waits(pages: Any, package: Any, certification: Any) -> None:
    shown = pages.get(f"/packages/{package.pk}/certification").content.decode()
    assert "It does not" in shown
    assert "a&lt;b" in shown
    assert "1 check waits for a person" in shown
    assert "Somebody who may decide" in shown  # the administrator uploaded it
    failed = pages.get(f"/packages/{package.pk}/certification?outcome=failed").content.decode()
    assert "It renders" in failed
    assert "check-support-contact" not in failed
    assert pages.get(f"/packages/{package.pk}/certification?outcome=%00&run=x").status_code == 200


def test_the_report_says_what_was_taken_over_and_from_where(pages: Any, package: Any, certification: Any) -> None:
    run = certification["certifications"]
    earlier = Run.objects.create(
        organisation=run.organisation, package=package, sha256=run.sha256, state="finished", profile=run.profile
    )
    Run.objects.filter(pk=earlier.pk).update(created_at=run.created_at.replace(year=2020))
    CheckResult.objects.filter(run=run, check_name="chart-renders").update(carried_from=earlier, outcome="passed")
    shown = pages.get(f"/packages/{package.pk}/certification").content.decode()
    assert "1 of 2 results were taken over from an earlier run" in shown
    assert f"?run={earlier.pk}" in shown


def test_a_run_is_started_from_its_page(pages: Any, make_package: Any) -> None:
    package = make_package("fresh", "3.0", state="checked")
    url = f"/packages/{package.pk}/certification/start"
    assert "static-full" in pages.get(url).content.decode()
    assert pages.post(url, {}).status_code == 400
    response = pages.post(url, {"suites": ["static-basic"], "node": ""})
    run = Run.objects.get(package=package)
    assert response.headers["Location"] == f"/packages/{package.pk}/certification?run={run.pk}"
    again = pages.post(url, {"suites": ["static-basic"]})
    assert (again.status_code, "being certified already" in again.content.decode()) == (400, True)
    shown = pages.get(f"/packages/{package.pk}/certification").content.decode()
    assert "Waiting for a worker" in shown
    assert f"/api/v1/certification/runs/{run.pk}/stream" in shown
    pages.post(f"/certifications/{run.pk}/cancel")
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_a_manual_check_is_decided_by_somebody_else(pages: Any, judge: Any, certification: Any) -> None:
    row = certification["manual-checks"]
    url = f"/manual-checks/{row.pk}"
    assert "You uploaded this package" in pages.get(url).content.decode()
    answer = {"q-contact": "+49 40 1", "verdict": "passed"}
    assert pages.post(url, answer).status_code == 403
    missing = judge.post(url, {"verdict": "passed"})
    assert (missing.status_code, "This field is required" in missing.content.decode()) == (400, True)
    program = {**answer, "q-record": SimpleUploadedFile("a.exe", b"MZ\x00\x00")}
    refused = judge.post(url, program)
    assert (refused.status_code, "PDF" in refused.content.decode()) == (400, True)
    done = judge.post(url, {**answer, "q-record": SimpleUploadedFile("a.pdf", b"%PDF-1.7 x")})
    assert done.status_code == 302
    row.refresh_from_db()
    assert (row.outcome, row.answers, row.evidence.get().filename) == ("passed", {"contact": "+49 40 1"}, "a.pdf")
    file = judge.get(f"/api/v1/certification/runs/{row.run_id}/evidence/{row.evidence.get().pk}")
    assert file["Content-Disposition"].startswith("attachment")
    assert b"".join(file.streaming_content) == b"%PDF-1.7 x"


def test_the_profile_is_changed_from_its_page(pages: Any, organisation: Any) -> None:
    form = {
        "suites": ["static-basic"], "publish_level": "basic", "deploy_level": "", "import_level": "", "valid_days": "30",
        "basic_suites": ["static-basic"], "basic_gates": "warning", "standard_gates": "error", "telco_gates": "error",
        "options": "{}", "values": '{"replicas": 2}',
    }  # fmt: skip
    assert pages.post("/certifications/profile", form).status_code == 302
    saved = profiles.of(organisation.pk)
    assert (saved["publish_level"], saved["valid_days"], saved["values"]) == ("basic", 30, {"replicas": 2})
    assert saved["levels"] == {"basic": {"suites": ["static-basic"], "gates": "warning", "without": []}}
    wrong = pages.post("/certifications/profile", {**form, "options": '{"nonsense": {}}'})
    assert (wrong.status_code, "There is no check nonsense" in wrong.content.decode()) == (400, True)
    assert pages.post("/certifications/profile", {**form, "options": "{"}).status_code == 400
    assert pages.post("/certifications/profile", {**form, "publish_level": "telco"}).status_code == 400


def test_a_lab_is_trusted_and_distrusted_from_its_page(pages: Any, settings: Any, organisation: Any) -> None:
    settings.OPERATOR = organisation.slug
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    bad = pages.post("/certifications/labs", {"name": "x", "public_pem": "nonsense"})
    assert (bad.status_code, "no public key" in bad.content.decode()) == (400, True)
    assert pages.post("/certifications/labs", {"name": "Port", "public_pem": pem}).status_code == 302
    lab = TrustedLab.objects.get(name="Port")
    assert lab.key_id in pages.get("/certifications/labs").content.decode()
    pages.post(f"/labs/{lab.pk}/distrust", {"reason": "closed"})
    lab.refresh_from_db()
    assert lab.revoked_reason == "closed"


def test_a_suite_of_ones_own_is_made_from_its_page(pages: Any, settings: Any, organisation: Any) -> None:
    settings.OPERATOR = organisation.slug
    made = {"name": "ours", "title": "Ours", "checks": ["chart-renders"]}
    assert pages.post("/certifications/suites", made).status_code == 302
    assert "ours 1" in pages.get("/certifications/suites").content.decode()
    assert pages.post("/certifications/suites", {**made, "name": "static-full"}).status_code == 400
    assert pages.post("/certifications/suites", {**made, "checks": []}).status_code == 400


def test_a_certificate_is_revoked_with_a_reason(pages: Any, package: Any, certification: Any) -> None:
    row = certification["certificates"]
    pages.post(f"/certificates/{row.pk}/revoke", {"reason": ""})
    assert Certificate.objects.get().revoked_at is None
    pages.post(f"/certificates/{row.pk}/revoke", {"reason": "a mistake"})
    assert "a mistake" in pages.get(f"/packages/{package.pk}/certification").content.decode()


def test_others_see_the_certificate_of_a_release_and_nothing_of_its_runs(
    browser_of: Any, stranger: Any, package: Any, certification: Any, settings: Any
) -> None:
    settings.OPERATOR = "acme"  # the operator of the store may certify what others published
    shown = browser_of(stranger).get(f"/packages/{package.pk}/certification").content.decode()
    assert str(certification["certificates"].pk) in shown
    assert "It does not" not in shown
    assert "Revoke" not in shown
    assert "/certification/start" not in shown
