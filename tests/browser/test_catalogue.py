"""The catalogue in a real browser: search while typing, ticking, going back, the sheet of a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.live


def test_typing_and_ticking_change_the_address_and_going_back_undoes_it(open_page: Any) -> None:
    page = open_page("catalogue")
    page.keyboard.press("/")
    page.keyboard.type("edge", delay=30)
    expect(page.get_by_role("status")).to_contain_text("for “edge”")
    page.wait_for_url("**/?q=edge")
    assert page.evaluate("document.activeElement.id") == "catalogue-q", "the answer takes nothing from who types"
    page.get_by_role("checkbox", name="Pier Seven").check()
    page.wait_for_url("**/?q=edge&store=*")
    shown = page.locator(".app-card").count()
    expect(page.get_by_role("status")).to_contain_text(f"{shown} application")
    page.reload()
    expect(page.get_by_role("checkbox", name="Pier Seven")).to_be_checked()
    expect(page.locator(".app-card")).to_have_count(shown)
    page.go_back()
    page.wait_for_url("**/?q=edge")
    expect(page.get_by_role("checkbox", name="Pier Seven")).not_to_be_checked()


def test_a_slip_is_forgiven_while_typing(open_page: Any) -> None:
    page = open_page("catalogue")
    page.get_by_label("Search the catalogue").fill("krane")
    expect(page.get_by_role("note")).to_contain_text("These match crane")
    expect(page.locator(".app-card")).to_have_count(1)


def test_on_a_phone_the_filters_are_a_sheet(open_page: Any) -> None:
    page = open_page("catalogue", width="phone")
    box = page.get_by_role("checkbox", name="gold")
    assert not box.is_visible()
    page.get_by_role("button", name="Filter").click()
    box.check()
    expect(page.get_by_role("button", name="Show 2 applications")).to_be_visible()
    page.get_by_role("button", name="Show 2 applications").click()
    assert not box.is_visible()
    expect(page.locator(".app-card")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_one_follows_an_application_and_reads_of_it(open_page: Any) -> None:
    page = open_page("partner-app")
    page.get_by_role("button", name="Follow", exact=True).click()
    expect(page.get_by_text("You now hear of Factory Twin.")).to_be_visible()
    page.goto(page.url.split("/catalogue")[0] + "/notices")
    expect(page.get_by_role("link", name="Factory Twin")).to_be_visible()
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator("a[href='/notices'] .menu-count")).to_have_count(0)
