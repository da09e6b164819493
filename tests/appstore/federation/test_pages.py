"""Partner stores on pages: what is shown, and what a click does."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from appstore.federation import agreements, identity, services, terms
from appstore.federation.models import Agreement, Peer, RemoteRelease
from appstore.federation.models_peers import OutMessage, Recommendation
from appstore.federation.terms import Offer, Terms
from core import dsse
from tests.appstore.federation.conftest import Store, our_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(admin: Any) -> Client:
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def peer(harbour: Store, serve: Any, organisation: Any) -> Peer:
    harbour.open(serve)
    return harbour.peer(organisation)


def text(answer: Any) -> str:
    assert answer.status_code in (200, 400), answer.status_code
    return str(answer.content.decode())


def offer_form(prefix: str, **changed: Any) -> dict[str, Any]:
    usual = {
        "agreed": "on", "certification": "", "signature": "unsigned", "apps": 10, "package_mib": 10, "gib_per_day": 1,
        "requests_per_minute": 60, "recommendations_per_day": 5,
    }  # fmt: skip
    return {f"{prefix}-{name}": value for name, value in {**usual, **changed}.items()}


def test_both_fingerprints_are_shown_before_anything_is_confirmed(
    pages: Client, harbour: Store, serve: Any, organisation: Any
) -> None:
    harbour.open(serve)
    shown = text(pages.post("/partners/meet", {"url": harbour.url}))
    assert identity.fingerprint(harbour.id) in shown
    assert identity.fingerprint(our_id()) in shown
    assert not Peer.objects.exists()


def test_confirming_needs_the_fingerprint_and_the_word_that_it_was_compared(
    pages: Client, harbour: Store, serve: Any, organisation: Any
) -> None:
    harbour.open(serve)
    right = {"url": harbour.url, "fingerprint": identity.fingerprint(harbour.id)}
    assert "after you have compared" in text(pages.post("/partners/meet", right))
    wrong = {**right, "fingerprint": "00" * 32, "compared": "on"}
    assert "not the fingerprint" in text(pages.post("/partners/meet", wrong))
    assert not Peer.objects.exists()
    assert pages.post("/partners/meet", {**right, "compared": "on"}).status_code == 302
    assert Peer.objects.get().state == "pending"


def test_an_address_that_is_not_allowed_is_told_beside_the_field(pages: Client, organisation: Any) -> None:
    assert "no public address" in text(pages.post("/partners/meet", {"url": "https://169.254.169.254"}))
    assert "no public address" in text(pages.post("/partners/follow", {"url": "https://10.0.0.1", "name": "x"}))


def test_an_invitation_whose_key_differs_from_the_store_is_refused(
    pages: Client, harbour: Store, mallory: Store, serve: Any, organisation: Any
) -> None:
    import base64
    import json

    harbour.open(serve)
    said = base64.urlsafe_b64encode(json.dumps({"url": harbour.url, "id": mallory.id}).encode()).decode()
    assert "another key answers" in text(pages.post("/partners/meet", {"url": f"bwp1_{said}"}))


def test_a_name_of_a_stranger_is_text_and_nothing_else(pages: Client, organisation: Any) -> None:
    Store("<script>alert(1)</script>", "http://127.0.0.1:9").introduce()
    for path in ("/partners", f"/partners/{Peer.objects.get().pk}"):
        shown = text(pages.get(path))
        assert "<script>alert(1)" not in shown
        assert "&lt;script&gt;" in shown


def test_a_strange_key_is_shown_on_the_page_of_the_partner(
    pages: Client, peer: Peer, harbour: Store, mallory: Store
) -> None:
    mallory.url = harbour.url
    mallory.introduce()
    assert identity.fingerprint(mallory.id) in text(pages.get(f"/partners/{peer.pk}"))


def test_terms_are_proposed_from_the_page(pages: Client, peer: Peer) -> None:
    form = {
        **offer_form("out", categories="Video, Games"),
        **offer_form("in"),
        "expires": "2099-01-01",
        "contact": "noc",
    }
    answer = pages.post(f"/partners/{peer.pk}/agreement", form)
    assert answer.status_code == 302
    made = Agreement.objects.get()
    wanted = made.read()
    assert wanted.out is not None
    assert (wanted.out.categories, wanted.out.limits.package_bytes) == (("Games", "Video"), 10 << 20)
    assert str(wanted.expires) == "2099-01-01 23:59:59+00:00"
    assert "waits for them" in text(pages.get(answer.headers["Location"]))


@pytest.mark.parametrize(
    "changed",
    [{"out-apps": "-1"}, {"out-signature": "broken"}, {"expires": "2001-01-01"}, {"contact": "x" * 300},
     {"out-agreed": "", "in-agreed": ""}, {"out-categories": "a" * 300}],
)  # fmt: skip
def test_terms_that_cannot_be_are_told_and_not_proposed(pages: Client, peer: Peer, changed: dict[str, str]) -> None:
    form = {**offer_form("out"), **offer_form("in"), "expires": "", "contact": "", **changed}
    answer = pages.post(f"/partners/{peer.pk}/agreement", form)
    assert answer.status_code == 400
    assert 'role="alert"' in text(answer)
    assert not Agreement.objects.exists()


def test_what_differs_is_shown_before_it_is_accepted(pages: Client, peer: Peer, harbour: Store, actor: Any) -> None:
    agreements.propose(peer, out=Offer(), incoming=Offer(), expires=None, contact="", actor=actor)
    document = terms.document(Terms(2, harbour.id, our_id(), Offer(signature="trusted"), Offer(), None))
    harbour.tell("agreement.propose", envelope=dsse.sign(terms.PAYLOAD, terms.canonical(document), harbour.key))
    shown = text(pages.get(f"/partners/{peer.pk}/agreement/2"))
    assert "What differs from version 1" in shown
    assert "They offer: least signature" in shown
    assert pages.post(f"/partners/{peer.pk}/agreement/2/accept").status_code == 302
    found = peer.agreement()
    assert found is not None
    assert found.version == 2


@pytest.mark.parametrize("deed", ["suspend", "end"])
def test_parting_needs_a_reason(pages: Client, peer: Peer, deed: str) -> None:
    pages.post(f"/partners/{peer.pk}/{deed}", {"reason": " "})
    peer.refresh_from_db()
    assert peer.state == "active"
    pages.post(f"/partners/{peer.pk}/{deed}", {"reason": "enough"})
    peer.refresh_from_db()
    assert peer.state != "active"
    assert "enough" in text(pages.get(f"/partners/{peer.pk}"))


def test_what_could_not_be_told_is_shown_with_its_reason(pages: Client, peer: Peer, harbour: Store) -> None:
    harbour.refuses = {"status": 403, "detail": "<b>never</b>"}
    services.tell(peer, "suspend", reason="x")
    services.deliver(peer)
    services.tell(peer, "resume")
    shown = text(pages.get(f"/partners/{peer.pk}"))
    assert "&lt;b&gt;never" in shown
    assert "on the way" in shown


def test_offers_are_searched_and_their_troubles_shown(pages: Client, peer: Peer) -> None:
    for number in range(30):
        RemoteRelease.objects.create(
            peer=peer, ref=str(number), name=f"app{number}", provider="Acme", version="1", sha256="", size=0,
            problem={"detail": "it lied"} if number == 7 else None,
        )  # fmt: skip
    shown = text(pages.get(f"/partners/{peer.pk}/offers?q=app7"))
    assert "it lied" in shown
    assert "app8" not in shown
    assert "1 / 2" in text(pages.get(f"/partners/{peer.pk}/offers"))
    for odd in ("q=%00", "state=%00", "page=x", "q=" + "a" * 3000):
        assert pages.get(f"/partners/{peer.pk}/offers?{odd}").status_code == 200


def test_a_store_of_edgegallery_is_always_marked_unverified(pages: Client, organisation: Any) -> None:
    old = Peer.objects.create(
        organisation=organisation, store_id="e" * 64, name="Old", url="http://127.0.0.1:1", kind="edgegallery",
        state="active",
    )  # fmt: skip
    for path in ("/partners", f"/partners/{old.pk}", f"/partners/{old.pk}/offers"):
        assert "unverified" in text(pages.get(path))


@pytest.mark.parametrize("field", ["offer", "package", "recommendation"])
@pytest.mark.parametrize("value", ["", "x", "../..", "00000000-0000-0000-0000-000000000000", "\x00"])
def test_a_form_that_names_nothing_is_not_found(pages: Client, peer: Peer, field: str, value: str) -> None:
    deed = {"offer": "import", "package": "recommend", "recommendation": "answer"}[field]
    assert pages.post(f"/partners/{peer.pk}/{deed}", {field: value}).status_code == 404


def test_things_of_one_partner_are_not_reached_through_another(
    pages: Client, peer: Peer, mallory: Store, organisation: Any
) -> None:
    other = mallory.peer(organisation)
    notice = Recommendation.objects.create(
        peer=other, incoming=True, key="0" * 8 + "-0000-0000-0000-" + "0" * 12, ref="r", name="n", version="1",
        sha256="a" * 64,
    )  # fmt: skip
    offer = RemoteRelease.objects.create(peer=other, ref="r", name="n", version="1", sha256="", size=0)
    assert pages.post(f"/partners/{peer.pk}/answer", {"recommendation": str(notice.pk)}).status_code == 404
    assert pages.post(f"/partners/{peer.pk}/import", {"offer": str(offer.pk)}).status_code == 404


def test_other_organisations_are_told_whose_business_partners_are(organisation: Any, stranger: Any) -> None:
    client = Client()
    client.force_login(stranger)
    for path in ("/partners", "/partners/meet"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "organisation that runs this store" in answer.content.decode()


def test_the_key_is_changed_from_the_page_and_partners_are_told(pages: Client, peer: Peer) -> None:
    before = our_id()
    pages.post("/partners/key")
    assert our_id() != before
    assert OutMessage.objects.get().kind == "rotate"


def test_a_list_of_many_partners_costs_as_few_queries(
    pages: Client, organisation: Any, django_assert_max_num_queries: Any
) -> None:
    now, _ = timezone.now(), our_id()
    for number in range(20):
        made = Peer.objects.create(
            organisation=organisation, store_id=f"{number:064x}", name=f"store {number}", url="http://127.0.0.1:1",
            state="active", confirmed_at=now, they_confirmed_at=now,
        )  # fmt: skip
        Agreement.objects.create(peer=made, version=1, proposed_by_us=True, terms={}, digest="a" * 64)
    with django_assert_max_num_queries(13):
        assert "store 19" in text(pages.get("/partners"))
