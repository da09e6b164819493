"""Certificates: judged offline, by partners, by this store; each way in which one can be wrong is told."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appstore.certification import certificates, federating, issuing, junit
from appstore.certification.certificates import Lab
from appstore.certification.models import Certificate, TrustedLab
from core import dsse
from core.accounts.access import Actor
from core.errors import Conflict, Denied, Invalid, Missing
from tests.appstore import making

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
SHA = "ab" * 32
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LABS = [Lab("Harbour lab", KEY.public_key())]


def pem(key: Any) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def certificate(key: Any = KEY, sha256: str = SHA, **changes: Any) -> dict[str, Any]:
    body = certificates.predicate(
        certificate="c-1",
        lab="Harbour lab",
        lab_key=dsse.key_id(key.public_key()),
        application={"name": "hello", "provider": "Acme", "version": "1.0"},
        suites=[{"name": "static-full", "version": 3, "digest": "d"}],
        checks=[{"name": "chart-renders", "version": "1", "outcome": "passed"}],
        environment={"breakwater": "1"},
        level="standard",
        levels=["basic", "standard"],
        verdict="passed",
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=30),
    )
    return dsse.statement({"hello": sha256}, certificates.PREDICATE, {**body, **changes}, key)


def test_a_certificate_that_holds_says_what_it_says() -> None:
    held = certificates.verify(certificate(), LABS, sha256=SHA.upper(), at=NOW)
    assert (held.level, held.levels, held.lab, held.sha256) == ("standard", ("basic", "standard"), "Harbour lab", SHA)
    assert held.valid_until == NOW + timedelta(days=30)
    assert not held.simulated


NO_ZONE = {"notBefore": "2026-01-01", "notAfter": "2027-01-01"}
REASONS = {
    "another package": (certificate(), LABS, "cd" * 32, NOW, "about another file"),
    "expired": (certificate(), LABS, SHA, NOW + timedelta(days=30), "expired on 2026-05-31"),
    "not yet": (certificate(), LABS, SHA, NOW - timedelta(days=2), "not valid before"),
    "wrong key": (certificate(OTHER), LABS, SHA, NOW, "not trusted here"),
    "no key": (certificate(), [], SHA, NOW, "not trusted here"),
    "a lab that lost its trust": (certificate(), [Lab("X", KEY.public_key(), revoked_at=NOW)], SHA, NOW, "no longer trusted"),
    "a lab whose time is over": (certificate(), [Lab("X", KEY.public_key(), NOW)], SHA, NOW, "trust in the lab X ended"),
    "another statement": (dsse.statement({"a": SHA}, "urn:other", {}, KEY), LABS, SHA, NOW, "not of the type"),
    "no level": (certificate(level="gold"), LABS, SHA, NOW, "cannot be read"),
    "a level it did not reach": (certificate(level="telco"), LABS, SHA, NOW, "cannot be read"),
    "no validity": (certificate(validity={}), LABS, SHA, NOW, "cannot be read"),
    "a time without a zone": (certificate(validity=NO_ZONE), LABS, SHA, NOW, "cannot be read"),
    "two packages": (dsse.statement({"a": SHA, "b": SHA}, certificates.PREDICATE, {}, KEY), LABS, SHA, NOW, "cannot be read"),
    "no environment": (certificate(environment=None), LABS, SHA, NOW, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", REASONS)
def test_each_certificate_that_does_not_hold_is_refused_with_the_reason(case: str) -> None:
    envelope, labs, sha256, at, reason = REASONS[case]
    with pytest.raises(Invalid, match=reason):
        certificates.verify(envelope, labs, sha256=sha256, at=at)


def test_each_changed_byte_is_refused() -> None:
    envelope = certificate()
    payload = base64.b64decode(envelope["payload"])
    for place in range(0, len(payload), 97):
        changed = bytearray(payload)
        changed[place] ^= 1
        with pytest.raises(Invalid, match="does not fit"):
            certificates.verify({**envelope, "payload": base64.b64encode(changed).decode()}, LABS, at=NOW)


OFFLINE = """
import io, json, socket, sqlite3, sys
def no(*args, **named): raise AssertionError("nothing may be opened")
class Closed(socket.socket): __init__ = no
socket.socket = Closed
socket.create_connection = socket.getaddrinfo = sqlite3.connect = sqlite3.dbapi2.connect = no
import django
from django.core.management import CommandError, call_command
django.setup()
told = []
for arguments in json.loads(sys.argv[1]):
    out = io.StringIO()
    try:
        call_command("verify_certificate", *arguments, stdout=out)
        told.append(out.getvalue())
    except CommandError as refused:
        told.append(str(refused))
print(json.dumps(told))
"""


def offline(tmp_path: Path, *cases: list[Any]) -> list[str]:
    """Run the command for each case with sockets and databases disabled; return what it said."""
    root = Path(__file__).resolve().parents[3]
    env = {**os.environ, "BREAKWATER_VAR": str(tmp_path / "var"), "DJANGO_SETTINGS_MODULE": "mecm.settings",
           "PYTHONPATH": str(root), "BREAKWATER_DATABASE_URL": "postgres://nobody@192.0.2.1/none"}  # fmt: skip
    told = json.dumps([[str(each) for each in case] for case in cases])
    done = subprocess.run([sys.executable, "-c", OFFLINE, told], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_the_command_verifies_with_sockets_and_database_disabled(tmp_path: Path) -> None:
    package = tmp_path / "hello.csar"
    package.write_bytes(making.edgegallery())
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    good, bad, key, wrong = (tmp_path / name for name in ("good.json", "bad.json", "lab.pem", "wrong.pem"))
    envelope = certificate(sha256=sha256)
    good.write_text(json.dumps(envelope))
    changed = bytearray(base64.b64decode(envelope["payload"]))
    changed[40] ^= 1
    bad.write_text(json.dumps({**envelope, "payload": base64.b64encode(changed).decode()}))
    key.write_text(pem(KEY))
    wrong.write_text(pem(OTHER))
    at = ["--at", "2026-05-01T12:00:00Z"]
    held, *refused = offline(
        tmp_path,
        [good, "--key", key, "--package", package, *at],
        [bad, "--key", key, *at],
        [good, "--key", key, "--at", "2027-01-01"],
        [good, "--key", wrong, *at],
        [good, "--key", key, "--package", key, *at],
    )
    assert held.splitlines()[0] == "VALID: Acme hello 1.0"
    reasons = ["was changed", "expired on", "not trusted here", "about another file"]
    for said, reason in zip(refused, reasons, strict=True):
        assert said.startswith("REFUSED: ")
        assert reason in said


@pytest.fixture
def trusted(actor: Actor) -> TrustedLab:
    """The lab of a partner."""
    return issuing.trust_lab(actor=actor, name="Harbour lab", public_pem=pem(KEY))


def fresh(sha256: str, **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    validity = {
        "notBefore": certificates.moment(now - timedelta(days=1)),
        "notAfter": certificates.moment(now + timedelta(days=1)),
    }
    return certificate(sha256=sha256, validity=validity, **changes)


def test_a_partners_certificate_counts_while_its_lab_is_trusted(
    package: Any, actor: Actor, trusted: TrustedLab
) -> None:
    said = federating.accept(package, {**fresh(package.sha256), "beside": "what nobody signed"}, "some store")
    assert said == {"level": "standard", "lab": "Harbour lab"}
    assert sorted(Certificate.objects.get().envelope) == ["payload", "payloadType", "signatures"]
    assert federating.accept(package, fresh(package.sha256), "again")["level"] == "standard"
    assert issuing.levels_of([package.pk]) == {package.pk: "standard"}
    assert federating.describe(package) == {"certification": "standard"}
    assert len(federating.evidence([package])[package.pk]) >= 1
    issuing.distrust_lab(trusted, actor=actor, reason="it was bought")
    assert issuing.levels_of([package.pk]) == {}
    with pytest.raises(Invalid, match="no longer trusted"):
        issuing.verify(fresh(package.sha256))


def test_a_partners_certificate_about_another_file_or_of_a_stranger_is_not_kept(
    package: Any, trusted: TrustedLab
) -> None:
    with pytest.raises(Invalid, match="another file"):
        federating.accept(package, fresh("cd" * 32), "x")
    with pytest.raises(Invalid, match="not trusted"):
        federating.accept(package, certificate(OTHER, package.sha256), "x")
    assert not Certificate.objects.exists()


def test_a_revoked_certificate_counts_for_nothing(package: Any, certify: Any, actor: Actor) -> None:
    certify(package, "static-full")
    row = Certificate.objects.get()
    assert issuing.verify(row.envelope).level == row.level
    with pytest.raises(Invalid, match="Say why"):
        issuing.revoke(row, actor=actor, reason=" ")
    issuing.revoke(row, actor=actor, reason="a mistake")
    with pytest.raises(Invalid, match="revoked: a mistake"):
        issuing.verify(row.envelope)
    with pytest.raises(Conflict):
        issuing.revoke(row, actor=actor, reason="again")


def test_only_the_operator_trusts_labs(
    organisation: Any, stranger: Any, make_user: Any, actor: Actor, settings: Any
) -> None:
    settings.OPERATOR = organisation.slug
    with pytest.raises(Missing):
        issuing.trust_lab(actor=Actor(stranger), name="x", public_pem=pem(KEY))
    with pytest.raises(Denied):
        issuing.trust_lab(actor=Actor(make_user("dev", organisation, "developer")), name="x", public_pem=pem(KEY))
    with pytest.raises(Invalid):
        issuing.trust_lab(actor=actor, name="x", public_pem="nonsense")
    issuing.trust_lab(actor=actor, name="x", public_pem=pem(KEY))
    with pytest.raises(Conflict, match="known already"):
        issuing.trust_lab(actor=actor, name="y", public_pem=pem(KEY))


def test_the_own_key_cannot_be_distrusted_by_trusting_it(actor: Actor) -> None:
    from appstore.keys import services as keys

    with pytest.raises(Conflict, match="own lab"):
        issuing.trust_lab(actor=actor, name="me", public_pem=keys.current(keys.LAB).public_pem)


def test_a_run_is_a_junit_file_that_parsers_take(package: Any, certify: Any) -> None:
    from defusedxml.ElementTree import fromstring

    run = certify(package, "static-full", "manual")
    row = run.results.get(check_name="chart-renders")
    row.outcome = "failed"
    row.findings = [
        {"level": "error", "code": "x", "place": "<a&b>", "message": "bad \x00\x1b]]> \ud800 é", "remedy": ""}
    ]
    others = [each for each in run.results.all() if each.pk != row.pk]
    root = fromstring(junit.document(run, [row, *others]))
    assert root.tag == "testsuites"
    cases = {case.get("name"): case for case in root.iter("testcase")}
    failure = cases["chart-renders"].find("failure")
    assert failure is not None
    assert "<a&b>" in str(failure.text)
    assert cases["support-contact"].find("skipped") is not None
    assert root.get("failures") == "1"
    assert root.get("tests") == str(len(others) + 1)
    assert sum(int(suite.get("tests", "0")) for suite in root.iter("testsuite")) == len(cases)
    assert {"errors", "skipped", "time"} <= set(root.attrib)
