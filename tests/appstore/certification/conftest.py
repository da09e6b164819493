"""A checked package, and runs of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.operations import services as operations
from tests.appstore import making

#: The checks that the framework's own tests are about; a run of all of them takes seconds.
FEW = ("chart-renders", "manifest-metadata", "support-contact")


@pytest.fixture(autouse=True)
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs short: the store knows few checks. Those that try checks one by one find them by their files."""
    from appstore.certification.checks import registry

    monkeypatch.setattr(registry, "_targets", {name: registry._targets[name] for name in FEW})


@pytest.fixture
def make_release(organisation: Any, admin: Any) -> Callable[..., Any]:
    """Take a package in and check it: `make_release(making.edgegallery())`."""
    from appstore.packages import services
    from appstore.packages.models import Package
    from core.accounts.access import Actor

    def make(content: bytes, filename: str = "hello.csar") -> Package:
        made = services.receive([content], actor=Actor(admin), organisation=organisation, filename=filename)
        operations.run_due()
        made.refresh_from_db()
        assert made.state == "checked", made.findings
        return made

    return make


@pytest.fixture
def package(make_release: Any) -> Any:
    """A small package that has passed its check, uploaded by the administrator."""
    return make_release(making.edgegallery())


@pytest.fixture
def certify(actor: Any) -> Callable[..., Any]:
    """Certify a package and give the run when the worker has done what it can."""
    from appstore.certification import services
    from appstore.certification.models import Run

    def run(package: Any, *wanted: str, **facts: Any) -> Run:
        made = services.start(package, actor=facts.pop("actor", actor), wanted=wanted, **facts)
        operations.run_due()
        made.refresh_from_db()
        return made

    return run


@pytest.fixture
def judge_user(make_user: Any, organisation: Any) -> Any:
    """Somebody of the same organisation who may decide manual checks."""
    return make_user("judge", organisation, "certifier")
