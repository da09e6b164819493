"""OpenSSL as the oracle: it verifies what we sign, and we verify what it signs; also its timestamps and revocation lists."""

from __future__ import annotations

import base64
import datetime as dt
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from appstore.packages import signatures, signing
from appstore.trust import judging
from tests.appstore import making
from tests.appstore.trust import pki

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl on this machine to compare with")
TEXT = b"metadata:\napp_product_name: hello\n\nSource: a.txt\nAlgorithm: SHA-256\nHash: 00\n"
TSA = pki.party("Harbour Time", pki.ROOT, ca=False, usages=(ExtendedKeyUsageOID.TIME_STAMPING,), critical_usages=True)


@pytest.fixture(scope="module")
def rsa_signer() -> pki.Party:
    """A signer with an RSA key of 3072 bits."""
    return pki.party("Acme RSA", pki.MIDDLE, ca=False, key=rsa.generate_private_key(65537, 3072))


def openssl(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run openssl."""
    return subprocess.run([str(OPENSSL), *map(str, arguments)], capture_output=True, check=False, timeout=60, **options)


def write(folder: Path, signer: pki.Party) -> None:
    """Write what openssl needs."""
    (folder / "key.pem").write_bytes(signer.key_pem)
    (folder / "cert.pem").write_text(signer.pem)
    (folder / "chain.pem").write_text(pki.MIDDLE.pem)
    (folder / "root.pem").write_text(pki.ROOT.pem)
    (folder / "text").write_bytes(TEXT)


def signed_by_openssl(folder: Path, signer: pki.Party, *options: str) -> str:
    """A detached CMS block over TEXT."""
    write(folder, signer)
    done = openssl(
        "cms", "-sign", "-in", folder / "text", "-signer", folder / "cert.pem", "-inkey", folder / "key.pem",
        "-certfile", folder / "chain.pem", "-outform", "PEM", "-out", folder / "block.pem", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / "block.pem").read_text()


def verdict(block: str, text: bytes = TEXT) -> tuple[signatures.Signature, judging.Judgement]:
    """What we say of a block, by a list that trusts the root."""
    signature, _ = signatures.verify(block, {"manifest": text}, "a.mf")
    return signature, judging.assess(signature.as_dict(), pki.trusting(pki.ROOT), dt.datetime.now(dt.UTC))


@pytest.mark.parametrize("kind", ["ecdsa", "ecdsa-384", "rsa", "rsa-pss"])
def test_openssl_verifies_what_we_sign(kind: str, tmp_path: Path, rsa_signer: pki.Party) -> None:
    signer = rsa_signer if kind.startswith("rsa") else pki.SIGNER
    if kind == "ecdsa-384":
        signer = pki.party("Acme 384", pki.MIDDLE, ca=False, key=ec.generate_private_key(ec.SECP384R1()))
    write(tmp_path, signer)
    manifest = pki.files(pki.signed(tmp_path, signer=signer))["hello.mf"]
    body, mark, block = manifest.partition(b"-----BEGIN CMS-----")
    (tmp_path / "body").write_bytes(body)
    (tmp_path / "block.pem").write_bytes(mark + block)
    verify = (
        "cms", "-verify", "-binary", "-inform", "PEM", "-in", tmp_path / "block.pem", "-content", tmp_path / "body",
        "-CAfile", tmp_path / "root.pem", "-purpose", "any", "-out", tmp_path / "out",
    )  # fmt: skip
    done = openssl(*verify)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == body
    (tmp_path / "body").write_bytes(body.replace(b"Acme", b"Evil"))
    assert openssl(*verify).returncode != 0


@pytest.mark.parametrize(
    "options",
    [
        ("-binary",),
        (),
        ("-binary", "-md", "sha384"),
        ("-binary", "-noattr"),
        ("-binary", "-keyid"),
        ("-binary", "-cades"),
        ("-binary", "-nosmimecap"),
    ],
    ids=" ".join,
)
def test_we_verify_what_openssl_signs(options: Any, tmp_path: Path) -> None:
    signer = pki.SIGNER
    signature, found = verdict(signed_by_openssl(tmp_path, signer, *options))
    assert (signature.state, signature.problem) == ("valid", "")
    assert str(found.standing.state) == "trusted", found.standing.reason
    assert verdict(signed_by_openssl(tmp_path, signer, *options), TEXT + b"x: y\n")[0].state == "invalid"


@pytest.mark.parametrize("options", [("-keyopt", "rsa_padding_mode:pkcs1"), ("-keyopt", "rsa_padding_mode:pss")])
def test_we_verify_rsa_in_both_paddings_by_openssl(options: Any, tmp_path: Path, rsa_signer: pki.Party) -> None:
    signature, found = verdict(signed_by_openssl(tmp_path, rsa_signer, "-binary", *options))
    assert (signature.state, str(found.standing.state)) == ("valid", "trusted"), found.standing.reason


def test_sha1_by_openssl_is_read_flagged_and_not_trusted(tmp_path: Path) -> None:
    signature, found = verdict(signed_by_openssl(tmp_path, pki.SIGNER, "-binary", "-md", "sha1"))
    assert (signature.state, signature.weak) == ("valid", "sha1 is broken")
    assert str(found.standing.state) == "unknown"


def test_a_block_by_openssl_as_a_stream_is_valid_but_not_strict(tmp_path: Path) -> None:
    signature, found = verdict(signed_by_openssl(tmp_path, pki.SIGNER, "-binary", "-stream", "-indef"))
    if signature.loose:  # openssl before 3.2 writes an indefinite length here
        assert str(found.standing.state) == "unknown"
    assert signature.state == "valid"


def test_two_signers_by_openssl_must_both_hold_and_one_trusted_is_enough(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(pki.STRANGER.key_pem + pki.STRANGER.pem.encode())
    block = signed_by_openssl(tmp_path, pki.SIGNER, "-binary", "-signer", str(tmp_path / "other.pem"))
    signature, found = verdict(block)
    assert len(signature.signers) == 2
    assert str(found.standing.state) == "trusted"
    assert found.standing.signer.endswith("Acme Apps") or "Acme Apps" in found.standing.signer


def test_openssl_verifies_a_package_that_we_signed_from_outside(tmp_path: Path) -> None:
    write(tmp_path, pki.SIGNER)
    (tmp_path / "app.csar").write_bytes(making.edgegallery())
    done = openssl(
        "cms", "-sign", "-binary", "-in", tmp_path / "app.csar", "-signer", tmp_path / "cert.pem",
        "-inkey", tmp_path / "key.pem", "-certfile", tmp_path / "chain.pem", "-outform", "DER",
        "-out", tmp_path / "app.cms",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outer = pki.enclosed(making.edgegallery(), (tmp_path / "app.cms").read_bytes())
    assert pki.state_of(tmp_path, outer)[0] == "trusted"


def stamped(folder: Path, tsa: pki.Party, block: bytes) -> str:
    """The block with a timestamp of openssl's authority over its signature."""
    info = cms.ContentInfo.load(base64.b64decode(b"".join(block.splitlines()[1:-1])))
    signer = info["content"]["signer_infos"][0]
    (folder / "signature").write_bytes(signer["signature"].native)
    (folder / "tsa.key").write_bytes(tsa.key_pem)
    (folder / "tsa.pem").write_text(tsa.pem)
    (folder / "serial").write_text("01")
    (folder / "tsa.cnf").write_text(
        f"[tsa]\nserial = {folder}/serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\ndigests = sha256\n"
    )
    for line in (
        ("ts", "-query", "-data", folder / "signature", "-sha256", "-cert", "-out", folder / "q"),
        (
            "ts", "-reply", "-config", folder / "tsa.cnf", "-section", "tsa", "-queryfile", folder / "q",
            "-signer", folder / "tsa.pem", "-inkey", folder / "tsa.key", "-token_out", "-out", folder / "token",
        ),
    ):  # fmt: skip
        done = openssl(*line)
        assert done.returncode == 0, done.stderr
    token = cms.ContentInfo.load((folder / "token").read_bytes())
    signer["unsigned_attrs"] = cms.CMSAttributes(
        [cms.CMSAttribute({"type": "signature_time_stamp_token", "values": [token]})]
    )
    return base64.encodebytes(info.dump(force=True)).decode()


def test_a_timestamp_of_a_trusted_authority_outlives_the_signers_certificate(tmp_path: Path) -> None:
    block = signing.sign_text(TEXT, pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate])
    signature, _ = signatures.verify(stamped(tmp_path, TSA, block), {"manifest": TEXT}, "a.mf")
    assert signature.signers[0]["timestamp"].get("problem") is None
    later = pki.NOW + dt.timedelta(days=400)
    # Root and middle end at the same day as the signer, so that the authority of the stamp must be an anchor of its own.
    long_root = pki.party("Harbour Root", ca=True, key=pki.ROOT.key, end=pki.NOW + dt.timedelta(days=4000))
    known = pki.trusting(long_root, tsa=(TSA,))
    # The stamp was made just now, which on a busy machine is long after the keys were.
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    before = judging.assess(signature.as_dict(), known, soon)
    assert (str(before.standing.state), before.moment) == ("trusted", "timestamp")
    after = judging.assess(signature.as_dict(), known, later)
    assert str(after.standing.state) == "trusted", after
    unstamped = judging.assess(signature.as_dict(), pki.trusting(long_root), later)
    assert str(unstamped.standing.state) == "unknown"
    assert "does not count here" in unstamped.notes[0]


def test_a_timestamp_of_another_signature_refuses_everything(tmp_path: Path) -> None:
    blocks = [
        signing.sign_text(TEXT, pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate]) for _ in range(2)
    ]
    good = cms.ContentInfo.load(base64.b64decode(stamped(tmp_path, TSA, blocks[0])))
    other = cms.ContentInfo.load(base64.b64decode(b"".join(blocks[1].splitlines()[1:-1])))
    other["content"]["signer_infos"][0]["unsigned_attrs"] = good["content"]["signer_infos"][0]["unsigned_attrs"].copy()
    signature, _ = signatures.verify(base64.encodebytes(other.dump(force=True)).decode(), {"manifest": TEXT}, "a.mf")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    found = judging.assess(signature.as_dict(), pki.trusting(pki.ROOT, tsa=(TSA,)), soon)
    assert (signature.state, str(found.standing.state)) == ("valid", "unknown")
    assert "timestamp does not hold" in found.standing.reason
