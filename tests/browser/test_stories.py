"""What people do, by what they see."""

from __future__ import annotations

import io
import re
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.waiting import PATIENCE

pytestmark = pytest.mark.live


def chart(name: str) -> bytes:
    """Return a packed Helm chart that nobody has uploaded before."""
    deployment = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        about = f"apiVersion: v2\nname: {name}\nversion: 1.0.0\ndescription: Made by a test\nmaintainers: [{{name: Acme}}]\n"
        for member, text in {"Chart.yaml": about, "values.yaml": "a: 1\n", "templates/x.yaml": deployment}.items():
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def choose(page: Any, name: str, content: bytes) -> None:
    """Choose a file in the upload form."""
    page.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def test_from_upload_to_the_catalogue(open_page: Any, site: Any) -> None:
    name = f"buoy-{uuid.uuid4().hex[:6]}"
    page = open_page("upload")
    button = page.get_by_role("button", name="Upload", exact=True)
    choose(page, f"{name}.tgz", chart(name))
    expect(page.get_by_text(f"{name}.tgz ·")).to_be_visible()
    button.click()
    page.wait_for_url(re.compile(r"/packages/[0-9a-f-]{36}$"))
    # The worker checks it meanwhile; nobody reloads.
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    expect(page.get_by_text("Ready to be published")).to_be_visible(timeout=20_000 * PATIENCE)
    page.get_by_role("button", name="Publish").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("never changes")
    dialog.get_by_role("button", name="Keep it as it is").click()
    expect(dialog).not_to_be_visible()
    page.get_by_role("button", name="Publish").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Publish").click()
    expect(page.get_by_text("is in the catalogue now")).to_be_visible()
    page.goto(site.url)
    page.get_by_label("Search the catalogue").fill(name)
    expect(page.get_by_text("1 application for")).to_be_visible()


def test_a_file_that_is_no_package_gets_findings(open_page: Any) -> None:
    page = open_page("upload")
    picture = b"\x89PNG\r\n\x1a\n" + uuid.uuid4().bytes
    page.locator("input[type=file]").set_input_files(
        {"name": "holiday.png", "mimeType": "image/png", "buffer": picture}
    )
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("It cannot be published like this")).to_be_visible(timeout=20_000 * PATIENCE)
    expect(page.locator(".finding").first).to_be_visible()


def test_a_file_can_be_dropped(open_page: Any) -> None:
    page = open_page("upload")
    data = page.evaluate_handle(
        "() => { const d = new DataTransfer(); d.items.add(new File(['x'], 'dropped.csar')); return d; }"
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": data})
    expect(page.get_by_text("dropped.csar ·")).to_be_visible()


def test_the_deploy_page_judges_as_one_types_and_deploys(open_page: Any) -> None:
    page = open_page("deploy")
    page.get_by_role("textbox", name="Name").fill(f"crane-{uuid.uuid4().hex[:6]}")
    node = page.get_by_role("radio", name=re.compile("helsinki-quay"))
    expect(node).to_be_enabled()
    page.get_by_role("button", name="YAML").click()
    values = page.get_by_role("textbox", name="Values")
    values.fill("cpu: 900000m")
    expect(page.get_by_text("It fits on none of your nodes")).to_be_visible()
    values.fill("replicas: [")
    expect(page.get_by_text("Mend what is marked first")).to_be_visible()
    values.fill("replicas: 2")
    expect(node).to_be_enabled()
    node.check()
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.wait_for_url(re.compile(r"/deployments/[0-9a-f-]{36}$"))
    expect(page.get_by_text("waiting").first).to_be_visible()


OBSERVE = """
from mecm.deployments import services
from mecm.deployments.models import Deployment
d = Deployment.objects.get(pk="{pk}")
services.observe(d.pk, d.generation, {{"state": "{state}", "reason": "{reason}", "message": "{message}"}})
"""


@pytest.mark.parametrize("way", ["stream", "poll"])
def test_the_page_follows_the_state_without_being_reloaded(way: str, open_page: Any, site: Any) -> None:
    page = open_page()
    if way == "poll":
        page.route("**/stream", lambda route: route.abort())
        open_page.watch.expected.append("ERR_FAILED")
    address = site.pages["waiting"]
    site.tell(OBSERVE.format(pk=Path(address).name, state="progressing", reason="Starting", message=""))
    page.goto(site.url + address)
    page.wait_for_selector(f"[data-live$='/stream'][data-live-mode='{way}']")
    page.evaluate("window.stayed = true")
    expect(page.get_by_text("in progress").first).to_be_visible()
    message = f"The probe of {way} fails"
    site.tell(OBSERVE.format(pk=Path(address).name, state="failed", reason="ProbeFailing", message=message))
    expect(page.get_by_text(message).first).to_be_visible(timeout=10_000 * PATIENCE)
    expect(page.get_by_text("ProbeFailing").first).to_be_visible()
    assert page.evaluate("window.stayed")


def test_logs_come_by_themselves(open_page: Any) -> None:
    page = open_page("deployment")
    expect(page.get_by_text("frame 39 relayed")).to_be_attached()


def test_a_join_string_can_be_copied(open_page: Any, site: Any) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(site.url + site.pages["node"])
    page.get_by_role("button", name="Make a join string").click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "enrol mec1." in page.evaluate("navigator.clipboard.readText()")


def test_a_dangerous_deed_is_asked_about_and_can_be_left(open_page: Any) -> None:
    page = open_page("deployment")
    page.get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Remove this deployment?")
    expect(dialog).to_be_visible()
    # Enter on what has the focus keeps it.
    page.keyboard.press("Enter")
    expect(dialog).not_to_be_visible()
    expect(page.get_by_text("being removed")).not_to_be_visible()


def test_everything_that_is_not_live_works_without_scripts(open_page: Any, site: Any) -> None:
    page = open_page(user="", java_script_enabled=False)
    page.goto(f"{site.url}/nodes")
    page.get_by_label("User name").fill("harbour-admin")
    page.get_by_label("Password").fill("a walk along the quay")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/nodes")
    page.goto(site.url + site.pages["upload"])
    name = f"plain-{uuid.uuid4().hex[:6]}"
    choose(page, f"{name}.tgz", chart(name))
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url(re.compile(r"/packages/[0-9a-f-]{36}$"))
    page.goto(site.url + site.pages["deploy"])
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.wait_for_url(re.compile(r"/deployments/[0-9a-f-]{36}$"))
    page.goto(site.url + site.pages["deployment"])
    page.get_by_role("link", name="Show the logs").click()
    expect(page.get_by_text("frame 39 relayed")).to_be_visible()
