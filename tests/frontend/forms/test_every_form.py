"""What holds for each form there is, and for each that will be added: the forms are read from the pages.

Bad input is refused beside its field, what was typed is kept, nothing is written, and everything works without scripts.
No form is unknown, buttons ask before what cannot be taken back, and filters take whatever is typed.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.frontend.conftest import Objects
from tests.frontend.forms import bad
from tests.frontend.forms.buttons import Portal, asks_first, breaks_nothing, is_known, stands
from tests.frontend.forms.register import FORMS
from tests.frontend.forms.trying import all_of, alone, good_of, is_refused, is_taken, standing, together, waves
from tests.frontend.forms.worlds import World


@pytest.fixture
def world(request: pytest.FixtureRequest, objects: Objects, pages: Any, settings: Any) -> World:
    """Everything that there is, at an address at which browsers take passkeys."""
    settings.PUBLIC_URL = "https://store.example.org"
    objects.everything()
    # Made before any form is tried: each form's world is taken back, and a fixture is made once.
    request.getfixturevalue("stranger")
    return World(objects, pages, request.getfixturevalue)


# One test, since one world and one look at each page serve all: each costs seconds.


@pytest.mark.parametrize(
    "every",
    [pytest.param(False, id="one-value-a-field"), pytest.param(True, id="every-value", marks=pytest.mark.live)],
)
@pytest.mark.long
def test_every_form_is_known_refuses_bad_input_beside_the_field_and_buttons_ask_first(
    every: bool, world: World, bare: None
) -> None:
    portal = Portal(world, every=every)
    portal.read()
    is_known(portal)
    posts = [each for each in portal.found if each.form.method == "post"]
    buttons = {each.name: each for each in posts if not each.form.visible}
    all_of(buttons, lambda name: asks_first(buttons[name]))
    all_of(buttons, lambda name: breaks_nothing(buttons[name]))
    filters = {each.name: each for each in portal.found if each.form.method == "get" and each.form.visible}
    # A script filters what is on the map.
    del filters["map"]
    all_of(filters, lambda name: stands(filters[name]))
    all_of(FORMS, lambda name: keeps_its_promises(world, name, every=every))


def keeps_its_promises(world: World, name: str, *, every: bool) -> None:
    """Post one bad value of each sort for each field, or every one, and then what is right."""
    with standing(world, name) as (form, case, place):
        data = good_of(world, case, form)
        odd = {field: text for field, controls in form.visible.items() if (text := bad.odd(controls))}
        for wrong in waves(name, case, form, every=every):
            is_refused(name, case, form, place, {**data, **odd}, wrong)
        for wrong in alone(name, case, form, every=every):
            is_refused(name, case, form, place, data, wrong)
        for typed, blamed in together(case, every=every):
            wrong = {field: value for field, value in typed.items() if field in blamed}
            is_refused(name, case, form, place, {**data, **typed}, wrong)
        if not case.live:
            is_taken(case, form, place, data, follow=every)
