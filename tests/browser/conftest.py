"""A centre of its own in real processes, and a real browser that may talk to nobody else."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.browser.watch import Watch
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a walk along the quay"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}


@dataclass
class Site:
    """A running centre: where it is, and the addresses of its pages by name."""

    url: str
    environment: dict[str, str]
    pages: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, text: str = "") -> str:
        """Run Python in the centre's surroundings and return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def tell(self, code: str) -> str:
        """Run code with the centre's models at hand."""
        return self.run("manage.py", "shell", "-v", "0", "-c", code)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a web process and a worker on an own database with demo content; leave nothing behind."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; install the package chromium")
    folder = tmp_path_factory.mktemp("site")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")}
    environment = {
        **inherited,
        "BREAKWATER_VAR": str(folder),
        "BREAKWATER_PUBLIC_URL": url,
        "DJANGO_SETTINGS_MODULE": "mecm.settings",
    }
    made = Site(url, environment)
    made.run("manage.py", "migrate", "-v", "0")
    made.pages = json.loads(made.run("-m", "tests.browser.seed").splitlines()[-1])
    written = folder / "processes.log"
    log = written.open("w")
    commands = [
        [
            "-m",
            "uvicorn",
            "mecm.asgi:application",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--log-level",
            "warning",
        ],
        ["manage.py", "run_operations", "--every", "0.2"],
    ]
    processes = [
        subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
        for command in commands
    ]
    try:
        until(lambda: _answers(f"{url}/sign-in") or processes[0].poll() is not None, timeout=60, every=0.2)
        assert processes[0].poll() is None, written.read_text()[-2000:]
        yield made
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Any]:
    """A Chromium; it ends with the module, because its event loop would confuse Django's own checks."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def session_of(chromium: Any, site: Site) -> Callable[[str], Any]:
    """Sign in through the form and return the cookies: `session_of("harbour-admin")`."""
    known: dict[str, Any] = {}

    def sign_in(username: str) -> Any:
        if username not in known:
            context = chromium.new_context()
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
        context.set_default_timeout(15_000)
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
