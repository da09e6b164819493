"""Trust over HTTP: what the paths answer, and that nobody sees or changes another tenant's list."""

from __future__ import annotations

from typing import Any

import pytest

from appstore.packages.models import Package
from appstore.trust import authority
from appstore.trust.models import Anchor
from core.accounts.access import SYSTEM
from tests.appstore.trust import pki


@pytest.fixture(autouse=True)
def operator(organisation: Any, settings: Any) -> Any:
    """`acme` runs the store."""
    settings.OPERATOR = organisation.slug
    return organisation


def send(client: Any, path: str, **facts: Any) -> Any:
    return client.post(f"/api/v1/trust/{path}", facts, format="json")


def test_an_uploaded_package_is_trusted_once_its_authority_is(api: Any, checked: Any, tmp_path: Any) -> None:
    told = checked(pki.signed(tmp_path))
    assert told["state"] == "checked"
    path = f"/api/v1/packages/{told['id']}/trust"
    assert api.get(path).json()["state"] == "unknown"
    made = send(api, "anchors", certificate=pki.ROOT.pem, name="Harbour", note="seen at the fair")
    assert made.status_code == 201, made.content
    found = api.get(path).json()
    assert (found["state"], found["anchor"], len(found["path"])) == ("trusted", "Harbour", 3)
    revoked = send(api, f"anchors/{made.json()[0]['id']}/revoke", reason="no")
    assert (revoked.status_code, revoked.json()["counts"]) == (200, False)
    assert api.get(path).json()["state"] == "unknown"


def test_a_tampered_upload_is_rejected_and_stays_so(api: Any, checked: Any, tmp_path: Any) -> None:
    package = pki.signed(tmp_path)
    manifest = pki.files(package)["hello.mf"].replace(b"app_provider_id: Acme", b"app_provider_id: Evil")
    told = checked(pki.rebuilt(package, put={"hello.mf": manifest}))
    assert told["state"] == "rejected"
    assert "signature-invalid" in {finding["code"] for finding in told["findings"]}
    assert api.get(f"/api/v1/packages/{told['id']}/trust").json()["state"] == "broken"
    assert api.post(f"/api/v1/packages/{told['id']}/publish").status_code == 409


def test_the_policy_answers_publish_with_a_conflict_that_helps(api: Any, checked: Any, tmp_path: Any) -> None:
    told = checked(pki.signed(tmp_path))
    assert api.patch("/api/v1/trust/policy", {"publish_least": "trusted"}, format="json").status_code == 200
    refused = api.post(f"/api/v1/packages/{told['id']}/publish")
    assert (refused.status_code, refused.json()["needed"]) == (409, "trusted")
    send(api, "anchors", certificate=pki.ROOT.pem)
    assert api.post(f"/api/v1/packages/{told['id']}/publish").status_code == 200


@pytest.mark.parametrize(
    ("path", "facts", "status"),
    [
        ("anchors", {}, 400),
        ("anchors", {"certificate": "x"}, 400),
        ("anchors", {"certificate": pki.ROOT.pem, "purpose": "all"}, 400),
        ("anchors", {"certificate": pki.ROOT.pem, "expires_at": "2001-01-01T00:00:00Z"}, 400),
        ("crls", {"crl": "x"}, 400),
        ("distrusts", {"fingerprint": "12", "reason": "x"}, 400),
        ("publishers", {"provider": "  ", "method": "key"}, 400),
        ("publishers", {"provider": "Acme", "method": "web", "domain": "localhost"}, 400),
        ("certificates", {"for_organisation": "acme"}, 404),
        ("authority/crl", {}, 404),
    ],
)
def test_bad_input_is_a_problem_with_a_reason(path: str, facts: Any, status: int, api: Any) -> None:
    answer = send(api, path, **facts)
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_strangers_neither_see_nor_change_anothers_list(api: Any, stranger_api: Any, organisation: Any) -> None:
    (anchor,) = send(api, "anchors", certificate=pki.ROOT.pem).json()
    row = send(api, "distrusts", fingerprint="ab" * 32, reason="x").json()
    claim = send(api, "publishers", provider="Acme", method="key").json()
    authority.create(actor=SYSTEM)
    own = authority.issue(organisation, actor=SYSTEM)
    assert stranger_api.get("/api/v1/trust/anchors").json()["count"] == 0
    assert stranger_api.get("/api/v1/trust/certificates").json()["count"] == 0
    assert stranger_api.get("/api/v1/trust/publishers").json()["count"] == 0
    assert stranger_api.get("/api/v1/trust/anchors?organisation=acme").status_code == 404
    for path in (
        f"anchors/{anchor['id']}/revoke", f"publishers/{claim['id']}/prove", f"publishers/{claim['id']}/withdraw",
        f"publishers/{claim['id']}/confirm", f"certificates/{own.pk}/revoke",
    ):  # fmt: skip
        assert send(stranger_api, path, reason="unspecified").status_code == 404, path
    assert (
        stranger_api.patch(f"/api/v1/trust/anchors/{anchor['id']}", {"expires_at": None}, format="json").status_code
        == 404
    )
    assert stranger_api.delete(f"/api/v1/trust/distrusts/{row['id']}").status_code == 404
    assert send(stranger_api, "certificates", for_organisation="acme").status_code == 403
    assert send(stranger_api, "authority").status_code == 404
    assert Anchor.objects.filter(revoked_at=None).count() == 2


def test_a_stranger_gets_no_signature_of_anothers_certificate(
    api: Any, stranger_api: Any, checked: Any, organisation: Any, stranger_organisation: Any, tmp_path: Any
) -> None:
    authority.create(actor=SYSTEM)
    own, theirs = (authority.issue(each, actor=SYSTEM) for each in (organisation, stranger_organisation))
    told = checked(pki.signed(tmp_path))
    path = f"/api/v1/packages/{told['id']}/sign"
    assert stranger_api.post(path, {"certificate": str(theirs.pk)}, format="json").status_code == 404
    assert api.post(path, {"certificate": str(theirs.pk)}, format="json").status_code == 404
    assert api.post(path, {"certificate": str(own.pk)}, format="json").status_code == 202
    assert Package.objects.count() == 1


def test_nobody_gets_in_without_signing_in(client: Any, db: None) -> None:
    for path in ("anchors", "policy", "crls", "distrusts", "publishers", "authority", "certificates", "export"):
        assert client.get(f"/api/v1/trust/{path}").status_code == 401


def test_a_developer_reads_and_does_not_change(client_of: Any, make_user: Any, organisation: Any) -> None:
    developer = client_of(make_user("dev", organisation, "developer"))
    assert developer.get("/api/v1/trust/anchors").status_code == 200
    assert send(developer, "anchors", certificate=pki.ROOT.pem).status_code == 403
    assert developer.patch("/api/v1/trust/policy", {"deploy_least": "trusted"}, format="json").status_code == 403


def test_export_is_pem(api: Any) -> None:
    send(api, "anchors", certificate=pki.ROOT.pem, name="Harbour")
    answer = api.get("/api/v1/trust/export")
    assert answer.headers["Content-Type"] == "application/x-pem-file"
    assert answer.content.decode().startswith("# Harbour (publisher)\n-----BEGIN CERTIFICATE-----")
