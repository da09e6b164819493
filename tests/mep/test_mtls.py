"""Mutual TLS (RFC 8705): a token that was fetched with a certificate is worth nothing without it."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.test import Client

from mep.mp1 import certificates, mtls, server, services, tls, tokens, websockets
from mep.mp1.models import App
from tests.mep.conftest import Mp1
from tests.mep.serving import Serving
from tests.mep.test_service_mgmt import problem

SERVICES = "/mec_service_mgmt/v1/services"
#: The fast path, and a resource of the ordinary view.
BOTH = (SERVICES, "/mec_service_mgmt/v1/transports")
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])


def pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def csr_of(key: Any) -> str:
    return x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, hashes.SHA256()).public_bytes(
        Encoding.PEM
    ).decode()  # fmt: skip


def self_signed(folder: Path, *, days: int = 1) -> Path:
    """A certificate that no CA of ours knows, its own CA at the same time."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "foreign.pem"
    path.write_text(made.public_bytes(Encoding.PEM).decode() + pem(key))
    return path


@pytest.fixture(params=[server.Httptools, server.H11], ids=["httptools", "h11"])
def mep(request: pytest.FixtureRequest, settings: Any, transactional_db: None) -> Iterator[Serving]:
    settings.MTLS = "optional"
    with Serving(http=request.param) as serving:
        yield serving


def on_disk(folder: Path, issued: certificates.Issued) -> Path:
    path = folder / f"{issued.thumbprint}.pem"
    path.write_text(issued.certificate + issued.private_key)
    return path


@contextmanager
def signed_in(mep: Serving, known: services.Credentials, certificate: Path | None) -> Iterator[httpx.Client]:
    with mep.client(certificate) as client:
        body = {"grant_type": "client_credentials"}
        answer = client.post("/mep/token", data=body, auth=(known.client_id, known.client_secret))
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def test_a_bound_token_is_good_over_connections_with_its_certificate_only(
    mep: Serving, provision: Callable[..., Any], tmp_path: Path
) -> None:
    known = provision()
    provision("app-2")
    own = on_disk(tmp_path, mine := certificates.issue("app-1"))
    others = on_disk(tmp_path, certificates.issue("app-2"))
    with signed_in(mep, known, own) as client:
        bearer = client.headers["Authorization"]
        claims = jwt.decode(bearer.split()[1], options={"verify_signature": False})
        assert claims["cnf"] == {"x5t#S256": mine.thumbprint}
        for path in BOTH:
            for certificate, status in ((own, 200), (None, 401), (others, 401), (own, 200)):
                with mep.client(certificate) as again:
                    answer = again.get(path, headers={"Authorization": bearer, "X-Client-Cert": mine.thumbprint})
                assert answer.status_code == status, (path, certificate)
                if status == 401:
                    assert "certificate" in answer.json()["detail"]
                    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_an_app_with_a_certificate_must_show_it_and_one_without_need_not(
    mep: Serving, provision: Callable[..., Any], tmp_path: Path
) -> None:
    known = provision()
    with signed_in(mep, known, None) as client:
        assert [client.get(path).status_code for path in BOTH] == [200, 200]
        own = on_disk(tmp_path, certificates.issue("app-1"))
        # The token from before is not bound, but its app must show the certificate from now on.
        for path in BOTH:
            answer = client.get(path)
            assert answer.status_code == 401
            assert "must show its client certificate" in answer.json()["detail"]
        body = {"grant_type": "client_credentials"}
        bare = client.post(
            "/mep/token", data=body, auth=(known.client_id, known.client_secret), headers={"Authorization": ""}
        )
        answer = httpx.Response(bare.status_code, content=bare.content)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    with signed_in(mep, known, own) as client:
        assert [client.get(path).status_code for path in BOTH] == [200, 200]
        certificates.issue("app-1")
        assert [client.get(path).status_code for path in BOTH] == [401, 401], "another certificate is needed now"
        certificates.lift("app-1")
        assert [client.get(path).status_code for path in BOTH] == [200, 200], "still bound, and still shown"


def test_certificates_that_no_ca_of_ours_made_do_not_get_through_the_handshake(mep: Serving, tmp_path: Path) -> None:
    for certificate in (self_signed(tmp_path), mep.files.chain):
        if certificate == mep.files.chain:
            # The server's own certificate is no client's: the CA gave it to serve.
            certificate = tmp_path / "server-as-client.pem"
            certificate.write_text(mep.files.chain.read_text() + mep.files.key.read_text())
        with mep.client(certificate) as client, pytest.raises((httpx.HTTPError, ssl.SSLError)):
            client.get("/mep/jwks.json")
    with mep.client() as client:
        assert client.get("/mep/jwks.json").status_code == 200


def test_the_operators_ca_may_be_trusted_too(
    settings: Any, transactional_db: None, provision: Any, tmp_path: Path
) -> None:
    theirs = self_signed(tmp_path)
    settings.MTLS, settings.CLIENT_CA = "optional", str(theirs)
    known = provision()
    shown = mtls.thumbprint(x509.load_pem_x509_certificate(theirs.read_bytes()).public_bytes(Encoding.DER))
    certificates.require("app-1", shown)
    with Serving() as mep, signed_in(mep, known, theirs) as client:
        assert client.get(SERVICES).status_code == 200


def test_where_certificates_are_required_no_token_goes_without(
    settings: Any, transactional_db: None, provision: Any, tmp_path: Path
) -> None:
    settings.MTLS = "required"
    known = provision()
    unbound = tokens.issue(App.objects.get())
    own = on_disk(tmp_path, certificates.issue("app-1"))
    certificates.lift("app-1")
    with Serving() as mep:
        with mep.client(token=unbound) as client:
            assert client.get("/mep/jwks.json").status_code == 200, "what needs no token needs no certificate"
            for path in BOTH:
                assert "bound to a client certificate" in client.get(path).json()["detail"]
        with mep.client() as client:
            body = {"grant_type": "client_credentials"}
            answer = client.post("/mep/token", data=body, auth=(known.client_id, known.client_secret))
            assert answer.status_code == 401
            assert "client certificate" in answer.json()["detail"]
        with signed_in(mep, known, own) as client:
            assert [client.get(path).status_code for path in BOTH] == [200, 200]


def test_without_mutual_tls_nobody_is_asked_and_bound_tokens_are_refused(
    settings: Any, transactional_db: None, provision: Any, tmp_path: Path
) -> None:
    settings.MTLS = "optional"
    provision()
    own = on_disk(tmp_path, mine := certificates.issue("app-1"))
    bound = tokens.issue(App.objects.get(), certificate=mine.thumbprint)
    settings.MTLS = "off"
    with Serving() as mep, mep.client(own, bound) as client:
        assert [client.get(path).status_code for path in BOTH] == [401, 401]


def test_no_header_passes_for_a_certificate(speak: Callable[..., Mp1], settings: Any) -> None:
    settings.MTLS = "optional"
    app = speak()
    mine = certificates.issue("app-1")
    bound = Mp1("app-1", tokens.issue(App.objects.get(), certificate=mine.thumbprint))
    for name in ("asgi.scope", "extensions", "x5t#S256", "X-Forwarded-Client-Cert", "SSL-Client-Cert", "Client-Cert"):
        problem(bound.get(SERVICES, **{name: mine.thumbprint}), 401)
    problem(app.get(SERVICES), 401)


def test_a_websocket_is_opened_over_the_connection_with_the_certificate_only(
    speak: Callable[..., Mp1], settings: Any
) -> None:
    settings.MTLS = "optional"
    app = speak()
    answer = app.post(
        "/mec_service_mgmt/v1/applications/{app}/subscriptions",
        {
            "subscriptionType": "SerAvailabilityNotificationSubscription",
            "websockNotifConfig": {"requestWebsocketUri": True},
        },
    )
    assert answer.status_code == 201, answer.content
    mine = certificates.issue("app-1")
    bound = tokens.issue(App.objects.get(), certificate=mine.thumbprint)
    path = f"/mec_service_mgmt/v1/applications/app-1/subscriptions/{answer['Location'].rpartition('/')[2]}/websocket"
    asked = path, {b"authorization": f"Bearer {bound}".encode()}
    assert websockets.admit(*asked, mine.thumbprint)[0]
    for shown in ("", "A" * 43):
        with pytest.raises(tokens.BadToken, match="certificate"):
            websockets.admit(*asked, shown)


# --- how an app gets one ---------------------------------------------------------------------------------------------------


@pytest.fixture
def mm5(settings: Any, provision: Callable[..., Any]) -> Callable[..., Any]:
    settings.MM5_TOKEN, settings.MTLS = "management", "optional"
    provision()

    def send(method: str, body: Any = None, app: str = "app-1", token: str = "management") -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        return Client(headers={"Authorization": f"Bearer {token}"}).generic(
            method.upper(), f"/mm5/v1/app_instances/{app}/certificate", content, content_type="application/json"
        )

    return send


def test_the_management_gets_a_certificate_for_an_apps_own_key(mm5: Callable[..., Any]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    answer = mm5("post", {"csr": csr_of(key)})
    assert answer.status_code == 201, answer.content
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    assert "privateKey" not in body
    made, authority = x509.load_pem_x509_certificates(body["certificate"].encode())
    made.verify_directly_issued_by(authority)
    assert made.public_key() == key.public_key()
    assert made.subject.rfc4514_string() == "CN=app-1", "the name is ours to give, not the request's"
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert App.objects.get().certificate == body["x5t#S256"] == mtls.thumbprint(made.public_bytes(Encoding.DER))
    assert authority.public_bytes(Encoding.PEM).decode() == tls.ca_pem()
    assert mm5("delete").status_code == 204
    assert App.objects.get().certificate == ""


def test_or_one_with_a_key_made_here_or_names_one_that_others_made(mm5: Callable[..., Any]) -> None:
    made = mm5("post").json()
    assert made["privateKey"].startswith("-----BEGIN PRIVATE KEY-----")
    assert made["privateKey"] not in repr(certificates.issue("app-1"))
    assert mm5("post", {"x5t#S256": "A" * 43}).status_code == 204
    assert App.objects.get().certificate == "A" * 43
    services.provision("app-1", app_name="app-1")
    assert App.objects.get().certificate == "A" * 43, "provisioning again changes nothing about it"


@pytest.mark.parametrize(
    "body",
    [
        {"csr": "nonsense"}, {"csr": 5}, {"csr": "x" * 20000}, {"x5t#S256": "short"}, {"x5t#S256": ""}, {"x": 1}, [],
        {"csr": "", "x5t#S256": "A" * 43},
    ],
)  # fmt: skip
def test_a_request_for_a_certificate_that_makes_no_sense_is_told_so(mm5: Callable[..., Any], body: Any) -> None:
    problem(mm5("post", body), 400)
    assert App.objects.get().certificate == ""


def test_weak_keys_and_requests_that_were_changed_get_no_certificate(mm5: Callable[..., Any]) -> None:
    problem(mm5("post", {"csr": csr_of(rsa.generate_private_key(65537, 1024))}), 400)
    problem(mm5("post", {"csr": csr_of(ec.generate_private_key(ec.SECP192R1()))}), 400)
    request = x509.load_pem_x509_csr(csr_of(ec.generate_private_key(ec.SECP256R1())).encode())
    der = bytearray(request.public_bytes(Encoding.DER))
    der[der.index(b"somebody")] ^= 1
    text = base64.encodebytes(bytes(der)).decode()
    changed = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
    assert "own key" in problem(mm5("post", {"csr": changed}), 400)["detail"]


def test_only_the_management_gives_certificates_and_only_where_they_are_asked_for(
    mm5: Callable[..., Any], settings: Any
) -> None:
    problem(mm5("post", token="wrong"), 401)
    problem(mm5("post", app="nobody"), 404)
    settings.MTLS = "off"
    problem(mm5("post"), 409)
    problem(mm5("post", {"x5t#S256": "A" * 43}), 409)
    assert mm5("delete").status_code == 204
