"""Who has proved to be a publisher, how long that holds, and what it keeps others from."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest
from django.utils import timezone

from appstore.packages import gates, signing
from appstore.trust import authority, proofs, publishers, services
from appstore.trust.models import PublisherClaim
from appstore.trust.names import key_of
from core.accounts.access import SYSTEM, Actor
from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, Unavailable
from core.operations.models import Operation
from tests.appstore.trust import pki

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def operator(organisation: Any, settings: Any) -> Any:
    """`acme` runs the store."""
    settings.OPERATOR = organisation.slug
    return organisation


def prove(claim: PublisherClaim, actor: Any, signer: pki.Party = pki.SIGNER) -> PublisherClaim:
    """Sign the challenge with a key of one's own."""
    block = signing.sign_text(
        publishers.challenge_text(claim), signer.key, signer.certificate, [pki.MIDDLE.certificate]
    )
    return publishers.prove_by_key(claim, actor=actor, signature=block.decode())


def looker(answer: Any = None, addresses: Any = ("93.184.215.14",), texts: Any = ()) -> proofs.Looker:
    """A world outside that answers like this."""

    def serve(request: httpx.Request) -> httpx.Response:
        assert request.headers["Host"] == "acme.example"
        assert request.url.host in addresses
        return answer(request) if callable(answer) else httpx.Response(200, text=str(answer))

    def found(name: str) -> list[str]:
        assert name == "_breakwater.acme.example"
        return list(texts)

    return proofs.Looker(lambda domain: list(addresses), found, httpx.MockTransport(serve))


@pytest.fixture
def outside(organisation: Any) -> None:
    """The operator lets the store look outside."""
    services.set_policy(organisation, actor=SYSTEM, domain_proofs=True)


def test_a_key_proves_the_name_in_its_certificate(organisation: Any, actor: Any) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    claim = publishers.claim(organisation, actor=actor, provider="ACME", method="key")
    assert claim.state == "pending"
    prove(claim, actor)
    assert (claim.shown, claim.holds) == ("verified", True)
    assert claim.expires_at is not None
    assert claim.expires_at <= pki.NOW + dt.timedelta(days=300)


def test_a_key_proves_no_other_name_and_no_other_question(organisation: Any, actor: Any) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    other = publishers.claim(organisation, actor=actor, provider="Somebody", method="key")
    with pytest.raises(Invalid, match="not for Somebody"):
        prove(other, actor)
    claims = [publishers.claim(organisation, actor=actor, provider="Acme", method="key") for _ in range(2)]
    block = signing.sign_text(
        publishers.challenge_text(claims[0]), pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate]
    )
    with pytest.raises(Invalid, match="does not prove it"):
        publishers.prove_by_key(claims[1], actor=actor, signature=block.decode())


def test_a_key_that_the_store_does_not_trust_proves_nothing(organisation: Any, actor: Any) -> None:
    claim = publishers.claim(organisation, actor=actor, provider="Acme", method="key")
    with pytest.raises(Invalid, match="proves nothing here"):
        prove(claim, actor)


def test_a_certificate_of_the_store_proves_the_organisations_own_name(organisation: Any, actor: Any) -> None:
    authority.create(actor=SYSTEM)
    own = authority.issue(organisation, actor=SYSTEM)
    claim = publishers.claim(organisation, actor=actor, provider="Acme Edge", method="key")
    assert publishers.prove_here(claim, own, actor=actor).shown == "verified"


def test_nobody_else_publishes_under_a_proved_name(
    organisation: Any, stranger_organisation: Any, actor: Any, make_package: Any
) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    theirs = make_package(provider="ACME ", organisation=stranger_organisation)
    gates.require("publish", theirs, stranger_organisation.pk)
    claim = prove(publishers.claim(organisation, actor=actor, provider="Acme", method="key"), actor)
    with pytest.raises(Conflict, match="as they have proved"):
        gates.require("publish", theirs, stranger_organisation.pk)
    mine = make_package("2", provider="Acme")
    gates.require("publish", mine, organisation.pk)
    assert services.standing(mine, organisation).publisher == "Acme"
    assert services.standing(theirs, organisation).publisher == ""
    # What lapses still keeps the name from others, but is not shown as verified any more.
    PublisherClaim.objects.filter(pk=claim.pk).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert services.standing(mine, organisation).publisher == ""
    with pytest.raises(Conflict):
        gates.require("publish", theirs, stranger_organisation.pk)
    publishers.withdraw(PublisherClaim.objects.get(), actor=actor)
    gates.require("publish", theirs, stranger_organisation.pk)


def test_a_proved_name_is_not_claimed_again(
    organisation: Any, stranger: Any, stranger_organisation: Any, actor: Any
) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    prove(publishers.claim(organisation, actor=actor, provider="Acme", method="key"), actor)
    with pytest.raises(Conflict):
        publishers.claim(stranger_organisation, actor=Actor(stranger), provider="a-c-m-e", method="key")


@pytest.mark.parametrize(("one", "other"), [("Acme", "ACME"), ("Acme Inc.", "acme_inc"), ("Acme", "Ａcme")])
def test_names_that_look_alike_are_one(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


# Domains.


def test_domains_are_not_looked_at_unless_the_operator_allows_it(organisation: Any, actor: Any) -> None:
    with pytest.raises(Conflict, match="does not look at domains"):
        publishers.claim(organisation, actor=actor, provider="Acme", method="web", domain="acme.example")


def test_a_domain_proves_itself_and_the_operator_says_whose_name_it_is(
    outside: None, organisation: Any, stranger: Any, stranger_organisation: Any, actor: Any
) -> None:
    them = Actor(stranger)
    claim = publishers.claim(stranger_organisation, actor=them, provider="Acme", method="web", domain="Acme.example")
    with pytest.raises(Rejected):
        publishers.prove_by_domain(claim, actor=them, looker=looker("something else"))
    publishers.prove_by_domain(claim, actor=them, looker=looker(f"hello\n{proofs.line_of(claim.challenge)}\n"))
    assert claim.shown == "proved"
    with pytest.raises(Missing):
        publishers.confirm(claim, actor=them)
    assert publishers.confirm(claim, actor=actor).shown == "verified"


def test_a_provider_that_is_called_like_the_domain_needs_nobody(outside: None, organisation: Any, actor: Any) -> None:
    claim = publishers.claim(organisation, actor=actor, provider="acme.example", method="dns", domain="acme.example")
    found = publishers.prove_by_domain(claim, actor=actor, looker=looker(texts=[proofs.line_of(claim.challenge)]))
    assert found.shown == "verified"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.7",
        "169.254.169.254",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
    ],
)
def test_a_domain_that_leads_inside_is_not_asked(address: str, outside: None, organisation: Any, actor: Any) -> None:
    claim = publishers.claim(organisation, actor=actor, provider="Acme", method="web", domain="acme.example")

    def never(request: Any) -> httpx.Response:
        raise AssertionError("nobody inside is asked")

    for addresses in ([address], ["93.184.215.14", address]):
        with pytest.raises(Invalid, match="open internet"):
            publishers.prove_by_domain(claim, actor=actor, looker=looker(never, addresses))


@pytest.mark.parametrize(
    "domain",
    ["localhost", "127.0.0.1", "acme.example:8080", "acme.example/x", "http://acme.example", "a..b", "[::1]", ""],
)
def test_only_names_of_domains_are_taken(domain: str, outside: None, organisation: Any, actor: Any) -> None:
    with pytest.raises(Invalid):
        publishers.claim(organisation, actor=actor, provider="Acme", method="web", domain=domain)


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx.Response(302, headers={"Location": "http://127.0.0.1/"}),
        lambda request: httpx.Response(200, content=b"x" * 5000),
        lambda request: httpx.Response(404),
    ],
)
def test_an_answer_that_leads_elsewhere_or_is_too_long_proves_nothing(
    answer: Any, outside: None, organisation: Any, actor: Any
) -> None:
    claim = publishers.claim(organisation, actor=actor, provider="Acme", method="web", domain="acme.example")
    with pytest.raises(Rejected):
        publishers.prove_by_domain(claim, actor=actor, looker=looker(answer))
    claim.refresh_from_db()
    assert claim.problem


def test_a_domain_that_is_lost_lets_the_proof_lapse_and_one_that_is_down_waits(
    outside: None, organisation: Any, actor: Any
) -> None:
    claim = publishers.claim(organisation, actor=actor, provider="acme.example", method="web", domain="acme.example")
    right = looker(proofs.line_of(claim.challenge))
    publishers.prove_by_domain(claim, actor=actor, looker=right)

    def down(request: Any) -> httpx.Response:
        raise httpx.ConnectError("no")

    with pytest.raises(Unavailable):
        publishers.look_again(claim, looker=looker(down))
    claim.refresh_from_db()
    assert claim.shown == "verified"
    PublisherClaim.objects.update(checked_at=timezone.now() - dt.timedelta(days=10))
    claim.refresh_from_db()
    assert publishers.look_again(claim, looker=looker(down)).shown == "lapsed"
    claim.refresh_from_db()
    assert publishers.look_again(claim, looker=right).shown == "verified"
    assert publishers.look_again(claim, looker=looker("somebody else lives here now")).shown == "lapsed"


def test_a_certificate_that_is_not_trusted_any_more_lets_the_proof_lapse(organisation: Any, actor: Any) -> None:
    (anchor,) = services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    claim = prove(publishers.claim(organisation, actor=actor, provider="Acme", method="key"), actor)
    assert publishers.look_again(claim).shown == "verified"
    services.revoke(anchor, actor=actor, reason="gone")
    found = publishers.look_again(claim)
    assert (found.shown, "not trusted any more" in found.problem) == ("lapsed", True)


def test_proofs_that_nobody_looked_at_for_a_week_are_looked_at(organisation: Any, actor: Any) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    prove(publishers.claim(organisation, actor=actor, provider="Acme", method="key"), actor)
    assert publishers.recheck_due() == 0
    assert publishers.recheck_due(timezone.now() + dt.timedelta(days=8)) == 1
    assert Operation.objects.filter(kind=publishers.RECHECK).count() == 1


def test_two_who_prove_one_name_at_once_are_not_both_it(
    organisation: Any, stranger: Any, stranger_organisation: Any, actor: Any
) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    first = publishers.claim(organisation, actor=actor, provider="Acme", method="key")
    second = publishers.claim(stranger_organisation, actor=Actor(stranger), provider="Acme", method="key")
    prove(first, actor)
    with pytest.raises(BreakwaterError):
        prove(second, Actor(stranger))
    assert PublisherClaim.objects.verified().count() == 1
