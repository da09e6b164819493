"""That no form is unknown, that buttons ask before what cannot be taken back, and that filters take whatever is typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from django.test import Client

from tests.frontend.forms.bad import ODD
from tests.frontend.forms.ledger import undone
from tests.frontend.forms.reading import Control, Form, Page
from tests.frontend.forms.register import ASK_FIRST, AT_ONCE, FORMS, SWITCHES
from tests.frontend.forms.trying import same_browser
from tests.frontend.forms.worlds import Place, World
from tests.frontend.test_every_page import LEADS_ON, READABLE, address

TEMPLATES = Path(__file__).resolve().parents[3] / "frontend" / "templates"
_FORM = re.compile(r"<form\b[^>]*?method=\"post\"[^>]*?action=\"{% url 'frontend:([\w-]+)'")
#: Made from the description of the whole API, and without a form that posts; the live run reads them, too.
SLOW = {"reference", "reference-group"}
#: What a filter must stand.
STRANGE = ("\x00", "9" * 400)


@dataclass
class Found:
    """A form on a page."""

    name: str
    form: Form
    page: Page
    place: Place


@dataclass
class Portal:
    """Every form of every page, once for each address that it is sent to and each set of fields."""

    world: World
    found: list[Found] = field(default_factory=list)
    #: Whether pages that take a second and have only a filter are read as well.
    every: bool = True

    def walk(self) -> Iterator[Place]:
        """Yield every page, and those that visitors see."""
        for name in READABLE:
            if name not in LEADS_ON and (self.every or name not in SLOW):
                yield Place(self.world.pages, address(name, self.world.objects))
        yield Place(Client(), "/")
        yield Place(Client(), "/sign-in")

    def read(self) -> None:
        """Read them all."""
        seen = set()
        for place in self.walk():
            answer = place.browser.get(place.url)
            if answer.status_code != 200 or "html" not in answer.headers["Content-Type"]:
                continue
            page = Page(answer.content.decode(), place.url)
            if place.browser is self.world.pages:
                # Those who try the forms need not read it again.
                self.world.pages_read[place.url] = page.forms
            for form in page.forms:
                key = (form.method, form.target, tuple(form.visible))
                if key not in seen:
                    seen.add(key)
                    self.found.append(Found(form.target, form, page, place))


def is_known(portal: Portal) -> None:
    """Demand that each form is in the register: those of the pages, and those of templates that only others see."""
    known = {case.of or name for name, case in FORMS.items()} | SWITCHES
    asking = {each.name for each in portal.found if each.form.method == "post" and each.form.visible}
    assert asking <= known, f"a new form needs its cases in register.py: {sorted(asking - known)}"
    pressed = {each.name for each in portal.found if each.form.method == "post" and not each.form.visible}
    buttons = AT_ONCE | ASK_FIRST | SWITCHES
    assert pressed <= buttons, f"does this button ask first? Say so in register.py: {sorted(pressed - buttons)}"
    written = {name for path in TEMPLATES.rglob("*.html") for name in _FORM.findall(path.read_text())}
    assert written <= known | buttons, f"a new form needs its cases in register.py: {sorted(written - known - buttons)}"


def asks_first(found: Found) -> None:
    """Demand that what is not easily undone is asked in a dialog, with what follows in words, and that this opens."""
    if found.name not in ASK_FIRST:
        return
    dialog = found.form.dialog
    assert dialog, "is done at once, without a question"
    title = found.page.texts.get(f"{dialog}-title", "").strip()
    text = re.sub(r"\s+", " ", found.page.texts[dialog].replace(title, "", 1)).strip()
    assert title.endswith("?"), f"the dialog asks nothing: {title!r}"
    assert len(text) > 60, f"the dialog does not say what follows: {text!r}"
    assert (dialog in found.page.openers) is not (dialog in found.page.idle), (
        "nothing opens its dialog, or it is not idle"
    )
    assert "noscript.css" in found.page.sheets, "without scripts nothing shows its dialog"


def breaks_nothing(found: Found) -> None:
    """Press it twice, about something that is not there, and with nonsense in what is hidden: words, and no failure."""
    place, form = found.place, found.form
    hidden = {each.name: "no\x00such" for each in form.controls if each.kind == "hidden" and each.name in form.data}
    elsewhere = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", str(uuid4()), form.url)
    sent = [(form.url, form.data), (form.url, form.data)]
    sent += [(form.url, {**form.data, **hidden})] if hidden else []
    sent += [(elsewhere, form.data)] if elsewhere != form.url else []
    with undone(), same_browser(place.browser):
        for url, data in sent:
            answer = place.browser.post(url, data)
            assert answer.status_code < 500, f"{data} to {url} was answered {answer.status_code}"


def stands(found: Found) -> None:
    """Type strange things into all fields of a filter: it answers, and keeps what was typed."""
    names = list(found.form.visible)
    for typed in ({name: STRANGE[number % 2] for number, name in enumerate(names)}, dict.fromkeys(names, ODD)):
        answer = found.place.browser.get(found.form.url, {**found.form.data, **typed})
        html = answer.content.decode()
        told = answer.status_code in (400, 404) and "data-error-summary" in html
        assert answer.status_code == 200 or told, f"{typed} was answered {answer.status_code}"
        assert "<script>alert" not in html, "what was typed came back as it was"
        texts = [name for name in names if found.form.visible[name][0].kind in ("text", "search")]
        # Boxes on cards only lead to another page, which has none.
        if ODD not in typed.values() or not texts:
            continue
        back = next(
            each for each in Page(html, found.place.url).forms if each.target == found.name and each.method == "get"
        )
        for name in texts:
            control: Control | None = back.control(name)
            assert control, f"{name} is not there any more"
            assert control.value.strip() == ODD.strip(), f"{name}: {control.value!r} instead of what was typed"
