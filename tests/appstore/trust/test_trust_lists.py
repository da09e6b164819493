"""Trust lists and policies: who counts for whom, and what a policy keeps from happening."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import transaction
from django.utils import timezone

from appstore.packages import gates
from appstore.packages import services as packages
from appstore.trust import paths, services
from appstore.trust.models import Anchor
from core.accounts.access import SYSTEM, Actor
from core.errors import Conflict, Denied, Invalid, Missing
from tests.appstore.trust import pki

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(stranger_organisation: Any, organisation: Any) -> Any:
    """An organisation that does not run the store: `acme` was there first and does."""
    from core.accounts.models import Organisation

    Organisation.objects.filter(pk=organisation.pk).update(created_at=timezone.now() - dt.timedelta(days=1))
    return stranger_organisation


def state(package: Any, organisation: Any) -> str:
    return str(services.standing(package, organisation).state)


def test_an_anchor_makes_a_package_trusted_until_it_is_revoked(
    organisation: Any, actor: Any, make_package: Any, known_signature: Any
) -> None:
    package = make_package(signature=known_signature)
    assert state(package, organisation) == "unknown"
    (anchor,) = services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem, name="Harbour")
    assert services.standing(package, organisation).anchor == "Harbour"
    services.revoke(anchor, actor=actor, reason="lost its key")
    assert state(package, organisation) == "unknown"
    assert services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)[0].pk != anchor.pk
    assert state(package, organisation) == "trusted"


def test_an_anchor_can_be_given_an_end(organisation: Any, actor: Any, make_package: Any, known_signature: Any) -> None:
    package = make_package(signature=known_signature)
    (anchor,) = services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    services.expire(anchor, actor=actor, at=timezone.now() - dt.timedelta(seconds=1))
    assert state(package, organisation) == "unknown"
    services.expire(anchor, actor=actor, at=None)
    assert state(package, organisation) == "trusted"


def test_what_the_store_trusts_is_inherited_unless_one_will_not(
    organisation: Any, other: Any, actor: Any, stranger: Any, make_package: Any, known_signature: Any
) -> None:
    package = make_package(signature=known_signature)
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    assert state(package, other) == "trusted"
    row = services.distrust(other, actor=Actor(stranger), fingerprint=paths.fingerprint(pki.MIDDLE.der), reason="no")
    assert (state(package, other), state(package, organisation)) == ("unknown", "trusted")
    services.trust_again(row, actor=Actor(stranger))
    assert state(package, other) == "trusted"
    services.set_policy(other, actor=Actor(stranger), inherits=False)
    assert state(package, other) == "unknown"


def test_what_one_organisation_trusts_is_nothing_to_another(
    organisation: Any, other: Any, stranger: Any, make_package: Any, known_signature: Any
) -> None:
    package = make_package(signature=known_signature)
    services.add_anchors(other, actor=Actor(stranger), text=pki.ROOT.pem)
    assert (state(package, other), state(package, organisation)) == ("trusted", "unknown")


def test_only_who_may_manages_a_list(organisation: Any, make_user: Any, stranger: Any) -> None:
    viewer = Actor(make_user("viewer", organisation, "developer"))
    with pytest.raises(Denied):
        services.add_anchors(organisation, actor=viewer, text=pki.ROOT.pem)
    with pytest.raises(Missing):
        services.set_policy(organisation, actor=Actor(stranger), deploy_least="trusted")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "no certificate"),
        (pki.ROOT.key_pem.decode(), "private key"),
        (pki.party("Old", end=pki.NOW - dt.timedelta(days=1)).pem, "ran out"),
        (pki.party("Short", key=rsa.generate_private_key(65537, 1024)).pem, "1024 bits"),
    ],
)
def test_what_cannot_be_trusted_is_not_taken(text: str, word: str, organisation: Any, actor: Any) -> None:
    with pytest.raises(Invalid, match=word):
        services.add_anchors(organisation, actor=actor, text=text)
    assert not Anchor.objects.exists()


def test_export_gives_what_import_takes(organisation: Any, other: Any, actor: Any, stranger: Any) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem + pki.SIGNER.pem)
    text = services.export(organisation)
    made = services.add_anchors(other, actor=Actor(stranger), text=text)
    assert {row.fingerprint for row in made} == {paths.fingerprint(each.der) for each in (pki.ROOT, pki.SIGNER)}


def test_a_revocation_list_counts_and_only_a_newer_one_replaces_it(
    organisation: Any, actor: Any, make_package: Any, known_signature: Any
) -> None:
    package = make_package(signature=known_signature)
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    between = pki.MIDDLE.pem.encode()
    row = services.add_crl(organisation, actor=actor, content=pki.crl(pki.MIDDLE, number=5) + between)
    assert (row.number, row.entries, row.late, state(package, organisation)) == ("5", 0, False, "trusted")
    with pytest.raises(Conflict, match="number 5"):
        services.add_crl(organisation, actor=actor, content=pki.crl(pki.MIDDLE, number=4) + between)
    services.add_crl(organisation, actor=actor, content=pki.crl(pki.MIDDLE, pki.SIGNER, number=6) + between)
    assert state(package, organisation) == "unknown"


@pytest.mark.parametrize("content", [b"", b"0\x80", b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"])
def test_a_list_that_is_none_is_refused(content: bytes, organisation: Any, actor: Any) -> None:
    with pytest.raises(Invalid):
        services.add_crl(organisation, actor=actor, content=content)


def test_a_list_of_an_authority_that_nobody_trusts_is_refused(organisation: Any, actor: Any) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    for content in (pki.crl(pki.STRANGER), pki.crl(pki.party("Harbour Root", ca=True)), pki.crl(pki.SIGNER)):
        with pytest.raises(Invalid, match="not signed by an authority"):
            services.add_crl(organisation, actor=actor, content=content)


def test_many_packages_cost_no_more_questions(
    organisation: Any, actor: Any, make_package: Any, known_signature: Any, django_assert_num_queries: Any
) -> None:
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    rows = [make_package(f"1.{number}", signature=known_signature) for number in range(20)]
    services.standings(rows, organisation)
    with django_assert_num_queries(3):  # whose store it is, both policies, verified publishers
        found = services.standings(rows, organisation)
    assert {str(each.state) for each in found.values()} == {"trusted"}


# Policies.


@pytest.mark.parametrize("deed", ["publish", "deploy", "import"])
def test_a_policy_keeps_from_happening_what_is_not_signed_well_enough(
    deed: Any, organisation: Any, actor: Any, make_package: Any, known_signature: Any
) -> None:
    unsigned, signed = make_package("1", signature={"state": "absent"}), make_package("2", signature=known_signature)
    for package in (unsigned, signed):
        gates.require(deed, package, organisation.pk)
    services.set_policy(organisation, actor=actor, **{f"{deed}_least": "unknown"})
    with pytest.raises(Conflict, match="It is not signed"):
        gates.require(deed, unsigned, organisation.pk)
    gates.require(deed, signed, organisation.pk)
    services.set_policy(organisation, actor=actor, **{f"{deed}_least": "trusted"})
    with pytest.raises(Conflict, match="on the trust list"):
        gates.require(deed, signed, organisation.pk)
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    gates.require(deed, signed, organisation.pk)


def test_a_broken_signature_is_never_accepted(organisation: Any, make_package: Any) -> None:
    broken = make_package(signature={"state": "invalid", "problem": "the digest is another"})
    with pytest.raises(Conflict, match="the digest is another"):
        gates.require("deploy", broken, organisation.pk)


def test_nobody_meets_the_policy_of_the_store_by_trusting_themselves(
    organisation: Any, other: Any, actor: Any, stranger: Any, make_package: Any, known_signature: Any
) -> None:
    services.set_policy(organisation, actor=actor, publish_least="trusted")
    services.add_anchors(other, actor=Actor(stranger), text=pki.ROOT.pem)
    package = make_package(signature=known_signature, organisation=other)
    with pytest.raises(Conflict, match="policy of the store"):
        gates.require("publish", package, other.pk)
    services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
    gates.require("publish", package, other.pk)


def test_publishing_asks_the_gate(organisation: Any, actor: Any, make_package: Any) -> None:
    services.set_policy(organisation, actor=actor, publish_least="unknown")
    package = make_package(signature={"state": "absent"})
    with pytest.raises(Conflict):
        packages.publish(package, actor=actor)
    package.refresh_from_db()
    assert package.state == "checked"
    services.set_policy(organisation, actor=SYSTEM, publish_least="unsigned")
    assert packages.publish(package, actor=actor).state == "published"


@pytest.mark.parametrize("change", [{"publish_least": "broken"}, {"inherits": "yes"}, {"version": 7}])
def test_a_policy_asks_for_nothing_that_there_is_not(change: Any, organisation: Any, actor: Any) -> None:
    with pytest.raises(Invalid):
        services.set_policy(organisation, actor=actor, **change)


def test_a_change_that_was_rolled_back_leaves_nothing_behind(
    organisation: Any, actor: Any, make_package: Any, known_signature: Any
) -> None:
    package = make_package(signature=known_signature)
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012  (what is rolled back is looked at inside)
        services.add_anchors(organisation, actor=actor, text=pki.ROOT.pem)
        assert state(package, organisation) == "trusted"
        raise RuntimeError("something else went wrong")
    services.add_anchors(organisation, actor=actor, text=pki.STRANGER.pem)
    assert state(package, organisation) == "unknown"
