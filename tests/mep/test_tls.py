"""The node's certificates: made once, renewed in time, never readable by others."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mep.mp1 import tls


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_the_first_start_makes_a_ca_and_a_certificate_for_our_names(settings: Any) -> None:
    settings.SERVER_NAMES = ["edge7.example", "10.0.0.7", "MEP"]
    files = tls.ensure()
    server, authority = certificate(files.chain), certificate(files.ca)
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"mep", "localhost", "edge7.example"}
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "10.0.0.7"}
    key = server.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert tls.ca_pem() == files.ca.read_text()
    for secret in (files.key, files.ca_key):
        assert secret.stat().st_mode & 0o777 == 0o600


def test_another_start_changes_nothing() -> None:
    files = tls.ensure()
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    tls.ensure()
    assert before == {path.name: path.read_bytes() for path in files.folder.iterdir()}


def test_the_certificate_is_renewed_at_two_thirds_of_its_life_under_the_same_ca() -> None:
    files = tls.ensure()
    serial, authority = certificate(files.chain).serial_number, files.ca.read_bytes()
    tls.ensure(datetime.now(UTC) + timedelta(days=59))
    assert certificate(files.chain).serial_number == serial
    tls.ensure(datetime.now(UTC) + timedelta(days=61))
    assert certificate(files.chain).serial_number != serial
    assert files.ca.read_bytes() == authority


@pytest.mark.parametrize("harm", ["name", "gone", "garbage", "mode", "foreign key", "foreign ca"])
def test_a_certificate_that_cannot_serve_is_made_anew(harm: str, settings: Any, tmp_path: Path) -> None:
    files = tls.ensure()
    serial = certificate(files.chain).serial_number
    shutil.copytree(files.folder, tmp_path / "copy")
    if harm == "name":
        settings.SERVER_NAMES = ["new.example"]
    elif harm == "gone":
        files.key.unlink()
    elif harm == "garbage":
        files.chain.write_text("nonsense")
    elif harm == "mode":
        files.key.chmod(0o644)
    elif harm == "foreign key":
        files.chain.unlink()
        tls.ensure()
        serial = certificate(files.chain).serial_number
        shutil.copy(tmp_path / "copy" / "server.key", files.key)
    else:
        files.ca.unlink()
    tls.ensure()
    assert certificate(files.chain).serial_number != serial
    assert not tls.needs_renewal(files, tls.names(), datetime.now(UTC))
    assert files.key.stat().st_mode & 0o777 == 0o600


def test_two_processes_that_start_at_once_agree() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(tls.ca_pem())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    assert tls.context(tls.ensure()).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_server_that_runs_goes_over_to_the_renewed_certificate() -> None:
    files = tls.ensure()
    context = tls.context(files)

    async def serial_seen(port: int) -> int:
        trust = ssl.create_default_context(cafile=str(files.ca))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="mep")
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown).serial_number

    async def talk() -> tuple[int, int]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        before = await serial_seen(port)
        files.key.unlink()
        context.load_cert_chain(tls.ensure().chain, files.key)
        after = await serial_seen(port)
        server.close()
        return before, after

    before, after = asyncio.run(talk())
    assert before != after
    assert after == certificate(files.chain).serial_number
