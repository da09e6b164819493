"""The developer's workbench as people see it."""

from __future__ import annotations

from typing import Any

import pytest

from developer.sandbox.models import TestDeployment
from mecm.trials.models import Trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def dora(browser_of: Any, make_user: Any, organisation: Any) -> Any:
    """A developer at a browser."""
    return browser_of(make_user("dora", organisation, "developer"))


def test_a_developer_sees_releases_tests_and_sandboxes(dora: Any, sandbox_test: Any, make_package: Any) -> None:
    make_package("crane", state="checked", version="2.0.0")
    text = dora.get("/develop").content.decode()
    for part in ("2.0.0", "lab-1 (taken)", "Test deployments", f"/develop/{sandbox_test.pk}"):
        assert part in text


def test_the_page_of_a_test_tells_pods_log_and_mp1(dora: Any, sandbox_test: Any) -> None:
    for url in (f"/develop/{sandbox_test.pk}", f"/develop/{sandbox_test.pk}/live"):
        text = dora.get(url).content.decode()
        for part in ("web-5d8", "the tide is high", "greeting", "hello.example", "tr-1", "simulated: no packet"):
            assert part in text


def test_a_start_that_is_refused_keeps_what_was_typed(
    dora: Any, sandbox_test: Any, make_package: Any, settings: Any
) -> None:
    package = make_package("crane", state="checked")
    typed = {"package": package.pk, "node": sandbox_test.trial.node_id, "minutes": 7, "values": "replicas: 3"}
    answer = dora.post("/develop", typed)
    assert answer.status_code == 400
    assert "Another trial is under way on lab-1" in answer.content.decode()
    assert "replicas: 3" in answer.content.decode()
    for field, value in (("minutes", 9999), ("values", "a: ["), ("node", "elsewhere")):
        answer = dora.post("/develop", typed | {field: value})
        assert answer.status_code == 400
        assert f'id="id_{field}_error"' in answer.content.decode()


def test_a_test_is_started_prolonged_and_ended(dora: Any, sandbox_test: Any, make_package: Any) -> None:
    package, node = make_package("crane", state="checked"), sandbox_test.trial.node
    Trial.objects.all().delete()
    answer = dora.post("/develop", {"package": package.pk, "node": node.pk, "minutes": 1, "values": ""})
    made = TestDeployment.objects.get()
    assert answer.headers["Location"] == f"/develop/{made.pk}"
    assert "It has more time" in dora.post(f"/develop/{made.pk}/prolong", follow=True).content.decode()
    assert TestDeployment.objects.get().ends_at > made.ends_at
    assert "is being removed" in dora.post(f"/develop/{made.pk}/end", follow=True).content.decode()
    assert TestDeployment.objects.get().state == "removing"


def test_the_workbench_costs_the_same_however_much_there_is(
    dora: Any, sandbox_test: Any, make_package: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        make_package(f"app-{number}", state="checked")
    dora.get("/develop")
    with django_assert_max_num_queries(12):
        dora.get("/develop")
    with django_assert_max_num_queries(12):
        dora.get(f"/develop/{sandbox_test.pk}")
