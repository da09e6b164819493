"""The pages of trust: what they say of a package, and that their forms do what they say."""

from __future__ import annotations

from typing import Any

import pytest

from appstore.trust.models import Anchor, PublisherClaim, TrustPolicy
from tests.appstore.trust import pki


@pytest.fixture(autouse=True)
def operator(organisation: Any, settings: Any) -> Any:
    """`acme` runs the store."""
    settings.OPERATOR = organisation.slug
    return organisation


def text(response: Any) -> str:
    assert response.status_code == 200, response.content
    return str(response.content.decode())


def test_an_anchor_is_added_ended_and_revoked_on_the_page(pages: Any) -> None:
    assert "Nobody is trusted yet" in text(pages.get("/trust"))
    assert 'for="id_note">备注</label>' in text(pages.get("/trust", headers={"Accept-Language": "zh-CN"}))
    facts = {"certificate": pki.ROOT.pem, "name": "Harbour", "purpose": "publisher", "expires": "", "note": ""}
    assert "Harbour can be trusted now" in text(pages.post("/trust/anchors", facts, follow=True))
    anchor = Anchor.objects.get()
    pages.post(f"/trust-anchors/{anchor.pk}/end", {"expires": "2099-01-31"})
    assert "2099-01-31" in text(pages.get("/trust"))
    refused = pages.post(f"/trust-anchors/{anchor.pk}/revoke", {"reason": ""})
    assert refused.status_code == 400
    assert "Say why" in refused.content.decode()
    assert "revoked" in text(pages.post(f"/trust-anchors/{anchor.pk}/revoke", {"reason": "lost"}, follow=True))


@pytest.mark.parametrize(
    ("path", "facts", "word"),
    [
        ("/trust/anchors", {"certificate": "x", "purpose": "publisher"}, "no certificate in PEM"),
        ("/trust/anchors", {}, "required"),
        ("/trust/crls", {}, "Paste a revocation list"),
        ("/trust/distrusts", {"fingerprint": "x", "reason": "y"}, "64 hex digits"),
        ("/trust/policy", {"publish_least": "broken"}, "not one of the available choices"),
        ("/trust/publishers/claim", {"provider": "A", "method": "web", "domain": "localhost"}, "A domain is a name"),
        ("/trust/authority/issue", {"organisation": "nobody"}, "no organisation"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_breaks(path: str, facts: Any, word: str, pages: Any) -> None:
    response = pages.post(path, facts, follow=True)
    assert word in response.content.decode().replace("&#x27;", "'")


def test_the_policy_is_set(pages: Any, organisation: Any) -> None:
    facts = {"publish_least": "trusted", "deploy_least": "unknown", "import_least": "unsigned", "domain_proofs": "on"}
    pages.post("/trust/policy", facts)
    policy = TrustPolicy.objects.get(pk=organisation.pk)
    assert (policy.publish_least, policy.deploy_least, policy.domain_proofs) == ("trusted", "unknown", True)


def test_a_package_says_in_words_what_its_signature_is_worth(pages: Any, make_package: Any, tmp_path: Any) -> None:
    reading = pki.read(tmp_path, pki.signed(tmp_path))
    package = make_package("signed", state="checked", format="edgegallery-csar", signature=reading.signature.as_dict())  # type: ignore[union-attr]
    path = f"/packages/{package.pk}/trust"
    assert "Nobody on the trust list vouches for the signer." in text(pages.get(path))
    pages.post("/trust/anchors", {"certificate": pki.ROOT.pem, "name": "Harbour", "purpose": "publisher"})
    shown = text(pages.get(path))
    assert "signed and trusted" in shown
    assert "Harbour Issuing" in shown
    assert "nobody vouches for it" in shown  # the time that the signer claims
    bare = make_package("bare", signature={"state": "absent"})
    assert "anybody could have made it" in text(pages.get(f"/packages/{bare.pk}/trust"))


def test_who_gets_a_certificate_proves_the_publisher_with_it(pages: Any, organisation: Any) -> None:
    pages.post("/trust/authority/create")
    issued = pages.post("/trust/authority/issue", {"organisation": "acme", "name": "", "csr": ""}, follow=True)
    assert "kept here, sealed" in text(issued)
    pages.post("/trust/publishers/claim", {"provider": "Acme Edge", "method": "key", "domain": ""})
    claim = PublisherClaim.objects.get()
    assert claim.challenge in text(pages.get("/trust/publishers"))
    own = organisation.signer_certificates.get()
    pages.post(f"/publishers/{claim.pk}/prove", {"certificate": str(own.pk), "signature": ""})
    assert "verified" in text(pages.get("/trust/publishers"))


def test_hostile_names_are_text(pages: Any) -> None:
    bad = pki.party("<script>alert(1)</script>", ca=True)
    pages.post("/trust/anchors", {"certificate": bad.pem, "name": "", "purpose": "publisher"})
    assert "<script>alert" not in text(pages.get("/trust"))
