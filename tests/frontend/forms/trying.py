"""Finds a form in its world, posts what is wrong and what is right, and demands of the answer all that is promised."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from django.conf import settings
from django.db import transaction

from tests.frontend.forms import bad
from tests.frontend.forms.ledger import undone
from tests.frontend.forms.reading import Control, Form, Page
from tests.frontend.forms.register import FORMS, Case, Typed
from tests.frontend.forms.worlds import Place, Upload, World
from tests.frontend.test_every_page import address

#: Refusals: the input, the state of the thing, the key to the door.
REFUSED = (400, 401, 409, 422)
#: What a refused post may write: that somebody tried, and when a session was last seen.
NOTED = {"audit_entry", "sign_in_session", "accounts_loginattempt"}


def forms_on(world: World, place: Place, *, usual: bool) -> list[Form]:
    """Return the forms of a page; a page of the usual world is read once, since that world always comes back."""
    if usual and place.url in world.pages_read:
        return world.pages_read[place.url]
    answer = place.browser.get(place.url)
    assert answer.status_code == 200, f"its page {place.url} answered {answer.status_code}"
    forms = Page(answer.content.decode(), place.url).forms
    if usual:
        world.pages_read[place.url] = forms
    return forms


@contextmanager
def same_browser(browser: Any) -> Iterator[None]:
    """Give a browser its cookies back: its session in the database comes back as well."""
    kept = browser.cookies
    browser.cookies = copy.deepcopy(kept)
    try:
        yield
    finally:
        browser.cookies = kept


def place_of(world: World, name: str, case: Case) -> Place:
    """Return where a form stands."""
    if case.stands:
        return case.stands(world)
    return Place(world.pages, address(case.page or name, world.objects))


@contextmanager
def standing(world: World, name: str) -> Iterator[tuple[Form, Case, Place]]:
    """Give a form in its world, and take the world back."""
    case = FORMS[name]
    with transaction.atomic(), same_browser(world.pages):
        place = place_of(world, name, case)
        world.browser = place.browser
        found = [
            form
            for form in forms_on(world, place, usual=case.stands is None)
            if form.target == (case.of or name)
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
    given = {
        key: value.open() if isinstance(value, Upload) else value for key, value in data.items() if value is not None
    }
    return place.browser.post(form.url, given)


def bad_of(case: Case, form: Form) -> dict[str, list[Any]]:
    """Return what each field must refuse by its kind."""
    found = {}
    for name, controls in form.visible.items():
        must = name in case.must or any("required" in each.attrs for each in controls)
        if values := bad.values(controls, must):
            found[name] = values
    return found


def waves(name: str, case: Case, form: Form, *, every: bool) -> Iterator[dict[str, Any]]:
    """Yield bad values by kind for all fields at once: one for each, or until each value had its turn."""
    by_kind = {field: values for field, values in bad_of(case, form).items() if field not in case.apart}
    if every:
        for number in range(max((len(values) for values in by_kind.values()), default=0)):
            yield {field: values[number] for field, values in by_kind.items() if number < len(values)}
    elif by_kind:
        yield {field: chosen(name, field, values) for field, values in by_kind.items()}


def alone(name: str, case: Case, form: Form, *, every: bool) -> Iterator[dict[str, Any]]:
    """Yield the bad values that are sent while the rest is right: one for each field, or every one."""
    by_kind = bad_of(case, form)
    for own in ({field: by_kind[field] for field in case.apart}, case.bad):
        for field, values in own.items():
            for value in values if every else [chosen(name, field, values)]:
                yield {field: value}


def together(case: Case, *, every: bool) -> Iterator[tuple[Typed, tuple[str, ...]]]:
    """Yield what is wrong together: one for each set of fields that is blamed, or every one."""
    blamed = set()
    for typed, fields in case.whole:
        if every or fields not in blamed:
            yield typed, fields
        blamed.add(fields)


def chosen(name: str, field: str, values: list[Any]) -> Any:
    """Return another one for each field and form, and the same in each run."""
    return values[crc32(f"{name} {field}".encode()) % len(values)]


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
        assert asked - known or asked == on, f"{name}: the choice was lost ({on} instead of {asked & known})"
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
        ids = {f"#{each.get('id', '')}" for control in form.visible[name] for each in (control.attrs, control.group)}
        assert ids & set(summary["links"]), f"{name}: the list of problems does not lead to it"


def is_refused(name: str, case: Case, form: Form, place: Place, data: dict[str, Any], wrong: dict[str, Any]) -> None:
    """Post what is wrong, and demand all that is promised."""
    var = set(Path(settings.VAR_DIR).rglob("*"))
    with undone() as ledger, same_browser(place.browser):
        answer = sent(place, form, {**data, **wrong})
    shown = {field: str(value)[:30] for field, value in wrong.items()}
    assert answer.status_code in REFUSED, f"{shown} was answered {answer.status_code}"
    written = set(ledger.written) - NOTED
    assert not written, f"{shown} was refused, and {sorted(written)} written"
    left = {each for each in set(Path(settings.VAR_DIR).rglob("*")) - var if each.is_file()}
    assert not left, f"{shown} left {sorted(map(str, left))}"
    html = answer.content.decode()
    assert "<script>alert" not in html, "what was typed came back as it was"
    page = Page(html, place.url)
    back = the_form(page, case.of or name, wrong)
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
            wrong.append(
                f"{name}: {type(problem).__name__ if not isinstance(problem, AssertionError) else ''} {text[0] if text else ''}"
            )
    assert not wrong, "\n".join(wrong)


def is_taken(case: Case, form: Form, place: Place, data: dict[str, Any], *, follow: bool) -> None:
    """Post what is right, and demand that it is done and said."""
    answer = sent(place, form, data)
    assert answer.status_code == case.ends, f"answered {answer.status_code}: {problems(answer)}"
    if case.ends == 302 and not follow:
        said = [each.level_tag for each in answer.wsgi_request._messages._queued_messages]
        assert "error" not in said, "it says that something is wrong"
        assert case.quiet or "success" in said or "info" in said, "it does not say that it was done"
    elif case.ends == 302:
        after = place.browser.get(answer.headers["Location"])
        assert after.status_code == 200, f"led to {answer.headers['Location']}, which answered {after.status_code}"
        text = after.content.decode()
        assert "alert-danger d-flex" not in text, "it says that something is wrong"
        assert case.quiet or "alert-success d-flex" in text, "it does not say that it was done"


def problems(answer: Any) -> str:
    """Return what a page says is wrong."""
    page = Page(answer.content.decode())
    return re.sub(r"\s+", " ", " ".join(each["text"] for each in page.summaries))[:300]
