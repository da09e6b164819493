"""Two administrators make partners of their stores, in two installations that know nothing of each other but HTTP.

Everything from pages, also the release that travels: what one publishes, the other fetches and publishes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.walks import goods
from tests.browser.walks.walker import Walker
from tests.flows.storelab import Store
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.live, pytest.mark.timeout(300 * PATIENCE)]

ABOUT = "Tells pilots where the current is strong."


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """Two stores, each with its own processes, database and key, and an administrator who is alone there."""
    folder = tmp_path_factory.mktemp("stores")
    with Store(folder / "north", "North Quay") as north, Store(folder / "south", "South Quay") as south:
        yield north, south


def test_administrators_federate_two_stores(stores: tuple[Store, Store], walker: Callable[..., Walker]) -> None:
    north, south = (walker(store.url, "admin") for store in stores)
    north.story, south.story = "administrator-north", "administrator-south"

    with north.step("publishes a release of its own"):
        north.follow("Upload")
        north.upload(
            "Drop packages here", "pilot-aid.csar",
            goods.csar("pilot-aid", "1.0.0", provider="North Apps", about=ABOUT, category="Navigation"),
        )  # fmt: skip
        north.press("Upload")
        north.heads("pilot-aid")
        north.press("Publish")
        north.agrees("Publish")
        north.sees("is in the catalogue now")
    with north.step("reads out the invitation and the fingerprint of the store"):
        north.follow("Partner stores")
        invitation, norths = north.reads("Invitation"), north.reads("Our fingerprint")
    with south.step("looks who answers at the invitation"):
        south.follow("Partner stores")
        souths = south.reads("Our fingerprint")
        south.follow("Meet a store")
        south.fill("Address or invitation", invitation)
        south.press("Look who answers")
        south.sees("Is this the store that you mean?")
        south.sees("North Quay")
        assert south.reads("Its fingerprint") == norths
    with south.step("mishears the fingerprint, and is refused", refused=400):
        south.fill("Fingerprint, as the other administrator told you", "00 " * 32)
        south.tick(re.compile("^I had this fingerprint"))
        south.press("Confirm and introduce us")
        south.sees("not the fingerprint")
    with south.step("hears it again and confirms"):
        south.fill("Fingerprint, as the other administrator told you", norths)
        south.tick(re.compile("^I had this fingerprint"))
        south.press("Confirm and introduce us")
        south.heads("North Quay")
        south.sees("Waiting for its administrator")
    with north.step("finds who introduced itself, compares and confirms"):
        north.again_until("South Quay")
        north.follow("Compare fingerprints")
        assert north.reads("Its fingerprint") == souths
        north.fill("Fingerprint, as the other administrator told you", souths)
        north.tick(re.compile("^I had this fingerprint"))
        north.press("Confirm")
        north.sees("Nothing is agreed yet")
    with north.step("proposes terms in both directions"):
        north.follow("Propose terms")
        for title in ("What we offer", "What it offers us"):
            part = north.page.get_by_role("group", name=title)
            north.tick("Releases go this way", within=part)
            north.fill("Largest package, MiB", "100", within=part)
        north.fill("Our contact", "noc@north.example")
        north.press("Sign and propose")
        north.sees("Version 1")
    with south.step("reads the terms and signs them"):
        south.again_until("Terms are proposed")
        south.follow("See the terms")
        south.follow("Version 1")
        south.sees("noc@north.example")
        south.press("Accept")
        south.agrees("Sign and accept")
        south.sees("in force")
    with north.step("sees that they are in force"):
        north.again_until("in force")
    with south.step("syncs, and sees what the partner offers"):
        south.follow("Overview")
        south.press("Sync now")
        south.follow("Offers", within=south.page.get_by_role("navigation", name="About this partner"))
        south.again_until("pilot-aid", "cell")
    with south.step("fetches it"):
        south.press("Import pilot-aid 1.0.0")
        south.again_until("checked", "link")
        south.follow("checked")
        south.heads("pilot-aid")
        south.sees(ABOUT)
    with south.step("publishes it from the page, and finds it in the catalogue with where it comes from"):
        south.press("Publish")
        south.agrees("Publish")
        south.sees("is in the catalogue now")
        south.follow("Catalogue")
        south.follow("pilot-aid")
        south.follow("Versions and notices")
        south.sees("North Quay")
    with north.step("withdraws it"):
        north.follow("My packages")
        north.follow("pilot-aid 1.0.0")
        north.follow("Life")
        north.press("Yank")
        dialog = north.dialog()
        north.fill(re.compile("^Reason"), "The charts are a year old", within=dialog)
        north.press("Yank", within=dialog)
        north.sees("The charts are a year old")
    with south.step("hears of it at the next sync"):
        south.follow("Partner stores")
        south.follow("North Quay")
        south.press("Sync now")
        south.follow("Offers", within=south.page.get_by_role("navigation", name="About this partner"))
        south.again_until("yanked", "cell", press="Sync now")
    expect(south.page.get_by_role("main")).to_contain_text("pilot-aid")
