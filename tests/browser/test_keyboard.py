"""With the keyboard alone, and without scripts: everything is reached, the focus is seen, questions open, close and work."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.live

#: Everything that can be operated and is shown; numbered, with its look while it has no focus.
NUMBER = """() => {
  const reach = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
  const look = (one) => { const s = getComputedStyle(one); return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor,
    s.backgroundColor, s.color, s.textDecorationLine].join('|'); };
  let number = 0;
  for (const one of document.querySelectorAll(reach)) {
    const shown = one.checkVisibility({visibilityProperty: true}) && one.getClientRects().length;
    if (!shown || one.disabled || one.closest('dialog:not([open])') || one.tabIndex < 0) continue;
    // The parts of a date have the focus one after the other, and the browser's own look.
    if (one.type === 'date') continue;
    // Of radio buttons with one name the keyboard reaches one.
    if (one.type === 'radio' && !one.checked) continue;
    one.dataset.number = number++;
    one.dataset.look = look(one) + '#' + look(one.parentElement);
  }
  return number;
}"""
FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one.dataset.number === undefined) return null;
  const look = (one) => { const s = getComputedStyle(one); return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor,
    s.backgroundColor, s.color, s.textDecorationLine].join('|'); };
  return [Number(one.dataset.number), look(one) + '#' + look(one.parentElement) !== one.dataset.look];
}"""
NAMED = "(number) => document.querySelector(`[data-number='${number}']`)?.outerHTML.slice(0, 120)"
PAGES = ("catalogue", "nodes", "node", "deployments", "/packages", "profile", "upload", "/trust", "/members", "/alarms")


@pytest.mark.parametrize("name", PAGES)
def test_everything_is_reached_by_the_tabulator_and_the_focus_is_seen(name: str, open_page: Any) -> None:
    page = open_page(name)
    page.emulate_media(reduced_motion="reduce")
    count = page.evaluate(NUMBER)
    assert count > 5
    reached, unseen = set(), set()
    for _ in range(count + 20):
        page.keyboard.press("Tab")
        if found := page.evaluate(FOCUSED):
            reached.add(found[0])
            if not found[1]:
                for _ in range(20):
                    page.wait_for_timeout(250)
                    again = page.evaluate(FOCUSED)
                    if not again or again[1]:
                        break
                else:
                    unseen.add(found[0])
        if len(reached) == count:
            break
    # What a live part has replaced in the meantime is not there any more, and so was not missed.
    named = [page.evaluate(NAMED, number) for number in sorted(set(range(count)) - reached)]
    missed = [each for each in named if each]
    assert not missed, missed[:5]
    assert not unseen, [page.evaluate(NAMED, number) for number in sorted(unseen)][:5]


def test_the_first_stop_leads_past_the_menu(open_page: Any) -> None:
    page = open_page("nodes")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("skip-link")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('content').contains(document.activeElement)")


def test_escape_says_no_and_the_focus_comes_back(open_page: Any) -> None:
    page = open_page("node")
    opener = page.get_by_role("button", name="Remove")
    opener.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.textContent").strip() == "Keep it as it is"
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert page.evaluate("document.activeElement.getAttribute('commandfor')") == "remove-node"


def test_what_is_wrong_has_the_focus_and_leads_to_the_field(open_page: Any) -> None:
    open_page.watch.expected.append("400 on")
    page = open_page("/nodes/new")
    page.get_by_label("Name").fill("Not A Name!")
    page.get_by_label("Latitude").fill("53.5")
    page.get_by_role("button", name=re.compile("Register")).click()
    summary = page.locator("[data-error-summary]")
    summary.wait_for()
    assert page.evaluate("document.activeElement.hasAttribute('data-error-summary')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id.startsWith('id_')")
    assert page.get_by_label("Latitude").input_value() == "53.5"


def test_without_scripts_a_question_stands_at_the_end_with_what_follows(open_page: Any) -> None:
    page = open_page("node", java_script_enabled=False)
    assert page.get_by_text("The centre forgets the node").is_visible()
    assert page.get_by_role("button", name="Remove the node").is_visible()
