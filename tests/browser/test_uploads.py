"""Uploads over lines that break: the page and the command line send every byte about once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.portal import ROOT
from tests.line import Line
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.live

SIZE = 12 << 20
#: What goes up beside the file: pages, headers, questions.
REST = 1 << 20


@pytest.fixture
def line(site: Any) -> Iterator[Line]:
    made = Line(urlsplit(site.url).port or 0)
    yield made
    made.close()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of noise, larger than one part."""
    path = tmp_path / "harbour.csar"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def page(line: Line, chromium: Any, session_of: Any) -> Iterator[Any]:
    """The upload page, reached over the line."""
    context = chromium.new_context(storage_state=session_of("harbour-admin"), viewport={"width": 1440, "height": 900})
    context.set_default_timeout(30_000 * PATIENCE)
    shown = context.new_page()
    shown.goto(f"http://127.0.0.1:{line.port}/packages/upload")
    yield shown
    context.close()


def test_a_cut_line_is_waited_for_and_every_byte_goes_once(page: Any, line: Line, big: Path) -> None:
    page.locator("input[type=file]").set_input_files(big)
    expect(page.get_by_text("harbour.csar · 12.0 MiB")).to_be_visible()
    line.sent, line.breaks_at = 0, 5 << 20
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator(".upload-row").get_by_text(re.compile("The line broke|No connection"))).to_be_visible()
    assert (5 << 20) <= line.sent < (7 << 20)
    line.mend()
    page.wait_for_url(re.compile(r"/packages/[0-9a-f-]{36}$"))
    assert SIZE <= line.sent < SIZE + REST
    # What is no package is told with all its findings.
    expect(page.get_by_text("It cannot be published like this")).to_be_visible(timeout=20_000 * PATIENCE)


def test_paused_reloaded_chosen_again_it_sends_the_rest(page: Any, line: Line, big: Path) -> None:
    page.locator("input[type=file]").set_input_files(big)
    line.sent, line.speed = 0, 6 << 20
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text(re.compile(r"MiB/s · \d+:\d\d left"))).to_be_visible()
    page.get_by_role("button", name="Pause: harbour.csar").click()
    expect(page.get_by_role("button", name="Resume: harbour.csar")).to_be_focused()
    assert line.sent < SIZE
    # Who comes back before the server has noticed the broken line sends a part in vain.
    until(lambda: _kept(page, line) > line.sent - REST, 30, every=0.2, what="what was sent to be kept")
    page.reload()
    expect(page.get_by_role("heading", name="Unfinished uploads")).to_be_visible()
    page.locator("input[type=file]").set_input_files(big)
    expect(page.get_by_text("Begun before: only the rest is sent.")).to_be_visible()
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url(re.compile(r"/packages/[0-9a-f-]{36}$"))
    assert SIZE <= line.sent < SIZE + 2 * REST


def _kept(page: Any, line: Line) -> int:
    """Return the bytes that the server has of the one upload under way."""
    (upload,) = page.request.get(f"http://127.0.0.1:{line.port}/api/v1/uploads").json()["results"]
    return int(upload["offset"])


def test_several_files_are_sent_in_turn_and_one_is_cancelled(page: Any, line: Line, tmp_path: Path) -> None:
    names = [f"{name}.csar" for name in ("one", "two", "three")]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(200_000))
    page.locator("input[type=file]").set_input_files([tmp_path / name for name in names])
    (tmp_path / "nothing.csar").write_bytes(b"")
    page.locator("input[type=file]").set_input_files(tmp_path / "nothing.csar")
    expect(page.get_by_role("alert")).to_have_text("nothing.csar is empty.")
    page.get_by_role("button", name="Cancel: two.csar").click()
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("link", name="To the package")).to_have_count(2)
    expect(page.get_by_text("two.csar ·")).to_have_count(0)
    # The same bytes once more lead to the package that is there.
    again = tmp_path / "again.csar"
    again.write_bytes((tmp_path / "one.csar").read_bytes())
    page.locator("input[type=file]").set_input_files(again)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator(".upload-row").get_by_text("This very file is here already")).to_be_visible()
    expect(page.get_by_role("link", name="To the package")).to_have_count(3)


def test_findings_answer_to_words(open_page: Any) -> None:
    page = open_page("rejected")
    rows = page.locator("[data-finding]")
    every = rows.count()
    assert every > 1
    page.get_by_label("Filter findings").fill(rows.first.locator(".finding-code").inner_text())
    expect(page.locator("[data-finding]:not([hidden])")).not_to_have_count(every)
    page.get_by_label("Filter findings").fill("nothing says this")
    expect(page.get_by_text("No finding has these words.")).to_be_visible()
    with page.expect_download() as kept:
        page.get_by_role("link", name="Download").first.click()
    assert kept.value.suggested_filename.startswith("findings-")


@pytest.mark.parametrize("address", ["upload", "rejected", "/develop"])
def test_nothing_stands_in_the_way_of_a_screen_reader(address: str, open_page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(address)
    if address == "upload":
        page.locator("input[type=file]").set_input_files({"name": "a.csar", "mimeType": "x/y", "buffer": b"x"})
        expect(page.get_by_text("a.csar · 1 B")).to_be_visible()
    assert [each for each in Axe().run(page).response["violations"] if each["impact"] != "minor"] == []


TOKEN = """
from core.accounts import services
from core.accounts.access import Actor
from core.accounts.models import User
user = User.objects.get(username="harbour-admin")
print(services.issue_token(user, name="terminal", actor=Actor(user))[1])
"""


def test_a_killed_command_goes_on_where_it_was(site: Any, line: Line, big: Path, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")},
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "BREAKWATER_SERVER": f"http://127.0.0.1:{line.port}",
        "BREAKWATER_TOKEN": site.tell(TOKEN).split()[-1],
    }
    command = [sys.executable, "-m", "cli", "packages", "upload", str(big), "--part-size", str(1 << 20), "-o", "json"]
    line.speed = 6 << 20
    first = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: line.sent > SIZE // 3, 60, what="a third of the file")
    first.kill()
    first.wait()
    line.speed = 0
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Going on after" in done.stderr
    assert '"filename": "harbour.csar"' in done.stdout
    assert SIZE <= line.sent < SIZE + REST + (1 << 20)
