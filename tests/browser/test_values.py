"""The form of a chart's values in a real browser: typed, told beside the field, mended, planned, deployed."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.live


def problem_of(page: Any, field: Any) -> Any:
    """Where the field says that its message is."""
    return page.locator(f"#{field.get_attribute('aria-describedby').split()[0]}")


def test_from_a_mistake_to_a_deployment(open_page: Any, site: Any) -> None:
    page = open_page("deploy")
    name = f"crane-{uuid.uuid4().hex[:6]}"
    page.get_by_role("textbox", name="Name").fill(name)
    copies = page.get_by_role("textbox", name="Copies replicas")
    copies.fill("many")
    expect(problem_of(page, copies)).to_have_text("This must be a whole number.")
    expect(copies).to_have_attribute("aria-invalid", "true")
    expect(copies).to_be_focused()
    copies.fill("99")
    expect(problem_of(page, copies)).to_have_text("This must be at most 8.")
    expect(page.locator("[data-values-status]")).to_have_text("1 value needs attention.")

    copies.fill("3")
    expect(problem_of(page, copies)).to_be_empty()
    expect(copies).not_to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("1 value differs from the chart's own.").first).to_be_visible()
    page.get_by_role("textbox", name="admin.password").fill("an open secret")
    simulated = page.get_by_role("radio", name=re.compile("shenzhen-yantian"))
    expect(simulated).to_be_enabled()

    page.get_by_role("button", name="YAML").click()
    text = page.get_by_role("textbox", name="Values")
    expect(text).to_have_value(re.compile("replicas: 3\nadmin:\n  password: .secret"))
    expect(page.get_by_role("button", name="YAML")).to_be_focused()
    text.fill(text.input_value() + "\nhosts: [")
    page.get_by_role("button", name="Form").click()
    expect(page.locator("#values_error")).to_have_text(re.compile(r"Line \d, column \d"))
    text.fill(text.input_value().replace("hosts: [", "hosts: [quay.example]"))
    page.get_by_role("button", name="Form").click()
    expect(page.get_by_role("textbox", name="hosts")).to_have_value("quay.example")
    expect(copies).to_have_value("3")

    level = page.get_by_role("combobox", name="log.level")
    level.select_option("debug")
    page.get_by_role("button", name="Reset log.level to the chart's own").click()
    expect(level).to_have_value('"info"')
    expect(level).to_be_focused()

    expect(simulated).to_be_enabled()
    simulated.check()
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.wait_for_url(re.compile(r"/deployments/[0-9a-f-]{36}$"))
    expect(page.locator("pre").filter(has_text="replicas: 3")).to_be_visible()
    expect(page.get_by_text("an open secret")).to_have_count(0)
    stored = site.tell(
        f"from mecm.deployments.models import Deployment; print(Deployment.objects.get(name='{name}').values)"
    )
    assert "'replicas': 3" in stored
    assert "'password': 'an open secret'" in stored
    assert "'hosts': ['quay.example']" in stored
    assert "'log'" not in stored


def test_an_upgrade_follows_what_is_typed_and_fields_are_found(open_page: Any) -> None:
    page = open_page("upgrade")
    plan = page.locator("#plan")
    page.get_by_role("textbox", name="Copies replicas").fill("5")
    expect(plan.get_by_role("row", name=re.compile("replicas 2 5"))).to_be_visible()
    find = page.get_by_role("searchbox", name="Find a value by its name")
    find.fill("password")
    expect(page.get_by_role("textbox", name="admin.password")).to_be_visible()
    expect(page.get_by_role("textbox", name="Copies replicas")).to_be_hidden()
    find.fill("")
    expect(page.get_by_role("textbox", name="Copies replicas")).to_be_visible()


@pytest.mark.parametrize("width", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_is_clean_for_screen_readers_and_nothing_sticks_out(open_page: Any, width: str, scheme: str) -> None:
    page = open_page("deploy", width=width, scheme=scheme)
    copies = page.get_by_role("textbox", name="Copies replicas")
    copies.fill("99")
    expect(problem_of(page, copies)).to_have_text("This must be at most 8.")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
