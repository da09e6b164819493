"""What this store offers, as a partner sees it who walks through our feed with a key of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from django.test import Client
from django.utils import timezone

from appstore.federation import feed, imports, roots, serials, signing, terms, trustroot
from appstore.federation.feed_handlers import build_feeds  # noqa: F401  (the handler is known)
from appstore.federation.models import Peer, ReleaseGrant
from appstore.federation.models_feed import FeedAudience, FeedFile, FeedPartner
from appstore.federation.trustroot import Held
from appstore.federation.walk import News, Party, walk
from appstore.keys import services as keys
from appstore.packages import blobs, services
from appstore.packages.models import Blob, Package
from core import dsse
from core.accounts.access import SYSTEM
from core.errors import Conflict
from core.operations.models import Operation
from tests.appstore.federation.forge import Said, agree, new_key

ROOT = "/api/v1/federation/"


class Partner:
    """A partner store that asks ours, as `transfer.Link`: signed, and over our real views."""

    def __init__(self, organisation: Any, out: terms.Offer | None = None, name: str = "Harbour") -> None:
        self.key = new_key()
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        now = timezone.now()
        self.peer = Peer.objects.create(
            organisation=organisation, store_id=dsse.key_id(self.key.public_key()), public_pem=pem.decode(), name=name,
            url="http://127.0.0.1:9", state="active", confirmed_at=now, they_confirmed_at=now,
        )  # fmt: skip
        agree(self.peer, out=out or terms.Offer())
        self.sent = 0

    def ask(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        store = keys.current(keys.STORE)
        signed = signing.sign(self.key, "GET", ROOT + path, b"", audience=store.pk, now=timezone.now().timestamp())
        return Client().get(ROOT + path, headers={**(headers or {}), **signed})

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
        response = self.ask(path, headers)
        body = response.getvalue()
        yield Said(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body, self)

    def follow(self, news: News | None = None, now: Any = None) -> News:
        store = keys.current(keys.STORE)
        party = Party(us=self.peer.store_id, them=store.pk, key=dsse.load_public(store.public_pem))
        at = {"serial": news.serial if news else 0, "etag": news.etag if news else "", "now": now or timezone.now()}
        return walk(self, party, news.held if news else Held(), **at)


@pytest.fixture
def partner(organisation: Any) -> Partner:
    return Partner(organisation)


@pytest.fixture
def publish(organisation: Any) -> Any:
    """Make a release; its bytes are its name."""

    def make(name: str, content: bytes = b"", **facts: Any) -> Package:
        content = content or name.encode()
        sha256, size = blobs.store([content])
        usual = {"state": "published", "published_at": timezone.now(), "provider": "Acme", "version": "1.0"}
        package = Package.objects.create(
            organisation=organisation, sha256=sha256, size=size, name=name, **{**usual, **facts}
        )
        package.blobs.add(Blob.objects.get_or_create(sha256=sha256, defaults={"size": size})[0])
        serials.note_change(package)
        return package

    return make


def names(news: News) -> set[str]:
    assert news.full is not None
    return {release["name"] for release in news.full.values()}


def test_a_partner_sees_what_is_public_and_nothing_else(partner: Partner, publish: Any) -> None:
    publish("open")
    publish("inside", visibility="organisation")
    publish("granted-to-others", visibility="partners")
    publish("draft", state="checked", published_at=None)
    publish("fetched", origin="e" * 64)
    serials.build()
    assert names(partner.follow()) == {"open"}


def test_what_is_granted_to_one_partner_is_offered_to_that_one(
    partner: Partner, publish: Any, organisation: Any
) -> None:
    other = Partner(organisation, name="Other")
    secret = publish("secret", visibility="partners")
    granted = ReleaseGrant.objects.create(package=secret, peer=partner.peer)
    publish("open")
    serials.build()
    assert names(partner.follow()) == {"open", "secret"}
    assert names(other.follow()) == {"open"}
    assert partner.ask(f"blobs/{secret.sha256}").status_code == 200
    # Taken back it is handed out no more, although the feed still speaks of it.
    granted.delete()
    assert partner.ask(f"blobs/{secret.sha256}").status_code == 404


def test_the_agreement_decides_what_is_offered(organisation: Any, publish: Any) -> None:
    partner = Partner(organisation, terms.Offer(providers=("Acme",)))
    publish("ours")
    publish("other", provider="Umbrella")
    serials.build()
    assert names(partner.follow()) == {"ours"}


def test_a_feed_of_many_releases_takes_no_more_queries_than_one_of_few(
    partner: Partner, publish: Any, organisation: Any, django_assert_max_num_queries: Any
) -> None:
    Partner(organisation, name="Equal")
    for number in range(40):
        publish(f"app-{number}")
    # Some hundreds, when each release was described by itself.
    with django_assert_max_num_queries(125):
        serials.build()
    assert len(names(partner.follow())) == 40


def test_partners_with_equal_terms_share_one_feed(partner: Partner, publish: Any, organisation: Any) -> None:
    Partner(organisation, name="Equal")
    Partner(organisation, terms.Offer(providers=("Acme",)), name="Unequal")
    publish("open")
    serials.build()
    assert FeedAudience.objects.count() == 2
    assert FeedPartner.objects.count() == 3


def test_limits_a_day_make_no_feed_of_their_own(partner: Partner, publish: Any, organisation: Any) -> None:
    Partner(organisation, terms.Offer(limits=terms.Limits(bytes_per_day=5)), name="Small")
    serials.build()
    assert FeedAudience.objects.count() == 1


def test_changes_travel_as_diffs(partner: Partner, publish: Any) -> None:
    first, second = publish("one"), publish("two")
    serials.build()
    news = partner.follow()
    publish("three")
    services.withdraw(second, actor=SYSTEM, reason="It leaks")
    first.visibility = "organisation"
    Package.objects.filter(pk=first.pk).update(visibility="organisation")
    serials.note_change(first)
    serials.build()
    later = partner.follow(news)
    assert later.full is None
    after = feed.apply(news.full or {}, later.patches[0])
    assert {release["name"]: release["state"] for release in after.values()} == {
        "two": "yanked",
        "three": "published",
    }
    assert after[str(second.pk)]["reason"] == "It leaks"


def test_what_was_never_offered_is_not_told_when_it_is_withdrawn(partner: Partner, publish: Any) -> None:
    serials.build()
    package = publish("brief")
    services.withdraw(package, actor=SYSTEM, reason="A mistake")
    serials.build()
    assert names(partner.follow()) == set()


def test_publishing_asks_for_a_build_and_a_build_without_change_does_nothing(partner: Partner, publish: Any) -> None:
    publish("one")
    publish("two")
    assert Operation.objects.filter(kind=serials.BUILD).count() == 1
    assert serials.build().serials
    again = serials.build()
    assert (again.serials, again.signed) == ({}, False)


def test_a_request_builds_nothing(partner: Partner, publish: Any) -> None:
    publish("one")
    assert partner.ask("feed").status_code == 404
    assert not FeedFile.objects.exists()


def test_a_partner_whose_agreement_changes_moves_and_takes_a_whole_listing(partner: Partner, publish: Any) -> None:
    publish("ours")
    publish("other", provider="Umbrella")
    serials.build()
    news = partner.follow()
    agree(partner.peer, out=terms.Offer(providers=("Umbrella",)))
    serials.build()
    assert names(partner.follow(news)) == {"other"}


def test_files_of_another_audience_are_not_there(partner: Partner, publish: Any, organisation: Any) -> None:
    other = Partner(organisation, terms.Offer(providers=("Acme",)), name="Other")
    publish("open")
    serials.build()
    mine = FeedPartner.objects.get(peer=other.peer).audience_id
    row = FeedFile.objects.filter(audience=mine, name="entry.json.gz").first()
    assert row is not None
    path = f"targets/{mine}/{row.sha256}.{row.name}"
    assert other.ask(path).status_code == 200
    assert partner.ask(path).status_code == 404
    assert partner.ask(f"tuf/1.{trustroot.role_of(mine)}.json.gz").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["feed", "tuf/timestamp.json", "tuf/1.root.json", f"blobs/{'a' * 64}", f"targets/{'a' * 32}/x.entry.json.gz"],
)
def test_nobody_gets_anything_unsigned_or_without_an_agreement(partner: Partner, publish: Any, path: str) -> None:
    publish("one")
    serials.build()
    assert Client().get(ROOT + path).status_code == 401
    partner.peer.agreements.update(state="ended")
    assert partner.ask(path).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["tuf/snapshot.json", "tuf/1.timestamp.json", "tuf/99.snapshot.json", "tuf/x", "tuf/1.root.jsonx", "targets/a/b"],
)
def test_metadata_that_do_not_exist_are_missing(partner: Partner, publish: Any, path: str) -> None:
    publish("one")
    serials.build()
    assert partner.ask(path).status_code == 404


def test_a_package_is_handed_out_when_it_is_offered_and_only_then(partner: Partner, publish: Any) -> None:
    package = publish("open", b"x" * 1000)
    hidden = publish("inside", b"y" * 1000, visibility="organisation")
    serials.build()
    answer = partner.ask(f"blobs/{package.sha256}")
    assert (answer.status_code, answer.getvalue()) == (200, b"x" * 1000)
    assert partner.ask(f"blobs/{hidden.sha256}").status_code == 404
    assert partner.ask(f"blobs/{'f' * 64}").status_code == 404
    assert partner.ask("blobs/x").status_code in (400, 404)
    services.withdraw(package, actor=SYSTEM, reason="It leaks")
    assert partner.ask(f"blobs/{package.sha256}").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({}, 200, b"0123456789"),
        ({"Range": "bytes=4-"}, 206, b"456789"),
        ({"Range": "bytes=4-5"}, 206, b"45"),
        ({"Range": "bytes=4-99"}, 206, b"456789"),
        ({"Range": "bytes=0-"}, 206, b"0123456789"),
        ({"Range": "bytes=10-"}, 416, b""),
        ({"Range": "bytes=5-4"}, 200, b"0123456789"),
        ({"Range": "bytes=-3"}, 200, b"0123456789"),
        ({"Range": "bytes=1-2,4-5"}, 200, b"0123456789"),
        ({"Range": "lines=1-2"}, 200, b"0123456789"),
        ({"Range": "bytes=4-", "If-Range": '"other"'}, 200, b"0123456789"),
    ],
)
def test_a_part_of_a_package_is_handed_out(
    partner: Partner, publish: Any, headers: dict[str, str], status: int, body: bytes
) -> None:
    package = publish("open", b"0123456789")
    serials.build()
    answer = partner.ask(f"blobs/{package.sha256}", headers)
    assert (answer.status_code, answer.getvalue()) == (status, body)
    if status == 206:
        start = 10 - len(body) if "4-5" not in headers["Range"] else 4
        assert answer["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/10"
        assert answer["Content-Length"] == str(len(body))


def test_more_bytes_a_day_than_agreed_are_not_handed_out(organisation: Any, publish: Any) -> None:
    partner = Partner(organisation, terms.Offer(limits=terms.Limits(bytes_per_day=15)))
    package = publish("open", b"0123456789")
    serials.build()
    assert partner.ask(f"blobs/{package.sha256}").status_code == 200
    assert partner.ask(f"blobs/{package.sha256}").status_code == 429


def test_an_idle_question_is_answered_with_nothing(partner: Partner, publish: Any) -> None:
    publish("one")
    serials.build()
    news = partner.follow()
    answer = partner.ask("tuf/timestamp.json", {"If-None-Match": news.etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_metadata_are_signed_anew_before_they_end(partner: Partner, publish: Any) -> None:
    publish("one")
    serials.build()
    news = partner.follow()
    later = timezone.now() + timedelta(hours=13)
    assert serials.build(later).signed
    assert partner.follow(news, now=later + timedelta(hours=20)).empty


@pytest.mark.live
def test_a_feed_without_changes_stays_alive_for_a_year(partner: Partner, publish: Any) -> None:
    publish("one")
    now = timezone.now()
    serials.build(now)
    for day in range(2, 360, 2):
        serials.sign(now + timedelta(days=day))
        if day % 40 == 0:
            serials.build(now + timedelta(days=day))
    assert names(partner.follow(now=now + timedelta(days=358, hours=1))) == {"one"}


def test_rotated_keys_are_followed(partner: Partner, publish: Any) -> None:
    publish("one")
    serials.build()
    news = partner.follow()
    before = roots.signing_key(trustroot.TIMESTAMP).private_numbers().private_value
    roots.rotate(actor=SYSTEM)
    assert roots.signing_key(trustroot.TIMESTAMP).private_numbers().private_value != before
    publish("two")
    serials.build()
    later = partner.follow(news)
    assert trustroot.version_of(later.held.root) == 2
    assert {r["name"] for r in (later.full or {}).values()} == {"one", "two"}


def test_a_root_whose_keys_lie_elsewhere_is_made_with_their_help(partner: Partner, publish: Any) -> None:
    publish("one")
    serials.build()
    news = partner.follow()
    offline = [new_key() for _ in range(3)]
    pems = [
        k.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
        for k in offline
    ]
    draft = roots.prepare(root_keys=pems, threshold=2)
    with pytest.raises(Conflict, match="0 of 2"):
        roots.accept(draft, actor=SYSTEM)
    for key in offline[:2]:
        draft = roots.signed(draft, key)
    roots.accept(draft, actor=SYSTEM)
    # From now on this store alone cannot make the next one.
    with pytest.raises(Conflict, match="0 of 2"):
        roots.rotate(actor=SYSTEM)
    publish("two")
    serials.build()
    assert trustroot.version_of(partner.follow(news).held.root) == 2


def test_releases_of_a_partner_are_passed_on_only_when_that_is_wanted(
    partner: Partner, publish: Any, organisation: Any
) -> None:
    source = Partner(organisation, name="Source")
    publish("fetched", origin=source.peer.store_id)
    serials.build()
    news = partner.follow()
    assert names(news) == set()
    imports.set_policy(source.peer, actor=SYSTEM, republish=True)
    serials.build()
    later = partner.follow(news)
    passed = [r for r in (later.full or (later.patches[0] if later.patches else {})).values() if r]
    assert [(r["name"], r["via"]) for r in passed] == [("fetched", [source.peer.store_id])]
    # Its own release is not offered back to the store that it came from.
    assert "fetched" not in names(source.follow())


def test_the_window_of_diffs_is_bounded_and_old_files_go(partner: Partner, publish: Any) -> None:
    publish("one")
    now = timezone.now()
    for number in range(20):
        publish(f"app-{number}", hashlib.sha256(str(number).encode()).digest())
        serials.build(now + timedelta(hours=2 * number))
    named = FeedFile.objects.filter(retired_at=None)
    assert named.filter(name="entry.json.gz").count() == 1
    assert named.filter(name__startswith="index").count() == 1
    assert named.filter(name__startswith="diff").count() == 19
    assert FeedFile.objects.exclude(retired_at=None).count() < 10
