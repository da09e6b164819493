"""How a machine becomes a node, and how it stops being one."""

from __future__ import annotations

import base64
import hashlib
import stat
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.conf import settings
from django.utils import timezone

from core.errors import Conflict, Denied, Invalid, Unauthenticated
from mecm.edge import ca, services
from mecm.edge.identity import retire_older, speaker
from mecm.edge.models import EnrolmentToken, NodeCert
from mecm.nodes.models import Node
from tests.mecm.edge.conftest import Machine, join


def secret_of(node: Node, actor: Any) -> str:
    return services.join_string(node, actor=actor)[0].split(".")[-1]


def test_a_join_string_names_the_centre_its_authority_and_a_secret_that_we_keep_hashed(node: Node, actor: Any) -> None:
    text, expires = services.join_string(node, actor=actor)
    version, host, spki, secret = text.split(".")
    authority = x509.load_pem_x509_certificate(ca.authority().pem.encode())
    key = authority.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert version == "mec1"
    assert base64.urlsafe_b64decode(host + "=" * (-len(host) % 4)).decode() == settings.PUBLIC_URL
    assert spki == hashlib.sha256(key).hexdigest()
    assert not EnrolmentToken.objects.filter(sha256=secret).exists()
    assert timedelta(minutes=59) < expires - timezone.now() <= timedelta(hours=1)


def test_the_authoritys_key_is_readable_by_us_alone(db: None) -> None:
    ca.authority()
    (file,) = settings.CA_DIR.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_certificate_names_the_node_whatever_the_request_asks_for(node: Node, actor: Any) -> None:
    machine = Machine()
    identity = services.enrol(token=secret_of(node, actor), csr_pem=machine.csr("root.of.all.evil"))
    leaf, root = x509.load_pem_x509_certificates(identity["cert_chain"].encode())
    leaf.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:mec:node:{node.pk}"]
    assert "evil" not in leaf.subject.rfc4514_string()
    assert leaf.not_valid_after_utc - timezone.now() <= timedelta(days=90)
    node.refresh_from_db()
    assert node.state == "enrolled"


def test_a_join_string_works_once(node: Node, actor: Any) -> None:
    secret = secret_of(node, actor)
    services.enrol(token=secret, csr_pem=Machine().csr())
    with pytest.raises(Denied, match="used already"):
        services.enrol(token=secret, csr_pem=Machine().csr())


def test_a_join_string_expires(node: Node, actor: Any) -> None:
    secret = secret_of(node, actor)
    EnrolmentToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Denied, match="expired"):
        services.enrol(token=secret, csr_pem=Machine().csr())


def test_an_unknown_secret_is_refused(db: None) -> None:
    with pytest.raises(Denied, match="not known"):
        services.enrol(token="nobody-gave-me-this-secret", csr_pem=Machine().csr())


def test_a_bad_request_does_not_spend_the_secret(node: Node, actor: Any) -> None:
    secret = secret_of(node, actor)
    with pytest.raises(Invalid):
        services.enrol(token=secret, csr_pem="rubbish")
    services.enrol(token=secret, csr_pem=Machine().csr())


def test_a_request_for_a_key_that_the_sender_does_not_hold_is_refused() -> None:
    mine, victims = ec.generate_private_key(ec.SECP256R1()), Machine()
    csr = x509.load_pem_x509_csr(victims.csr().encode()).public_bytes(serialization.Encoding.DER)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = csr.replace(victims.key.public_key().public_bytes(*spki), mine.public_key().public_bytes(*spki))
    pem = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(forged).decode()
    with pytest.raises(Invalid, match="not signed"):
        ca.read_csr(pem + "-----END CERTIFICATE REQUEST-----\n")


def test_a_request_for_another_kind_of_key_is_refused() -> None:
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        with pytest.raises(Invalid, match="P-256"):
            ca.read_csr(csr.public_bytes(serialization.Encoding.PEM).decode())


def test_a_node_that_is_reached_directly_has_no_join_string(node: Node, actor: Any) -> None:
    node.link = "direct"
    with pytest.raises(Conflict):
        services.join_string(node, actor=actor)


def test_a_machine_that_joins_again_replaces_the_one_before(node: Node, actor: Any) -> None:
    first = join(node, actor)
    second = join(node, actor)
    assert speaker(second.authorization()).node == node
    with pytest.raises(Unauthenticated):
        speaker(first.authorization())


def test_a_node_speaks_with_its_own_key(machine: Machine, node: Node) -> None:
    assert speaker(machine.authorization()).node == node


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1, "iat": 0},
        {"aud": "somebody-else"},
        {"iss": "another-node"},
        {"exp": 9_999_999_999},
        {"jti": None},
        {"iat": None},
    ],
    ids=["expired", "for others", "as others", "valid for years", "no id", "no begin"],
)
def test_a_token_that_is_not_right_is_refused(machine: Machine, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        speaker(machine.authorization(**changes))


def test_a_token_signed_with_another_key_is_refused(machine: Machine) -> None:
    machine.key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Unauthenticated):
        speaker(machine.authorization())


@pytest.mark.parametrize("header", ["", "Basic eDp5", "Bearer", "Bearer rubbish", "Bearer a.b.c", "Bearer \xff.\xfe.x"])
def test_what_is_no_token_is_refused(db: None, header: str) -> None:
    with pytest.raises(Unauthenticated):
        speaker(header)


def test_a_revoked_node_is_refused_at_once(machine: Machine, node: Node, actor: Any) -> None:
    services.revoke(node, actor=actor)
    with pytest.raises(Unauthenticated):
        speaker(machine.authorization())


def test_an_expired_certificate_is_refused(machine: Machine) -> None:
    NodeCert.objects.update(not_after=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Unauthenticated, match="expired"):
        speaker(machine.authorization())


def test_the_old_certificate_serves_until_the_new_one_is_used(machine: Machine, node: Node) -> None:
    fresh = Machine()
    fresh.accept(services.renew(node, csr_pem=fresh.csr()))
    assert speaker(machine.authorization()).node == node
    assert retire_older(speaker(fresh.authorization())) == 1
    with pytest.raises(Unauthenticated):
        speaker(machine.authorization())
    assert speaker(fresh.authorization()).node == node
