"""Getting in, as people do it: by a real identity provider in a process of its own, and with a passkey."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.browser import identity_provider
from tests.browser.portal import CHROMIUM, FLAGS, PASSWORD, ROOT, Site, answers
from tests.ports import free_port
from tests.waiting import until

# Two processes start, Chromium twice: on a busy machine that takes its time.
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SEED = f"""
from core.accounts.models import Membership, Organisation, User
acme = Organisation.objects.create(slug="acme", name="Acme Edge")
boss = User.objects.create_user("boss", password={PASSWORD!r})
Membership.objects.create(user=boss, organisation=acme, role="admin")
"""


@dataclass
class Door:
    """A centre under the name `localhost`, and a provider that knows keeper."""

    site: Site
    issuer: str
    people: Path

    def groups(self, *names: str) -> None:
        """Say in which groups keeper is from now on."""
        self.people.write_text(json.dumps({"keeper": names}))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Start both, and leave nothing behind."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; install the package chromium")
    folder = tmp_path_factory.mktemp("door")
    port, other = free_port(), free_port()
    url, issuer = f"http://localhost:{port}", f"http://127.0.0.1:{other}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BREAKWATER_", "DJANGO_"))}
    environment = {
        **inherited,
        "BREAKWATER_VAR": str(folder / "centre"),
        "BREAKWATER_PUBLIC_URL": url,
        "BREAKWATER_SIGN_IN_NETWORKS": "127.0.0.0/8",
        "DJANGO_SETTINGS_MODULE": "mecm.settings",
    }
    site = Site(url, environment)
    made = Door(site, issuer, folder / "people.json")
    made.groups("edge-operators")
    databases.fresh("centre", folder / "centre" / "centre.sqlite3")
    site.tell(SEED)
    written = folder / "processes.log"
    with written.open("w") as log:
        commands = [
            (
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
                environment,
            ),
            (["-m", "tests.browser.identity_provider", str(other), str(folder), f"{url}/sign-in/callback"], inherited),
        ]
        processes = [
            subprocess.Popen([sys.executable, *words], cwd=ROOT, env=given, stdout=log, stderr=log)
            for words, given in commands
        ]
        try:
            for number, look in enumerate(
                (f"http://127.0.0.1:{port}/sign-in", f"{issuer}/.well-known/openid-configuration")
            ):
                until(lambda: answers(look) or processes[number].poll() is not None, timeout=120, every=0.3)  # noqa: B023
                assert processes[number].poll() is None, written.read_text()[-2000:]
            yield made
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=60)


@pytest.fixture(scope="module")
def browser(door: Door) -> Iterator[Any]:
    """A Chromium for this module."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture
def new_page(door: Door, browser: Any) -> Iterator[Any]:
    """Open a browser of its own; at the end no page of ours may have complained."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def ours(message: Any) -> None:
        if message.type == "error" and door.site.url in str(message.location.get("url", "")):
            complaints.append(message.text)

    def make() -> Any:
        context = browser.new_context()
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", ours)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def sign_in(door: Door, page: Any) -> None:
    page.goto(f"{door.site.url}/sign-in")
    page.get_by_label("User name").fill("boss")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{door.site.url}/")


def sign_out(page: Any) -> None:
    page.get_by_role("button", name="Your menu").filter(visible=True).click()
    page.get_by_role("button", name="Sign out").filter(visible=True).click()
    page.wait_for_url("**/sign-in")


def test_people_come_in_by_a_real_provider_and_their_roles_follow_their_groups(door: Door, new_page: Any) -> None:
    boss, keeper, site = new_page(), new_page(), door.site
    sign_in(door, boss)
    boss.goto(f"{site.url}/identity-providers")
    facts = {
        "Name": "Staff", "Short name": "staff", "Issuer": door.issuer, "Client id": identity_provider.CLIENT_ID,
        "Client secret": identity_provider.CLIENT_SECRET,
        "Roles by group": "edge-operators = acme : operator\nedge-viewers = acme : viewer",
    }  # fmt: skip
    for label, value in facts.items():
        boss.get_by_label(label, exact=True).fill(value)
    boss.get_by_role("button", name="Ask it and connect").click()
    boss.get_by_role("link", name="Change Staff").wait_for()

    keeper.goto(f"{site.url}/nodes")
    keeper.get_by_role("link", name="Sign in with Staff").click()
    keeper.wait_for_url(f"{door.issuer}/accounts/login/**")
    keeper.locator("#id_login").fill("keeper")
    keeper.locator("#id_password").fill(identity_provider.PASSWORD)
    keeper.get_by_role("button", name="Sign In").first.click()
    # She lands where she wanted to go.
    keeper.wait_for_url(f"{site.url}/nodes")
    keeper.goto(f"{site.url}/profile")
    keeper.get_by_text("operator", exact=True).wait_for()

    sign_out(keeper)
    assert keeper.get_by_role("link", name="Sign out at Staff, too").get_attribute("href").startswith(door.issuer)
    door.groups("edge-viewers")
    keeper.get_by_role("link", name="Sign in with Staff").click()
    keeper.wait_for_url(f"{site.url}/")
    keeper.goto(f"{site.url}/profile")
    keeper.get_by_text("viewer", exact=True).wait_for()
    assert keeper.get_by_text("operator", exact=True).count() == 0

    boss.goto(f"{site.url}/members")
    boss.get_by_role("link", name="keeper").click()
    boss.get_by_role("button", name="End the session").click()
    boss.get_by_text("That session is ended.").wait_for()
    keeper.goto(f"{site.url}/nodes")
    keeper.wait_for_url("**/sign-in?next=**")


def test_a_passkey_opens_the_door_alone_and_as_the_second_step(door: Door, new_page: Any) -> None:
    page, site = new_page(), door.site
    control = page.context.new_cdp_session(page)
    control.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    authenticator = control.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    sign_in(door, page)
    page.goto(f"{site.url}/profile/passkeys/new")
    page.get_by_label("Name").fill("This laptop")
    page.get_by_role("button", name="Register the passkey").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    page.get_by_role("link", name="I have kept them").click()
    page.get_by_text("This laptop", exact=True).wait_for()

    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{site.url}/")
    page.goto(f"{site.url}/profile/security")
    page.get_by_role("cell", name="passkey", exact=True).first.wait_for()

    sign_out(page)
    page.get_by_label("User name").fill("boss")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/sign-in/second")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{site.url}/")

    # A key that is not registered here opens nothing, and says so.
    sign_out(page)
    site.tell("from core.sign_in.models import Passkey; Passkey.objects.all().delete()")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_text("This passkey opens nothing here.").wait_for()
    assert control.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
