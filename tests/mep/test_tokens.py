"""Access tokens: who gets one, what it says, how long it is good."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from jwt.algorithms import ECAlgorithm

from core.vault import Vault
from mep.mp1 import keys, services, tokens
from mep.mp1.models import App, SigningKey
from tests.mep.conftest import Mp1
from tests.mep.test_service_mgmt import problem

FORM = "application/x-www-form-urlencoded"
GRANT = "grant_type=client_credentials"


def ask(body: str, client_id: str = "", secret: str = "", **headers: str) -> Any:
    if client_id:
        text = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(text.encode()).decode()
    return Client().post("/mep/token", body, content_type=FORM, headers=headers)


def refused(answer: Any, status: int, error: str) -> None:
    """RFC 6749 5.2, and why in words."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["error"] == error
    assert answer.json()["detail"] == answer.json()["error_description"]
    if status == 401:
        assert answer["WWW-Authenticate"].startswith("Basic ")


def test_a_client_gets_a_token_with_basic_or_with_the_form(provision: Callable[..., Any]) -> None:
    known = provision()
    by_header = ask(GRANT, known.client_id, known.client_secret)
    by_form = ask(f"{GRANT}&client_id={known.client_id}&client_secret={known.client_secret}")
    for answer in (by_header, by_form):
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        body = answer.json()
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
        assert Mp1("app-1", body["access_token"]).get("/mec_service_mgmt/v1/services").status_code == 200


def test_a_token_says_for_whom_by_whom_and_until_when(provision: Callable[..., Any]) -> None:
    known = provision()
    token = ask(GRANT, known.client_id, known.client_secret).json()["access_token"]
    jwks = Client().get("/mep/jwks.json").json()["keys"]
    header = jwt.get_unverified_header(token)
    (key,) = [each for each in jwks if each["kid"] == header["kid"]]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}, "no private part"
    claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["ES256"], audience="mp1", issuer="https://mep:8443")
    assert claims["sub"] == "app-1"
    assert claims["client_id"] == known.client_id
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["jti"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 400, "invalid_request"),
        ("grant_type=password", 400, "unsupported_grant_type"),
        (f"{GRANT}&scope=admin", 400, "invalid_scope"),
        (f"{GRANT}&{GRANT}", 400, "invalid_request"),
        (f"{GRANT}&client_secret=x", 400, "invalid_request"),
        ("\xff", 400, "invalid_request"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    provision: Callable[..., Any], body: str, status: int, error: str
) -> None:
    known = provision()
    refused(ask(body, known.client_id, known.client_secret), status, error)


def test_wrong_credentials_are_all_alike(provision: Callable[..., Any]) -> None:
    known = provision()
    told = {
        ask(GRANT, known.client_id, "wrong").content,
        ask(GRANT, "nobody", known.client_secret).content,
        ask(f"{GRANT}&client_id={known.client_id}&client_secret=wrong").content,
    }
    assert len(told) == 1
    refused(ask(GRANT, known.client_id, "wrong"), 401, "invalid_client")
    refused(ask(GRANT), 401, "invalid_client")
    refused(ask(GRANT, Authorization="Basic !!!"), 401, "invalid_client")
    refused(ask(GRANT, Authorization="Bearer x"), 401, "invalid_client")


def test_secrets_in_the_uri_are_refused(provision: Callable[..., Any]) -> None:
    known = provision()
    answer = Client().post(
        f"/mep/token?client_id={known.client_id}&client_secret={known.client_secret}", GRANT, content_type=FORM
    )
    refused(answer, 400, "invalid_request")


def test_credentials_stay_the_same_and_are_sealed_at_rest(provision: Callable[..., Any], own_folder: Path) -> None:
    known = provision()
    assert provision() == known
    assert known.client_secret.encode() not in bytes(App.objects.get().secret)
    assert known.client_secret not in repr(known)
    assert known.client_secret not in json.dumps(services.snapshot())
    assert (own_folder / "vault.key").stat().st_mode & 0o777 == 0o600


# --- how long ------------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_refused_with_the_reason(app: Mp1, settings: Any) -> None:
    old = tokens.issue(App.objects.get(), now=time.time() - settings.TOKEN_LIFETIME - 1)
    answer = Mp1("app-1", old).get("/mec_service_mgmt/v1/services")
    assert "expired" in problem(answer, 401)["detail"]
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]


def test_a_token_that_was_seen_before_still_expires() -> None:
    verifier = tokens.Verifier(dict)
    verifier._seen["t"] = tokens.Claims("app-1", 100.0)
    assert verifier.claims("t", now=99.9).app == "app-1"
    with pytest.raises(tokens.BadToken, match="expired"):
        verifier.claims("t", now=100.0)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_that_was_changed_anywhere_is_refused(app: Mp1, part: int) -> None:
    parts = app.token.split(".")
    letter = "A" if parts[part][10] != "A" else "B"
    parts[part] = parts[part][:10] + letter + parts[part][11:]
    problem(Mp1("app-1", ".".join(parts)).get("/mec_service_mgmt/v1/services"), 401)


def test_tokens_that_others_made_are_refused(app: Mp1) -> None:
    row, signer = App.objects.get(), keys.signer()
    public = keys.jwks()["keys"][0]
    claims = {
        "iss": "https://mep:8443",
        "aud": "mp1",
        "sub": "app-1",
        "client_id": row.client_id,
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
        "jti": "x",
    }

    def ours(changes: dict[str, Any], **header: Any) -> str:
        said = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        headers = {"kid": signer.kid, "typ": "at+jwt", **header}
        return jwt.encode(said, signer.private, algorithm="ES256", headers=headers)

    def raw(header: Any, mac: bytes = b"") -> str:
        """A token whose header no library would write."""
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
            for part in ({"typ": "at+jwt", **header}, claims)
        ]
        tail = hmac.digest(mac, b".".join(parts), "sha256") if mac else b""
        return b".".join([*parts, base64.urlsafe_b64encode(tail).rstrip(b"=")]).decode()

    stranger = ec.generate_private_key(ec.SECP256R1())
    pem = jwt.PyJWK(public).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    theirs = ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    forged = {
        "no signature": jwt.encode(claims, "", algorithm="none", headers={"kid": signer.kid, "typ": "at+jwt"}),
        "no signature, shouted": raw({"alg": "NONE", "kid": signer.kid}),
        "our public key as a shared secret": raw({"alg": "HS256", "kid": signer.kid}, pem),
        "a shared secret": jwt.encode(claims, "k" * 32, algorithm="HS256", headers={"kid": signer.kid}),
        "their key under our kid": jwt.encode(claims, stranger, algorithm="ES256", headers={"kid": signer.kid}),
        "their key in the token": jwt.encode(claims, stranger, algorithm="ES256", headers={"jwk": theirs}),
        "their key at an address": jwt.encode(
            claims, stranger, algorithm="ES256", headers={"kid": "x", "jku": "https://evil/keys", "x5u": "https://evil"}
        ),
        "an unknown kid": ours({}, kid="unknown"),
        "a kid that is a path": ours({}, kid="../../dev/null"),
        "a kid that is SQL": ours({}, kid="' OR 1=1 --"),
        "a kid that is a list": raw({"alg": "ES256", "kid": [signer.kid]}),
        "a kid that is an object": raw({"alg": "ES256", "kid": {"a": 1}}),
        "no kid": raw({"alg": "ES256"}),
        "another kind of JWT": ours({}, typ="logout+jwt"),
        "an extension that must be understood": ours({}, crit=["exp2"], exp2=1),
        "for another audience": ours({"aud": "other"}),
        "for no audience": ours({"aud": None}),
        "from another issuer": ours({"iss": "https://evil"}),
        "of another client": ours({"client_id": "somebody"}),
        "of no client": ours({"client_id": None}),
        "without end": ours({"exp": None}),
        "with a nonsense end": raw({"alg": "ES256", "kid": signer.kid}),
        "from the future": ours({"iat": int(time.time()) + 3600}),
        "not yet": ours({"nbf": int(time.time()) + 3600}),
        "empty": "", "a letter": "x", "three letters": "a.b.c", "not ASCII": "é",
    }  # fmt: skip
    for what, token in forged.items():
        answer = Mp1("app-1", token.encode().decode("latin-1")).get("/mec_service_mgmt/v1/services")
        assert problem(answer, 401)["detail"], what
    assert Mp1("app-1", ours({})).get("/mec_service_mgmt/v1/services").status_code == 200


def test_a_token_of_an_app_that_was_discarded_is_not_good_for_the_next_of_that_name(
    app: Mp1, speak: Callable[..., Mp1]
) -> None:
    services.discard("app-1")
    reborn = speak("app-1")
    assert "gone" in problem(app.get("/mec_service_mgmt/v1/services"), 401)["detail"]
    assert reborn.get("/mec_service_mgmt/v1/services").status_code == 200


def test_an_unknown_client_is_as_much_work_as_a_wrong_secret(
    provision: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time cannot be asserted; what takes the time can: the same queries, and one secret opened and compared."""
    known, opened = provision(), []
    sealed_open = Vault.open
    monkeypatch.setattr(Vault, "open", lambda self, *given: opened.append(given[1]) or sealed_open(self, *given))
    work = []
    for client_id in (known.client_id, "nobody"):
        opened.clear()
        with CaptureQueriesContext(connection) as queries:
            assert tokens.client(client_id, "wrong") is None
        work.append((len(opened), [query["sql"].partition("WHERE")[0] for query in queries]))
    assert work[0] == work[1]
    assert work[0][0] == 1


def test_tokens_and_credentials_of_a_discarded_app_are_worth_nothing(app: Mp1) -> None:
    known = services.provision("app-1", app_name="app-1")
    services.discard("app-1")
    assert "gone" in problem(app.get("/mec_service_mgmt/v1/services"), 401)["detail"]
    refused(ask(GRANT, known.client_id, known.client_secret), 401, "invalid_client")


def test_a_terminated_app_gets_no_token(app: Mp1) -> None:
    known = services.provision("app-1", app_name="app-1")
    services.begin_termination("app-1", timeout=0)
    refused(ask(GRANT, known.client_id, known.client_secret), 401, "invalid_client")


# --- keys ------------------------------------------------------------------------------------------------------------------


def test_after_a_rotation_old_tokens_are_good_until_they_expire(app: Mp1, settings: Any, capsys: Any) -> None:
    call_command("rotate_keys")
    assert "2 keys verify" in capsys.readouterr().out
    fresh = tokens.issue(App.objects.get())
    assert jwt.get_unverified_header(fresh)["kid"] != jwt.get_unverified_header(app.token)["kid"]
    assert app.get("/mec_service_mgmt/v1/services").status_code == 200
    assert Mp1("app-1", fresh).get("/mec_service_mgmt/v1/services").status_code == 200
    # Once no token of it can be good, the old key goes.
    keys.rotate_when_due(time.time() + settings.TOKEN_LIFETIME + keys.LEEWAY + 1)
    tokens.verifier.forget()
    assert SigningKey.objects.count() == 1
    problem(app.get("/mec_service_mgmt/v1/services"), 401)


def test_keys_rotate_by_age(app: Mp1, settings: Any) -> None:
    now = time.time()
    assert not keys.rotate_when_due(now + settings.KEY_LIFETIME - 10)
    assert keys.rotate_when_due(now + settings.KEY_LIFETIME + 1)
    assert SigningKey.objects.filter(signing=True).count() == 1


def test_private_keys_are_sealed(app: Mp1) -> None:
    assert b"PRIVATE" not in bytes(SigningKey.objects.get().private)
