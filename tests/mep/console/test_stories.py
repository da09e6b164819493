"""What an operator does at a node whose centre is away, in a real browser against real processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mep.console.conftest import PASSWORD, Node
from tests.waiting import until

pytestmark = pytest.mark.live


def test_a_rule_is_made_tested_and_removed_while_the_centre_is_away(open_page: Any, node: Node) -> None:
    open_page.watch.expected.append("400")  # the first try of the form is wrong
    page = open_page("/dns/new", known=False)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dns/new")

    # A name, answered by the responder of this node a moment later.
    page.get_by_label("For the application").select_option("v2x-broker-44d0")
    page.get_by_label("Rule id").fill("story")
    page.get_by_label("Domain name").fill("story.example")
    page.get_by_label("Answer with").fill("10.60.0.999")
    page.get_by_role("button", name="Make the rule").click()
    assert page.locator("#id_address_error").inner_text() == "This is no IP address"
    assert page.get_by_label("Domain name").input_value() == "story.example"
    page.get_by_label("Answer with").fill("10.60.0.77")
    page.get_by_role("button", name="Make the rule").click()
    page.get_by_role("link", name="Try a query").click()
    page.wait_for_url("**/dns?name=story.example*")
    assert page.get_by_text("10.60.0.77", exact=True).count() >= 1
    until(lambda: _asked_again(page), what="the responder to answer")

    # A traffic rule, switched on and asked about a packet.
    page.goto(f"{node.url}/traffic/new?app=v2x-broker-44d0")
    page.get_by_label("Rule id").fill("story-traffic")
    page.get_by_label("Priority").fill("1")
    page.get_by_label("To (addresses)").fill("203.0.113.200")
    page.get_by_label("To the app at").fill("10.60.0.77")
    page.get_by_role("button", name="Make the rule").click()
    page.get_by_role("button", name="Activate").click()
    page.get_by_text("Rule story-traffic is active.").wait_for()
    page.goto(f"{node.url}/traffic?src=10.45.0.7&dst=203.0.113.200&protocol=UDP&src_port=1&dst_port=1&dscp=0")
    assert "should decide, but is pending" in page.locator(".verdict").inner_text()

    # What the user plane says appears without a reload, in the table and in the picture.
    page.goto(f"{node.url}/traffic?q=story-traffic")
    _count(node, 41)
    page.locator(".way-wide").get_by_text("41").wait_for()
    _count(node, 4242)
    page.locator("td", has_text="4242").wait_for()
    page.goto(f"{node.url}/traffic?src=10.45.0.7&dst=203.0.113.200&protocol=UDP&src_port=1&dst_port=1&dscp=0")
    assert "It goes to V2X message broker at 10.60.0.77" in page.locator(".verdict").inner_text()

    # Both go again; each asks first.
    for path, name in (("/traffic?q=story-traffic", "story-traffic"), ("/dns?q=story.example", "story.example")):
        page.goto(node.url + path)
        page.get_by_role("row").get_by_role("link", name=name).click()
        page.get_by_role("button", name="Remove").click()
        dialog = page.get_by_role("dialog")
        assert "Remove this rule?" in dialog.inner_text()
        dialog.get_by_role("button", name="Keep it as it is").click()
        assert not dialog.is_visible()
        page.get_by_role("button", name="Remove").click()
        dialog.get_by_role("button", name="Remove the rule").click()
        page.get_by_text("is removed.").wait_for()
    page.goto(node.url)
    assert "Cut off from the centre since" in page.locator("#link-title").inner_text()


def test_a_centre_that_comes_back_is_seen_without_a_reload(open_page: Any, node: Node) -> None:
    page = open_page("overview")
    assert "Cut off" in page.locator("#link-title").inner_text()
    node.tell("import time; from mep.agent import store; store.note_link('connected', now=time.time())")
    page.get_by_text("Connected to the centre").wait_for()
    node.tell("import time; from mep.agent import store; store.note_link('cut-off', 'again', now=time.time() + 86400)")
    page.get_by_text("Cut off from the centre since").wait_for()


def test_forms_work_without_scripts(open_page: Any, node: Node) -> None:
    page = open_page("/dns/new", java_script_enabled=False)
    page.get_by_label("For the application").select_option("v2x-broker-44d0")
    page.get_by_label("Rule id").fill("plain")
    page.get_by_label("Domain name").fill("plain.example")
    page.get_by_label("Answer with").fill("10.60.0.78")
    page.get_by_role("button", name="Make the rule").click()
    page.get_by_role("button", name="Remove").click()  # the dialog is the platform's own
    page.get_by_role("dialog").get_by_role("button", name="Remove the rule").click()
    page.get_by_text("is removed.").wait_for()


def test_a_chosen_theme_outlives_the_page(open_page: Any) -> None:
    page = open_page("traffic", scheme="light")
    page.get_by_role("button", name="Your menu").click()
    page.get_by_role("button", name="Dark").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"


def test_the_keyboard_reaches_the_content_and_the_rules_of_the_picture(open_page: Any) -> None:
    page = open_page("traffic")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.locator(".way-wide a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/traffic/*")


def test_signing_out_ends_it(open_page: Any, node: Node) -> None:
    page = open_page("/sign-in", known=False)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Your menu").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("You are signed out.").wait_for()
    page.goto(f"{node.url}/traffic")
    assert page.url.startswith(f"{node.url}/sign-in")


def _asked_again(page: Any) -> bool:
    """Ask once more and return whether the running responder gave the address."""
    page.reload()
    return "10.60.0.77 (for 30 s)" in page.content()


def _count(node: Node, packets: int) -> None:
    """Let the user plane say that it has the rule and has counted."""
    node.tell(
        "from mep.mp1.models import TrafficRule as R; import time;"
        f"R.objects.filter(rule_id='story-traffic').update(enforcement='in-force', packets={packets}, counted_at=time.time())"
    )
