"""A person at a browser: goes by what is seen (roles, labels, words), and minds every page on the way.

A walk is a row of steps. Whatever page a step reaches is looked at before anything is done on it: axe in light and in
dark, nothing sticks out, no error, nothing from outside. What is wrong fails the walk, with the words of the step, the page
and a picture in the folder `WALK_SHOTS` (usually `var/walks`); a fault that stops nobody is told at the end, with all others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Error, Locator, Page, expect

from tests.browser.portal import ROOT, WIDTHS
from tests.browser.watch import Watch
from tests.waiting import PATIENCE, until

#: Long enough for a worker on a busy machine; nothing waits longer than it must.
WAIT = 20_000 * PATIENCE
SHOTS = Path(os.environ.get("WALK_SHOTS") or ROOT / "var" / "walks")
GRAVE = ("serious", "critical")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32,}|\d+")
#: Breaches of the policy are told on the console by the browser; of a policy that only reports, by this.
_REPORTS = (
    "addEventListener('securitypolicyviolation', e => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
)
#: What the page is made of, so that one which holds nothing new is not judged again; dialogs count when they are open.
_MADE_OF = """
() => [...new Set([...document.querySelectorAll('body *')].filter(e => e.checkVisibility())
  .map(e => `${e.tagName} ${e.getAttribute('class') || ''} ${e.getAttribute('role') || ''}`))]
"""
_JUDGED = """
async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(
  v => [v.impact, v.id, v.help, v.nodes.slice(0, 4).map(n => n.html.slice(0, 200) + ' ' + (n.any[0]?.message || ''))])
"""
Role = Literal[
    "button", "link", "radio", "checkbox", "textbox", "combobox", "option", "heading", "dialog", "tab", "cell"
]
Words = str | re.Pattern[str]


class Walker:
    """One person in one browser window. `judged` is shared by all of a run: what was judged once need not be again."""

    judged: dict[tuple[str, str], set[str]] = {}

    def __init__(self, browser: Any, story: str, *urls: str, width: str = "desktop", **options: Any) -> None:
        self.story, self.url = story, urls[0]
        self.context = browser.new_context(
            viewport={"width": WIDTHS[width][0], "height": WIDTHS[width][1]}, reduced_motion="reduce", **options
        )
        self.context.set_default_timeout(WAIT)
        self.context.add_init_script(_REPORTS)
        self.watch = Watch(*urls)
        self.now, self.faults, self._reached = "sets out", list[str](), False
        self.page: Page = self.context.new_page()
        self.watch.follow(self.page)
        self.page.on("framenavigated", self._arrived)

    # --- steps

    @contextmanager
    def step(self, words: str, *, refused: int = 0) -> Iterator[Walker]:
        """Do one thing that a person would call one thing. `refused` is the status of an answer that is provoked in it."""
        self.now = words
        before = list(self.watch.expected)
        if refused:
            self.watch.expected.append(f"{refused} on ")
        try:
            yield self
            self.mind()
        except (AssertionError, Error) as trouble:
            self._note(str(trouble))
            raise AssertionError("\n\n".join([*self.watch.complaints, *self.faults])) from trouble
        if self.watch.complaints:
            self._note("\n".join(self.watch.complaints))
        self.watch.forget()
        self.watch.expected = before

    def mind(self) -> None:
        """Look at the page as it is now, if it was just reached or shows something that nobody has looked at."""
        self._reached = False
        for _ in range(3):
            with suppress(_Gone):
                self._look()
                return
        raise AssertionError("the page never stands still")

    # --- deeds, by what a person sees

    def go(self, path: str) -> None:
        """Type an address, as at the very beginning; all other pages are reached by links."""
        self.page.goto(self.url + path)
        self.mind()

    def follow(self, name: Words, *, within: Locator | None = None) -> None:
        """Follow a link."""
        self._do("link", name, within)

    def pick(self, name: Words, *, within: Locator | None = None) -> None:
        """Choose from what a search offers."""
        self._do("option", name, within)

    def press(self, name: Words, *, within: Locator | None = None) -> None:
        """Press a button; in a dialog when one is open."""
        self._do("button", name, within)

    def fill(self, label: Words, text: str, *, within: Locator | None = None) -> None:
        """Type into the field with this label."""
        self._before()
        self._labelled(label, within).fill(text)

    def choose(self, label: Words, option: str) -> None:
        """Choose from a list by its label and the words of the choice."""
        self._before()
        self._labelled(label, None).select_option(label=option)

    def tick(self, name: Words, role: Role = "checkbox", *, within: Locator | None = None) -> None:
        """Tick a box or choose one of several."""
        self._before()
        self._one(role, name, within).check()

    def upload(self, press: Words, name: str, content: bytes) -> None:
        """Choose a file, by the browser's own dialog for it."""
        self._before()
        with self.page.expect_file_chooser() as chosen:
            (self.page.get_by_role("button", name=press).or_(self.page.get_by_text(press))).first.click()
        chosen.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})

    def attach(self, label: Words, name: str, content: bytes) -> None:
        """Choose a file in the field with this label."""
        self._before()
        file = {"name": name, "mimeType": "text/plain", "buffer": content}
        self._labelled(label, None).set_input_files(file)  # type: ignore[arg-type]

    def download(self, name: Words, to: Path, *, within: Locator | None = None) -> Path:
        """Press a link that downloads and return the file."""
        self._before()
        with self.page.expect_download() as got:
            self._one("link", name, within).click()
        got.value.save_as(to)
        return to

    def sees(self, words: Words, *, within: Locator | None = None, exact: bool = False, timeout: float = WAIT) -> None:
        """Wait until these words are to be seen."""
        found = (within or self.page).get_by_text(words, exact=exact).filter(visible=True).first
        expect(found).to_be_visible(timeout=timeout)
        self._before()

    def heads(self, words: Words) -> None:
        """Wait until the page with this heading is there."""
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(words, timeout=WAIT)
        self._before()

    def sees_no(self, words: Words) -> None:
        """These words are not to be seen (any more)."""
        expect(self.page.get_by_text(words).filter(visible=True)).to_have_count(0, timeout=WAIT)

    def reads(self, heading: str) -> str:
        """Return the text right below a heading, as one reads it out on the telephone."""
        self._before()
        head = self.page.get_by_role("heading", name=heading, exact=True).first
        for below in head.locator("xpath=following-sibling::*/descendant-or-self::*[not(*)]").all():
            said = (below.text_content() or "").strip()
            if re.fullmatch(r"\S{20,}|(?:[0-9a-fA-F]{2,}[ :]?)+", said):
                return said
        raise AssertionError(f"below {heading!r} stands nothing to read out")

    def again_until(self, words: Words, role: Role | None = None, *, press: str = "") -> None:
        """Load the page again, or press that button, until these words are there: so waits a person for somebody else."""

        def there() -> bool:
            self._before()
            found = self.page.get_by_role(role, name=words) if role else self.page.get_by_text(words)
            if found.filter(visible=True).count():
                return True
            if press:
                # What the button sends must have been answered: to load the page before that would call it back.
                here = self.page.url
                with self.page.expect_navigation(wait_until="load"):
                    self.press(press)
                self.page.goto(here)
            else:
                self.page.reload()
            return False

        until(there, 60, 0.5, what=f"{words!r} on {self.page.url}")

    def dialog(self) -> Locator:
        """Return the dialog that has opened; it is looked at as well."""
        found = self.page.get_by_role("dialog").filter(visible=True)
        expect(found).to_be_visible(timeout=WAIT)
        self.mind()
        return found

    def agrees(self, button: Words) -> None:
        """Read the dialog and press its button."""
        self._one("button", button, self.dialog()).click()

    def signs_in(self, username: str, password: str) -> None:
        """Sign in by the form."""
        self.go("/sign-in")
        self.fill("User name", username)
        self.fill("Password", password)
        self.press("Sign in")
        self.page.wait_for_url(lambda url: "/sign-in" not in url)
        self.mind()

    def marks(self) -> None:
        """Leave a mark on the document; `stayed` tells whether it is still the same one."""
        self.page.evaluate("window.stayed = true")

    def stayed(self) -> bool:
        """Tell whether nobody has reloaded the page since `marks`."""
        return bool(self.page.evaluate("window.stayed === true"))

    # --- how

    def _arrived(self, frame: Any) -> None:
        if frame == self.page.main_frame:
            self._reached = True

    def _before(self) -> None:
        if self._reached:
            self.mind()

    def _do(self, role: Role, name: Words, within: Locator | None) -> None:
        self._before()
        self._one(role, name, within).click()

    def _labelled(self, label: Words, within: Locator | None) -> Locator:
        exact = (within or self.page).get_by_label(label, exact=True).filter(visible=True)
        loose = (within or self.page).get_by_label(label).filter(visible=True)
        expect(loose.first).to_be_visible(timeout=WAIT)
        return exact.first if isinstance(label, str) and exact.count() else loose.first

    def _one(self, role: Role, name: Words, within: Locator | None) -> Locator:
        """Return the visible thing with this role and name; the one that is named exactly so goes first."""
        around = within or self.page
        loose = around.get_by_role(role, name=name).filter(visible=True)
        expect(loose.first).to_be_visible(timeout=WAIT)
        exact = around.get_by_role(role, name=name, exact=isinstance(name, str)).filter(visible=True)
        return exact.first if exact.count() else loose.first

    def _look(self) -> None:
        with _standing():
            self.page.wait_for_load_state("load")
            over = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            made = set(self.page.evaluate(_MADE_OF))
        path = _ID.sub("*", urlsplit(self.page.url).path)
        found = [line for theme in ("light", "dark") for line in self._axe(path, theme, made)]
        if over > 0:
            found.append(f"it sticks out by {over} px")
        if found:
            self._note("\n".join(found))

    def _axe(self, path: str, theme: Literal["light", "dark"], made: set[str]) -> list[str]:
        known = self.judged.setdefault((path, theme), set())
        if made <= known:
            return []
        with _standing():
            self.page.emulate_media(color_scheme=theme)
            self.page.wait_for_function("theme => document.documentElement.dataset.bsTheme === theme", arg=theme)
            if not self.page.evaluate("'axe' in window"):
                self.page.evaluate(AXE_SCRIPT)
            violations = self.page.evaluate(_JUDGED)
        known |= made
        return [
            f"{theme}: {kind} ({impact}): {what}\n    " + "\n    ".join(nodes)
            for impact, kind, what, nodes in violations
            if impact in GRAVE
        ]

    def _note(self, fault: str) -> None:
        """Keep a fault with where it was seen, and a picture of it."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        picture = SHOTS / f"{self.story}-{len(self.faults) + 1}.png"
        with suppress(Error):
            self.page.screenshot(path=picture, full_page=True)
        self.faults.append(f"{self.story} {self.now}, at {self.page.url} ({picture}):\n{fault}")


class _Gone(Exception):
    """The page went away while it was looked at."""


@contextmanager
def _standing() -> Iterator[None]:
    try:
        yield
    except Error as trouble:
        if any(words in str(trouble) for words in ("context was destroyed", "navigat", "Not attached")):
            raise _Gone from trouble
        raise
