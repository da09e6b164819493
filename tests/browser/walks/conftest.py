"""One store for all walks, a browser, and people who walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.portal import CHROMIUM, FLAGS
from tests.browser.walks.quay import Quay
from tests.browser.walks.walker import Walker
from tests.flows.storelab import PASSWORD


@pytest.fixture(scope="session")
def quay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quay]:
    """A store in real processes with a developer, a certifier, an operator and an administrator."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; install the package chromium")
    with Quay(tmp_path_factory.mktemp("quay"), "Quay Store") as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium; it ends with the module, because its event loop would confuse Django's own checks."""
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; install the package chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def walker(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Walker]]:
    """Let somebody walk: `walker(url, username)` signs in first, `walker(url)` is a visitor."""
    walking: list[Walker] = []

    def walk(url: str, username: str = "", *, others: tuple[str, ...] = (), **options: Any) -> Walker:
        story = "-".join(filter(None, (request.module.__name__.rpartition("test_")[2], username)))
        made = Walker(browser, story, url, *others, **options)
        walking.append(made)
        if username:
            with made.step("signs in"):
                made.signs_in(username, PASSWORD)
        return made

    yield walk
    faults = []
    for each in walking:
        each.context.close()
        faults += each.faults
    if faults:
        pytest.fail("\n\n".join(faults), pytrace=False)
