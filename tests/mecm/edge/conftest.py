"""Nodes, keys and certificate requests for the tests of the edge link."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mecm.edge import services
from mecm.nodes.models import Node
from tests.mecm.deployments.conftest import threads_db

__all__ = ["threads_db"]


class Machine:
    """An edge machine: it has a key, can ask for a certificate, and can speak as its node."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.serial = ""
        self.node_id = ""

    def csr(self, name: str = "edge") -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def accept(self, identity: dict[str, Any]) -> None:
        certificate = x509.load_pem_x509_certificate(identity["cert_chain"].encode())
        self.serial, self.node_id = f"{certificate.serial_number:x}", identity["node_id"]

    def authorization(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.node_id,
            "aud": "breakwater-edge",
            "iat": now,
            "exp": now + 100,
            "jti": "once",
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return "Bearer " + jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.serial})


@pytest.fixture
def node(organisation: Any) -> Node:
    """A node with an agent, not enrolled yet."""
    return Node.objects.create(organisation=organisation, name="edge-1", engine="memory", link="agent")


@pytest.fixture
def other_node(organisation: Any) -> Node:
    """Another node of the same organisation."""
    return Node.objects.create(organisation=organisation, name="edge-2", engine="memory", link="agent")


@pytest.fixture
def machine(node: Node, actor: Any) -> Machine:
    """The machine that has joined as `node`."""
    return join(node, actor)


def join(node: Node, actor: Any) -> Machine:
    """Join a fresh machine as `node`."""
    made = Machine()
    secret = services.join_string(node, actor=actor)[0].split(".")[-1]
    made.accept(services.enrol(token=secret, csr_pem=made.csr()))
    return made
