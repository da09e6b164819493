"""A centre of its own in real processes, and a real browser that may talk to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import portal
from tests.browser.portal import CHROMIUM, FLAGS, PASSWORD, WIDTHS, Site
from tests.browser.watch import Watch
from tests.waiting import PATIENCE


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web process and a worker on an own database with demo content."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; install the package chromium")
    with portal.running(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Any]:
    """A Chromium; it ends with the module, because its event loop would confuse Django's own checks."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=5_000 * PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def session_of(chromium: Any, site: Site) -> Callable[[str], Any]:
    """Sign in through the form and return the cookies: `session_of("harbour-admin")`."""
    known: dict[str, Any] = {}

    def sign_in(username: str) -> Any:
        if username not in known:
            context = chromium.new_context()
            context.set_default_timeout(15_000 * PATIENCE)
            page = context.new_page()
            page.goto(f"{site.url}/sign-in")
            page.get_by_label("User name").fill(username)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{site.url}/")
            known[username] = context.storage_state()
            context.close()
        return known[username]

    return sign_in


@pytest.fixture
def open_page(chromium: Any, site: Site, session_of: Any) -> Iterator[Callable[..., Any]]:
    """Open a page as `harbour-admin`: `open_page("map", width="phone", scheme="dark")`.

    At the end the test fails when any page had an error, broke the security policy or asked for anything outside.
    """
    contexts: list[Any] = []
    watch = Watch(site.url)

    def show(
        name: str = "", *, width: str = "desktop", scheme: str = "light", user: str = "harbour-admin", **options: Any
    ) -> Any:
        size = WIDTHS[width]
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            storage_state=session_of(user) if user else None,
            **options,
        )
        context.set_default_timeout(15_000 * PATIENCE)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page)
        if name:
            page.goto(site.url + site.pages.get(name, name))
        return page

    show.watch = watch  # type: ignore[attr-defined]
    yield show
    for context in contexts:
        context.close()
    assert watch.complaints == []
