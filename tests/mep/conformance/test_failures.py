"""429, 500, 503: what goes wrong on our side is told in the same words as what goes wrong on the other."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory

from core.errors import Throttled
from mep.mp1 import http
from tests.mep.conformance.world import SUPPORT, World
from tests.mep.test_service_mgmt import problem


def asked(failure: Exception) -> HttpResponse:
    """Return what a resource answers whose handler fails so."""

    def handler(call: http.Call) -> HttpResponse:
        raise failure

    return http.Open(get=handler)(RequestFactory().get("/"))


class Answer:
    """A response as the test client gives it."""

    def __init__(self, response: HttpResponse) -> None:
        self.response, self.status_code, self.content = response, response.status_code, response.content

    def __getitem__(self, name: str) -> Any:
        return self.response[name]

    def json(self) -> Any:
        import json

        return json.loads(self.content)


def test_a_failure_of_ours_is_500_and_says_nothing_of_its_cause() -> None:
    told = problem(Answer(asked(RuntimeError("password=secret"))), 500)
    assert "secret" not in str(told)


def test_a_busy_database_is_503_and_worth_another_try() -> None:
    assert problem(Answer(asked(OperationalError("database is locked"))), 503)["retryable"] is True


def test_too_many_requests_are_429_with_the_time_to_wait() -> None:
    answer = asked(Throttled("Slower, please: come back in 3 s", retry_after=3))
    problem(Answer(answer), 429)
    assert answer["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("path", "body"),
    [("confirm_ready", {"indication": "READY"}), ("confirm_termination", {"operationAction": "TERMINATING"})],
)
def test_throttled_rows(world: World, path: str, body: dict[str, str]) -> None:
    """The tables list 429 for the two confirmations; an app that asks without end gets it anywhere."""
    if find_spec("mep.mp1.throttle") is None:
        pytest.skip("this build has no rate limits")
    from mep.mp1 import throttle

    throttle.apps.configure(0.01, 2)
    try:
        answers = [world.app.post(f"{SUPPORT}/applications/{{app}}/{path}", body) for _ in range(3)]
    finally:
        throttle.forget()
    problem(answers[-1], 429)
    assert int(answers[-1]["Retry-After"]) >= 1
