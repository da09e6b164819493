"""Two complete installations become partners from pages alone: own processes, databases, ports and keys."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appstore import making
from tests.flows.storelab import Store, agree, befriend, offer_fields
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

_DIGEST = re.compile(r">([0-9a-f]{64})<")
_RELEASE = """
from django.utils import timezone
from appstore.packages.models import Package
from core.accounts.services import operator
Package.objects.create(organisation=operator(), sha256="a" * 64, size=1, state="published", published_at=timezone.now(),
                       name="hello", provider="Acme", version="1.0")
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    folder = tmp_path_factory.mktemp("stores")
    with Store(folder / "one", "Quay Store") as one, Store(folder / "other", "Harbour Store") as other:
        yield one, other


def test_two_installations_are_partners_from_pages_alone(stores: tuple[Store, Store]) -> None:
    """One story, since each step stands on the one before; the page of the partner is known once they have met."""
    friends = befriend(*stores)
    for step in (
        they_meet_with_fingerprints_that_both_administrators_compare,
        they_agree_on_the_same_bytes_in_both_directions,
        a_counter_proposal_shows_what_differs_and_follows,
        a_recommendation_is_declined_with_a_reason_that_travels_back,
        a_message_waits_for_a_partner_that_is_away,
        a_new_key_is_known_by_the_word_of_the_old_one,
        the_end_is_told_with_its_reason,
    ):
        try:
            step(stores, friends)
        except AssertionError as failed:
            raise AssertionError(f"{step.__name__}: {failed}\n{stores[0].logs()}\n{stores[1].logs()}") from failed


def they_meet_with_fingerprints_that_both_administrators_compare(
    stores: tuple[Store, Store], friends: tuple[str, str]
) -> None:
    (one, other), (ours, theirs) = stores, friends
    for store, page, partner in ((one, ours, other), (other, theirs, one)):
        assert store.pages.text_of(page, "their-fingerprint") == partner.pages.text_of("/partners", "our-fingerprint")
        assert "Propose terms" in store.pages.read(page)


def test_a_wrong_fingerprint_is_refused_on_the_page(stores: tuple[Store, Store], tmp_path: Path) -> None:
    one, _ = stores
    with Store(tmp_path / "third", "Third Store") as third:
        refused = one.pages.send(
            "/partners/meet", on="/partners/meet", status=400, url=third.url, fingerprint="00" * 32, compared="on"
        )
        assert "not the fingerprint" in refused
        assert "Third Store" not in one.pages.read("/partners")


def they_agree_on_the_same_bytes_in_both_directions(stores: tuple[Store, Store], friends: tuple[str, str]) -> None:
    (one, other), (ours, theirs) = stores, friends
    agree(one, ours, other, theirs, categories="Video")
    pages = one.pages.read(f"{ours}/agreement/1"), other.pages.read(f"{theirs}/agreement/1")
    assert _DIGEST.findall(pages[0])[-1] == _DIGEST.findall(pages[1])[-1]
    for page in pages:
        assert page.count("signed</span>") == 2
    # What one offers is what the other is offered.
    assert ">We offer</th>" in pages[0]
    assert "Video" in pages[1]


def a_counter_proposal_shows_what_differs_and_follows(stores: tuple[Store, Store], friends: tuple[str, str]) -> None:
    (one, other), (ours, theirs) = stores, friends
    page = f"{theirs}/agreement"
    fields = {**offer_fields("out"), **offer_fields("in", categories="Video, Games")}
    other.pages.send(page, on=f"{page}?edit", **fields, expires="", contact="")
    until(lambda: "agreement/2" in one.pages.read(f"{ours}/agreement"), 60, what="the counter-proposal")
    shown = one.pages.read(f"{ours}/agreement/2")
    assert "What differs from version 1" in shown
    assert "Games, Video" in shown
    one.pages.send(f"{ours}/agreement/2/accept", on=f"{ours}/agreement/2")
    until(lambda: "in force" in other.pages.read(f"{theirs}/agreement/2"), 60, what="the acceptance")
    assert "followed" in one.pages.read(f"{ours}/agreement")


def a_recommendation_is_declined_with_a_reason_that_travels_back(
    stores: tuple[Store, Store], friends: tuple[str, str]
) -> None:
    (one, other), (ours, theirs) = stores, friends
    one.tell(_RELEASE)
    package = re.findall(r'name="package" value="([^"]+)"', one.pages.read(f"{ours}/ours"))[0]
    one.pages.send(f"{ours}/recommend", on=f"{ours}/ours", package=package, note="try it")
    there = f"{theirs}/recommendations"
    until(lambda: "try it" in other.pages.read(there), 60, what="the notice")
    notice = re.findall(r'name="recommendation" value="([^"]+)"', other.pages.read(there))[0]
    other.pages.send(f"{theirs}/answer", on=there, recommendation=notice, answer="decline", reason="no cameras here")
    until(lambda: "no cameras here" in one.pages.read(f"{ours}/recommendations"), 60, what="the answer")


def a_message_waits_for_a_partner_that_is_away(stores: tuple[Store, Store], friends: tuple[str, str]) -> None:
    (one, other), (ours, theirs) = stores, friends
    other.stop()
    one.pages.send(f"{ours}/suspend", on=ours, reason="a look at the logs")
    until(lambda: "cannot be reached" in one.pages.read(ours), 60, what="the trouble to be shown")
    other.start()
    one.pages.send(f"{ours}/deliver", on=ours)
    until(lambda: "It has suspended us" in other.pages.read(theirs), 60, what="the suspension to arrive")
    one.pages.send(f"{ours}/resume", on=ours)
    until(lambda: "It has suspended us" not in other.pages.read(theirs), 60, what="the resumption to arrive")


def a_new_key_is_known_by_the_word_of_the_old_one(stores: tuple[Store, Store], friends: tuple[str, str]) -> None:
    (one, other), (_, theirs) = stores, friends
    before = one.pages.text_of("/partners", "our-fingerprint")
    one.pages.send("/partners/key", on="/partners")
    after = one.pages.text_of("/partners", "our-fingerprint")
    assert after != before
    until(lambda: other.pages.text_of(theirs, "their-fingerprint") == after, 60, what="the new key to be known")
    assert "version 2" in other.pages.read(theirs)


def the_end_is_told_with_its_reason(stores: tuple[Store, Store], friends: tuple[str, str]) -> None:
    (one, other), (ours, theirs) = stores, friends
    other.pages.send(f"{theirs}/end", on=theirs, reason="the pilot is over")
    until(lambda: "the pilot is over" in one.pages.read(ours), 60, what="the end to arrive")
    assert "none in force" in one.pages.read(ours)


_PUBLISH = """
import time
from pathlib import Path
from appstore.packages import services
from appstore.packages.models import Package
from core.accounts.access import SYSTEM
from core.accounts.services import operator
from core.operations import services as operations
services.receive([Path({path!r}).read_bytes()], actor=SYSTEM, organisation=operator(), filename="app.csar")
package = Package.objects.own().get(sha256={sha256!r})
while package.state == "draft":
    # The store's own worker may have begun the check already.
    operations.run_due()
    time.sleep(0.1)
    package.refresh_from_db()
services.publish(package, actor=SYSTEM)
"""
_YANK = """
from appstore.packages import life
from appstore.packages.models import Package
from core.accounts.access import SYSTEM
life.yank(Package.objects.own().get(), actor=SYSTEM, reason="It leaks memory")
"""


def publish(store: Store, folder: Path, provider: str) -> None:
    """Publish a package of that provider in the store, by the services that its pages use."""
    files = making.edgegallery_files()
    content = making.zip_bytes({"hello.mf": making.manifest_of(files, app_provider_id=provider), **files})
    path = folder / f"{provider}.csar"
    path.write_bytes(content)
    store.tell(_PUBLISH.format(path=str(path), sha256=hashlib.sha256(content).hexdigest()))


def test_releases_and_their_end_travel_in_both_directions(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    with Store(folder / "one", "Quay Store") as one, Store(folder / "other", "Harbour Store") as other:
        publish(one, tmp_path, "North Apps")
        publish(other, tmp_path, "South Apps")
        ours, theirs = befriend(one, other)
        agree(one, ours, other, theirs)
        for store, page, provider in ((one, ours, "South Apps"), (other, theirs, "North Apps")):

            def offered(store: Store = store, page: str = page, provider: str = provider) -> bool:
                store.pages.send(f"{page}/sync", on=page)
                return provider in store.pages.read(f"{page}/offers")

            until(offered, 60, what=f"the offer of {provider}")
            offer = re.findall(r'name="offer" value="([^"]+)"', store.pages.read(f"{page}/offers"))[0]
            store.pages.send(f"{page}/import", on=f"{page}/offers", offer=offer)
            until(
                lambda store=store, page=page, provider=provider: (
                    provider in store.pages.read(f"{page}/offers?state=here")
                ),
                60,
                what=f"the package of {provider}",
            )
        # Both stores now have both packages; the copies say where they come from.
        for store, partner in ((one, "Harbour Store"), (other, "Quay Store")):
            assert partner in store.pages.read("/")
        one.tell(_YANK)

        def gone() -> bool:
            other.pages.send(f"{theirs}/sync", on=theirs)
            return "yanked" in other.tell(_STATES)

        until(gone, 60, what="the withdrawal to arrive")
        # The copy was not published yet, and now nobody can: its original is gone.
        assert "It leaks memory" in other.tell(_PUBLISH_COPY)


_STATES = """
from appstore.federation.models import RemoteRelease
print(list(RemoteRelease.objects.values_list("state", flat=True)))
"""
_PUBLISH_COPY = """
from appstore.packages import services
from appstore.packages.models import Package
from core.accounts.access import SYSTEM
from core.errors import Conflict
try:
    services.publish(Package.objects.exclude(origin="").get(), actor=SYSTEM)
except Conflict as refused:
    print(refused.detail)
"""
