"""What holds for each form there is, and for each that will be added: the forms are read from the pages.

Bad input is refused beside its field, what was typed is kept, nothing is written, and everything works without scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from tests.frontend.conftest import Objects
from tests.frontend.forms import bad
from tests.frontend.forms.ledger import undone
from tests.frontend.forms.reading import Control, Form, Page
from tests.frontend.forms.register import ASK_FIRST, AT_ONCE, FORMS, Case
from tests.frontend.forms.worlds import Place, Upload, World
from tests.frontend.test_every_page import READABLE, address

#: Refusals: the input, the state of the thing, the key to the door.
REFUSED = (400, 401, 409, 422)
#: What a refused post may write: that somebody tried, and when a session was last seen.
NOTED = {"django_session", "sign_in_session", "accounts_audit", "accounts_loginattempt"}


@pytest.fixture
def world(request: pytest.FixtureRequest, objects: Objects, pages: Any) -> World:
    """Everything that there is."""
    objects.everything()
    return World(objects, pages, request.getfixturevalue)


def forms_on(place: Place) -> list[Form]:
    """Return the forms of a page."""
    answer = place.browser.get(place.url)
    assert answer.status_code == 200, f"its page {place.url} answered {answer.status_code}"
    return Page(answer.content.decode(), place.url).forms


def place_of(world: World, name: str, case: Case) -> Place:
    """Return where a form stands."""
    if case.stands:
        return case.stands(world)
    return Place(world.pages, address(case.page or name, world.objects))


@contextmanager
def standing(world: World, name: str) -> Iterator[tuple[Form, Case, Place]]:
    """Give a form in its world, and take the world back."""
    case = FORMS[name]
    with transaction.atomic():
        place = place_of(world, name, case)
        world.browser = place.browser
        found = [
            form
            for form in forms_on(place)
            if form.target == name
            and form.method == "post"
            and form.visible
            and (not case.having or case.having in form.visible)
        ]
        assert found, f"is not on {place.url}"
        yield found[0], case, place
        transaction.set_rollback(True)


def good_of(world: World, case: Case, form: Form) -> dict[str, Any]:
    """Return everything that is sent when all is right."""
    good = case.good(world) if callable(case.good) else case.good
    return {**form.data, **good}


def sent(place: Place, form: Form, data: dict[str, Any]) -> Any:
    """Post as a browser does; what is None is not sent."""
    cookies = {key: morsel.value for key, morsel in place.browser.cookies.items()}
    try:
        files = {
            key: value.open() if isinstance(value, Upload) else value
            for key, value in data.items()
            if value is not None
        }
        return place.browser.post(form.url, files)
    finally:
        for key, value in cookies.items():
            place.browser.cookies[key] = value


def bad_of(case: Case, form: Form) -> dict[str, list[Any]]:
    """Return the bad values of each field."""
    found = {}
    for name, controls in form.visible.items():
        must = name in case.must or any("required" in each.attrs for each in controls)
        values = [*bad.values(controls, must), *case.bad.get(name, [])]
        if values:
            found[name] = values
    return found


def waves(case: Case, form: Form) -> Iterator[dict[str, Any]]:
    """Yield bad values for all fields at once, until each value has had its turn."""
    values = bad_of(case, form)
    for number in range(max((len(each) for each in values.values()), default=0)):
        yield {name: each[number] for name, each in values.items() if number < len(each)}


# What is demanded of an answer


def the_form(page: Page, name: str, fields: Any) -> Form:
    """Return the form on the page that came back."""
    found = [
        form
        for form in page.forms
        if form.target == name and set(fields) <= set(form.visible) and form.method == "post"
    ]
    assert found, "the form is not on the page that came back"
    return found[0]


def is_said_beside(page: Page, control: Control, name: str) -> None:
    """Demand that the message stands beside the field, tied to it."""
    invalid = control.attrs.get("aria-invalid") == "true" or control.group.get("aria-invalid") == "true"
    assert invalid, f"{name}: not marked as invalid"
    said = [page.texts.get(each, "").strip() for each in control.messages if each.endswith("_error")]
    assert any(said), f"{name}: no message is tied to it (aria-describedby {control.messages})"


def is_kept(control: Control, controls: list[Control], typed: Any, name: str) -> None:
    """Demand that what was typed is still there."""
    if control.kind in ("checkbox", "radio"):
        on = {each.value for each in controls if each.checked}
        asked = {typed} if isinstance(typed, str) else set(typed or [])
        known = {each.value for each in controls}
        assert asked & known == on, f"{name}: the choice was lost ({on} instead of {asked & known})"
    elif control.kind == "select":
        known = {value for value, _ in control.options}
        assert typed not in known or control.sent == typed, f"{name}: the choice was lost"
    else:
        there = control.value.replace("\r\n", "\n")
        assert there == str(typed).replace("\r\n", "\n"), f"{name}: {str(typed)[:40]!r} became {there[:40]!r}"


def has_summary(page: Page, form: Form, wrong: Any) -> None:
    """Demand a list of problems that has the focus and leads to the fields."""
    assert len(page.summaries) == 1, f"{len(page.summaries)} lists of problems at the top"
    (summary,) = page.summaries
    assert summary["focus"], "the list of problems has no focus"
    assert len(page.focused) == 1 or page.focused[0] != "input", "something else takes the focus first"
    for name in wrong:
        ids = {f"#{control.attrs.get('id', '')}" for control in form.visible[name]}
        assert ids & set(summary["links"]), f"{name}: the list of problems does not lead to it"


def is_refused(name: str, case: Case, form: Form, place: Place, data: dict[str, Any], wrong: dict[str, Any]) -> None:
    """Post what is wrong, and demand all that is promised."""
    var = set(Path(settings.VAR_DIR).rglob("*"))
    with undone() as ledger:
        answer = sent(place, form, {**data, **wrong})
    shown = {field: str(value)[:30] for field, value in wrong.items()}
    assert answer.status_code in REFUSED, f"{shown} was answered {answer.status_code}"
    written = set(ledger.written) - NOTED
    assert not written, f"{shown} was refused, and {sorted(written)} written"
    left = {each for each in set(Path(settings.VAR_DIR).rglob("*")) - var if each.is_file()}
    assert not left, f"{shown} left {sorted(map(str, left))}"
    html = answer.content.decode()
    page = Page(html, place.url)
    back = the_form(page, name, wrong)
    for field in wrong:
        is_said_beside(page, back.visible[field][0], field)
    has_summary(page, back, wrong)
    for field, controls in back.visible.items():
        typed = {**data, **wrong}.get(field, "")
        if field in case.secret or controls[0].kind == "password":
            assert not any(each.value for each in controls), f"{field}: the secret came back"
            assert not typed or len(str(typed)) < 9 or str(typed) not in html, f"{field}: the secret came back"
        elif controls[0].kind != "file":
            is_kept(controls[0], controls, typed, field)


def all_of(names: Any, look: Any) -> None:
    """Try every form in one world, and tell of all that are wrong."""
    wrong = []
    for name in names:
        try:
            look(name)
        except Exception as problem:  # a form that breaks is one more that is wrong
            text = str(problem).splitlines()
            wrong.append(f"{name}: {type(problem).__name__ if not isinstance(problem, AssertionError) else ''} {text[0] if text else ''}")
    assert not wrong, "\n".join(wrong)


# The tests


def test_every_form_refuses_bad_input_beside_the_field_and_writes_nothing(world: World) -> None:
    def look(name: str) -> None:
        with standing(world, name) as (form, case, place):
            data = good_of(world, case, form)
            for wave in waves(case, form):
                is_refused(name, case, form, place, data, wave)

    all_of(FORMS, look)


def test_every_form_takes_what_is_right_without_scripts_and_says_so(world: World) -> None:
    def look(name: str) -> None:
        with standing(world, name) as (form, case, place):
            answer = sent(place, form, good_of(world, case, form))
            assert answer.status_code == case.ends, f"answered {answer.status_code}: {problems(answer)}"
            if case.ends == 302 and place.browser is world.pages:
                after = place.browser.get(answer.headers["Location"])
                assert after.status_code == 200, (
                    f"led to {answer.headers['Location']}, which answered {after.status_code}"
                )
                assert "alert-danger d-flex" not in after.content.decode(), "it says that something is wrong"

    all_of((name for name, case in FORMS.items() if not case.live), look)


def problems(answer: Any) -> str:
    """Return what a page says is wrong."""
    page = Page(answer.content.decode())
    return re.sub(r"\s+", " ", " ".join(each["text"] for each in page.summaries))[:300]


def test_odd_texts_break_nothing(world: World) -> None:
    def look(name: str) -> None:
        with standing(world, name) as (form, case, place):
            odd = {field: text for field, controls in form.visible.items() if (text := bad.odd(controls))}
            with undone():
                answer = sent(place, form, {**form.data, **odd})
            assert answer.status_code < 500, f"answered {answer.status_code}"
            assert "<script>alert" not in answer.content.decode(), "it came back as it was"

    all_of(FORMS, look)
