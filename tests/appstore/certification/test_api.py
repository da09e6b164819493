"""Certification over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appstore.certification import issuing
from appstore.certification.models import Certificate
from core.accounts.access import Actor
from core.operations import services as operations

RUNS = "/api/v1/certification/runs"


@pytest.fixture
def run(package: Any, certify: Any) -> Any:
    """A finished run."""
    return certify(package, "static-full")


def test_a_run_is_started_followed_and_read(api: Any, package: Any) -> None:
    response = api.post(RUNS, {"package": str(package.pk), "suites": ["static-full", "manual"]}, format="json")
    assert response.status_code == 202, response.content
    told = response.json()
    assert (told["state"], told["results"][0]["outcome"]) == ("pending", "")
    again = api.post(RUNS, {"package": str(package.pk)}, format="json")
    assert again.status_code == 409
    operations.run_due()
    told = api.get(f"{RUNS}/{told['id']}").json()
    assert told["state"] == "waiting"
    assert {row["name"]: row["outcome"] for row in told["results"]}["support-contact"] == "waiting"
    assert api.get(f"{RUNS}?package={package.pk}").json()["count"] == 1
    assert api.post(f"{RUNS}/{told['id']}/cancel").json()["state"] == "cancelled"
    assert api.post(f"{RUNS}/{told['id']}/cancel").status_code == 409


def test_bad_requests_are_told_by_field(api: Any, package: Any) -> None:
    assert api.post(RUNS, {}, format="json").status_code == 400
    assert api.post(RUNS, {"package": "x"}, format="json").status_code == 400
    assert api.post(RUNS, {"package": str(package.pk), "suites": ["no"]}, format="json").status_code == 404
    assert api.get(f"{RUNS}?package=x").status_code == 400
    assert api.put("/api/v1/certification/profile", {"suites": ["no"]}, format="json").status_code == 400
    assert api.put("/api/v1/certification/profile", {"publish_level": "gold"}, format="json").status_code == 400


def test_a_manual_check_is_decided(client_of: Any, api: Any, package: Any, certify: Any, judge_user: Any) -> None:
    run = certify(package, "manual")
    url = f"{RUNS}/{run.pk}/checks/support-contact/decide"
    body = {"passed": True, "answers": {"contact": "+49 40", "answered": "yes"}}
    assert api.post(url, body, format="json").status_code == 403
    judge = client_of(judge_user)
    assert judge.post(url, {"passed": True}, format="json").status_code == 400
    assert judge.post(url.replace("support", "nonsense"), body, format="json").status_code == 404
    assert judge.post(url, body, format="json").json()["outcome"] == "passed"


def test_other_tenants_find_nothing(stranger_api: Any, run: Any, package: Any) -> None:
    for path in ("", "/junit", "/stream"):
        assert stranger_api.get(f"{RUNS}/{run.pk}{path}").status_code == 404
    assert stranger_api.get(f"{RUNS}/{run.pk}/evidence/{run.pk}").status_code == 404
    assert stranger_api.post(f"{RUNS}/{run.pk}/cancel").status_code == 404
    assert stranger_api.post(f"{RUNS}/{run.pk}/checks/chart-renders/decide", {}, format="json").status_code == 404
    assert stranger_api.post(RUNS, {"package": str(package.pk)}, format="json").status_code == 404
    assert stranger_api.get(RUNS).json()["count"] == 0
    pk = Certificate.objects.get().pk
    assert stranger_api.post(f"/api/v1/certificates/{pk}/revoke", {"reason": "x"}, format="json").status_code == 404


def test_anybody_may_read_and_judge_a_certificate(client: Any, run: Any, package: Any, actor: Actor) -> None:
    row = Certificate.objects.get()
    told = client.get(f"/api/v1/certificates/{row.pk}").json()
    assert (told["level"], told["standing"]) == (row.level, "valid")
    verify = "/api/v1/certificates/verify"

    def judge(envelope: Any, sha256: str = "") -> Any:
        body = json.dumps({"envelope": envelope, "sha256": sha256})
        return client.post(verify, body, content_type="application/json")

    good = judge(told["envelope"], package.sha256).json()
    assert (good["valid"], good["level"]) == (True, row.level)
    assert judge(told["envelope"], "0" * 64).json()["reason"].startswith("The certificate is about another file")
    assert judge({"payload": 3}).json() == {
        "valid": False, "reason": "That is no DSSE envelope", "level": "", "lab": "", "sha256": "", "valid_until": "",
        "simulated": False,
    }  # fmt: skip
    assert judge([]).status_code == 400
    assert judge({}, "x").status_code == 400
    issuing.revoke(row, actor=actor, reason="a mistake")
    assert judge(told["envelope"]).json()["reason"] == "The certificate was revoked: a mistake"
    assert client.get(f"/api/v1/certificates/{row.pk}").json()["standing"] == "revoked"
    assert client.get(f"/api/v1/certificates/{package.pk}").status_code == 404


def test_the_key_of_the_lab_is_public_and_the_junit_file_is_not(client: Any, api: Any, run: Any) -> None:
    assert b"BEGIN PUBLIC KEY" in client.get("/api/v1/certification/lab-key").content
    assert client.get(f"{RUNS}/{run.pk}/junit").status_code == 401
    response = api.get(f"{RUNS}/{run.pk}/junit")
    assert response["Content-Type"] == "application/xml"
    assert b"<testsuites" in response.content


def test_the_profile_and_the_labs_over_http(api: Any, organisation: Any) -> None:
    changed = api.put("/api/v1/certification/profile", {"publish_level": "basic", "valid_days": 30}, format="json")
    assert (changed.status_code, changed.json()["valid_days"]) == (200, 30)
    assert api.get("/api/v1/certification/profile").json()["publish_level"] == "basic"
    assert {suite["name"] for suite in api.get("/api/v1/certification/suites").json()} >= {"static-basic", "manual"}
    assert api.get("/api/v1/certification/nodes").json() == []
    bad = api.post("/api/v1/certification/labs", {"name": "x", "public_pem": "y"}, format="json")
    assert (bad.status_code, bad.json()["field"]) == (400, "public_pem")


def test_a_list_of_runs_costs_the_same_queries_for_more_rows(
    api: Any, run: Any, package: Any, certify: Any, django_assert_max_num_queries: Any
) -> None:
    certify(package, "static-full")
    with django_assert_max_num_queries(6):
        assert api.get(RUNS).json()["count"] == 2
