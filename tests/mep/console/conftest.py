"""The console for tests: Django's client with the console's settings, and a real node with a real browser."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.browser.watch import Watch
from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "a walk along the quay"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
#: What the console's settings add to those of the edge platform.
ADDED = (
    "ROOT_URLCONF", "INSTALLED_APPS", "ALLOWED_HOSTS", "MIDDLEWARE", "TEMPLATES", "SESSION_ENGINE", "SESSION_COOKIE_NAME",
    "SESSION_COOKIE_AGE", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "CSRF_COOKIE_HTTPONLY",
    "SESSION_COOKIE_SAMESITE", "CSRF_COOKIE_SAMESITE", "CSRF_COOKIE_NAME", "MESSAGE_STORAGE", "CSRF_FAILURE_VIEW",
    "PASSWORD_HASHERS", "X_FRAME_OPTIONS", "CONTENT_SECURITY_POLICY", "STATIC_URL", "STATICFILES_DIRS",
    "SECURE_REFERRER_POLICY", "SECURE_CONTENT_TYPE_NOSNIFF", "SECURE_CROSS_ORIGIN_OPENER_POLICY",
    "DATA_UPLOAD_MAX_MEMORY_SIZE", "DATA_UPLOAD_MAX_NUMBER_FIELDS",
    "LANGUAGE_CODE", "LANGUAGES", "LOCALE_PATHS", "LANGUAGE_COOKIE_NAME", "LANGUAGE_COOKIE_AGE", "LANGUAGE_COOKIE_SECURE",
    "LANGUAGE_COOKIE_HTTPONLY", "LANGUAGE_COOKIE_SAMESITE",
)  # fmt: skip


class Operator(Client):
    """A browser at the console: HTTPS, a name of the certificate, the tokens of forms where they are wanted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(headers={"host": "localhost:8444"}, **options)

    def request(self, **request: Any) -> Any:
        """Send over TLS."""
        return super().request(**{**request, "wsgi.url_scheme": "https", "SERVER_PORT": "8444"})

    def sign_in(self, password: str = PASSWORD, **more: str) -> Any:
        """Send the form of the sign-in page."""
        return self.post("/sign-in", {"password": password, **more})

    def part(self, path: str, seen: str = "") -> Any:
        """Ask as a part does that refreshes itself."""
        return self.get(path, {"seen": seen} if seen else None, headers={"HX-Request": "true"})


@pytest.fixture
def console(db: None, own_folder: Path, settings: Any) -> None:
    """Give the test the console's settings, a password, and a door that has counted nobody."""
    # Imported here because it reads the environment.
    from mep.console import settings as wanted

    for name in ADDED:
        setattr(settings, name, getattr(wanted, name))
    settings.WHITENOISE_AUTOREFRESH = True
    settings.MIDDLEWARE = [each for each in wanted.MIDDLEWARE if "whitenoise" not in each]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from mep.console import door, keep, overview, packet

    door.throttle.__init__()  # type: ignore[misc]
    overview._probed.clear()
    packet._read.clear()
    keep.set_password(settings.VAR, door.hashed(PASSWORD))


@pytest.fixture
def stranger(console: None) -> Operator:
    """A browser that is not signed in, with the CSRF checks of real ones."""
    return Operator(enforce_csrf_checks=True)


@pytest.fixture
def operator(console: None) -> Operator:
    """A browser that is signed in."""
    client = Operator()
    assert client.sign_in().status_code == 302
    return client


# --- a real node ------------------------------------------------------------------------------------------------------
@dataclass
class Node:
    """A node's console in a process of its own, with content."""

    url: str
    environment: dict[str, str]
    pages: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, text: str = "") -> str:
        """Run Python in the node's surroundings and return what it printed."""
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
        """Run code with the node's models at hand."""
        return self.run("manage.py", "shell", "-v", "0", "-c", code)


def answers(url: str, authority: Path) -> bool:
    """Return whether the console answers, with the node's certificate and no other."""
    try:
        trust = ssl.create_default_context(cafile=str(authority))
        with urllib.request.urlopen(url, timeout=2, context=trust) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Start `manage.py edge` without a centre, DNS and console only beside Mp1; leave nothing behind."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; install the package chromium")
    folder = tmp_path_factory.mktemp("node")
    ports = [free_port() for _ in range(3)]
    url = f"https://127.0.0.1:{ports[0]}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MEP_", "DJANGO_"))}
    environment = {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "mep.settings",
        "MEP_VAR": str(folder),
        "MEP_CONSOLE_PORT": str(ports[0]),
        "MEP_MP1_PORT": str(ports[1]),
        "MEP_DNS_PORT": str(ports[2]),
        "MEP_NODE_NAME": "harbour-east",
        "MEP_ENGINE": "memory",
    }
    made = Node(url, environment)
    made.pages = json.loads(made.run("-m", "tests.mep.console.seed").splitlines()[-1])
    made.run("manage.py", "console_password", "--stdin", text=PASSWORD + "\n")
    written = folder / "processes.txt"
    log = written.open("w")
    # No agent: the centre is away, and what the agent last wrote says so. No Mp1: it would take the seeded rules for
    # its own simulated user plane and count nothing.
    command = [sys.executable, "manage.py", "edge", "--without", "agent", "--without", "mp1"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        authority = folder / "tls" / "ca.pem"
        until(
            lambda: (authority.exists() and answers(f"{url}/sign-in", authority)) or process.poll() is not None,
            timeout=60,
            every=0.2,
        )
        assert process.poll() is None, written.read_text()[-2000:]
        made.process = process
        yield made
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture(scope="module")
def chromium(node: Node) -> Iterator[Any]:
    """A Chromium; it ends with the module, because its event loop would confuse Django's own checks."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def session(chromium: Any, node: Node) -> Any:
    """Sign in through the form and return the cookies."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{node.url}/sign-in")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{node.url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(chromium: Any, node: Node, session: Any) -> Iterator[Callable[..., Any]]:
    """Open a page as the operator: `open_page("traffic", width="phone", scheme="dark")`.

    At the end the test fails when any page had an error, broke the security policy or asked for anything outside.
    """
    contexts: list[Any] = []
    watch = Watch(node.url)

    def show(
        name: str = "", *, width: str = "desktop", scheme: str = "light", known: bool = True, **options: Any
    ) -> Any:
        size = WIDTHS[width]
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            storage_state=session if known else None,
            ignore_https_errors=True,  # the node's own CA; `answers` has verified it
            **options,
        )
        context.set_default_timeout(15_000 * PATIENCE)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page)
        if name:
            page.goto(node.url + node.pages.get(name, name))
        return page

    show.watch, show.pages = watch, node.pages  # type: ignore[attr-defined]
    yield show
    for context in contexts:
        context.close()
    assert watch.complaints == []
