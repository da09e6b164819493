"""`breakwater sandbox`: from the list of sandboxes to the end of a test deployment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Terminal
from tests.frontend.centre_objects import sandbox_test  # noqa: F401  (a test deployment that runs)

pytestmark = pytest.mark.django_db


@pytest.fixture
def package(make_package: Any) -> Any:
    return make_package("crane", state="checked", version="1.0.0")


def test_a_package_is_tried_from_a_terminal(signed_in: Terminal, sandbox_test: Any) -> None:  # noqa: F811
    from developer.sandbox.models import TestDeployment

    assert [(row["name"], row["free"]) for row in signed_in.json("sandbox", "nodes")] == [("lab-1", False)]
    shown = signed_in("sandbox", "show", sandbox_test.pk)
    assert "Deployment web: ready, 1 of 1 ready" in shown.out
    assert "service greeting: ACTIVE" in shown.out
    assert "the tide is high" in signed_in("sandbox", "logs", sandbox_test.pk).out
    taken = signed_in("sandbox", "start", "crane@1.0.0", "--node", "lab-1")
    assert taken.code == 1
    assert "Another trial is under way" in taken.err
    sandbox_test.trial.delete()
    made = signed_in.json("sandbox", "start", "crane@1.0.0", "--node", "lab-1", "--minutes", "2")
    assert made["state"] == "waiting"
    assert signed_in("sandbox", "start", "crane@1.0.0", "--node", "lab-1", "--wait", "--timeout", "3").code == 1
    longer = signed_in.json("sandbox", "prolong", made["id"], "--minutes", "30")
    assert longer["ends_at"] > made["ends_at"]
    assert signed_in.json("sandbox", "end", made["id"])["state"] == "removing"
    assert [row["id"] for row in signed_in.json("sandbox", "list")["results"]] == [made["id"]]
    assert TestDeployment.objects.get().state == "removing"
