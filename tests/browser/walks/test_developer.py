"""A developer brings an application from the upload to the catalogue, mistakes on the way included."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.walks import goods
from tests.browser.walks.quay import Quay
from tests.browser.walks.walker import Walker
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.live, pytest.mark.timeout(300 * PATIENCE)]
ABOUT = "Counts ships that pass the pier, and tells how many wait."


def test_a_developer_goes_from_upload_to_published(quay: Quay, walker: Callable[..., Walker]) -> None:
    package = goods.csar("ship-count", "1.0.0", provider="Pier Labs", about=ABOUT, category="Video analytics")
    developer = walker(quay.url, "developer")
    with developer.step("finds the way to upload, and sends a file that is no package"):
        developer.follow("Upload")
        developer.heads("Upload a package")
        developer.upload("Drop packages here", "holiday.zip", b"not even an archive")
        developer.sees("holiday.zip ·")
        developer.press("Upload")
        developer.sees("It cannot be published like this")
        developer.sees(re.compile("[0-9] error"))
    with developer.step("throws it away"):
        developer.press("Discard")
        developer.agrees("Discard")
        developer.heads("My packages")
    with developer.step("sends a package that was changed after its manifest was written, and reads what is wrong"):
        developer.follow("Upload")
        developer.upload("Drop packages here", "ship-count.csar", goods.damaged(package, "ChangeLog.txt"))
        developer.press("Upload")
        developer.heads("ship-count")
        developer.marks()
        developer.sees("It cannot be published like this")
        assert developer.stayed(), "the page had to be loaded again to tell how the check ended"
        developer.sees("Artifacts/ChangeLog.txt")
        developer.sees(re.compile("manifest"))
    with developer.step("mends it, sends it again and sees that it can be published"):
        developer.follow("Upload")
        developer.upload("Drop packages here", "ship-count.csar", package)
        developer.press("Upload")
        developer.heads("ship-count")
        developer.sees("Ready to be published")
        developer.sees(ABOUT)
    with developer.step("reads what others will see inside"):
        developer.follow("Inside")
        developer.sees("What it asks for")
        developer.sees("How many run at once")
    with developer.step("writes notes for those who will run it"):
        developer.follow("Life")
        developer.fill("Notes", "Give it a camera that sees the fairway.")
        developer.press("Keep the notes")
        developer.sees("Give it a camera that sees the fairway.")
    with developer.step("asks for publication, and reads that somebody else looks first"):
        developer.follow("Overview")
        developer.press("Publish")
        developer.agrees("Publish")
        developer.sees("It waits for a reviewer")

    reviewer = walker(quay.url, "certifier")
    with reviewer.step("approves it"):
        reviewer.follow("To review")
        reviewer.follow("ship-count 1.0.0")
        reviewer.press("Approve")
        reviewer.agrees("Approve")
        reviewer.sees("approved")

    with developer.step("finds it in the catalogue"):
        developer.follow("Catalogue")
        developer.fill("Search the catalogue", "ships that pass")
        developer.sees("ship-count")
        developer.follow("ship-count")
        developer.heads("ship-count")
        developer.sees("Video analytics")
    with developer.step("finds it among the own packages, and that it never changes any more"):
        developer.follow("My packages")
        developer.follow("ship-count 1.0.0")
        developer.follow("Life")
        developer.sees("seen by everybody")
        developer.sees("Give it a camera that sees the fairway.")
    stranger = walker(quay.url)
    with stranger.step("sees it without an account"):
        stranger.go("/")
        stranger.follow("ship-count")
        stranger.sees(ABOUT)
