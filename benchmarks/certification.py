"""Static certification of a typical package, and offline verification of a signature with a certificate.

    .venv/bin/python benchmarks/certification.py [--runs 5]

Prints seconds for a whole run by a worker (rendering, a process for each check, verdict, certificate) and milliseconds
for verifying CMS signature and certificate of a package. Uses a database and a store of its own, removed afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured")
    runs = parser.parse_args().runs
    folder = tempfile.mkdtemp(prefix="breakwater-bench-")
    os.environ |= {"BREAKWATER_VAR": folder, "DJANGO_SETTINGS_MODULE": "mecm.settings", "BREAKWATER_LOG_LEVEL": "ERROR"}
    try:
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.OPERATION_BELL = ""
        call_command("migrate", verbosity=0)
        _certify(runs)
        _verify(runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def typical() -> bytes:
    """Return a package like those in the field: a chart of several objects, an image, a descriptor with services."""
    from tests.appstore import making

    objects = "\n---\n".join(
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: part-{n}, labels: {{app: part-{n}}}}}\nspec:\n"
        f"  selector: {{matchLabels: {{app: part-{n}}}}}\n  template:\n    metadata: {{labels: {{app: part-{n}}}}}\n"
        f"    spec:\n      containers:\n        - name: main\n          image: localhost/breakwater/hello:1.0\n"
        "          ports: [{containerPort: 8080}]\n"
        "          resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}\n"
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: part-{n}}}\n"
        f"spec: {{selector: {{app: part-{n}}}, ports: [{{port: 80, targetPort: 8080}}]}}"
        for n in range(6)
    )
    files = making.edgegallery_files()
    files["Artifacts/Deployment/Charts/hello.tgz"] = making.chart_bytes(**{"templates/hello.yaml": objects})
    files["Image/hello.tar"] = making.image_bytes(layer=os.urandom(8 << 20))
    return making.zip_bytes({"hello.mf": making.manifest_of(files), **files})


def _certify(runs: int) -> None:
    from appstore.certification import services, suites
    from appstore.certification.models import Run
    from appstore.packages import services as packages
    from core.accounts.access import SYSTEM
    from core.accounts.models import Organisation
    from core.operations import services as operations

    organisation = Organisation.objects.create(slug="lab", name="Lab")
    package = packages.receive([typical()], actor=SYSTEM, organisation=organisation, filename="typical.csar")
    operations.run_due()
    package.refresh_from_db()
    if package.state != "checked":
        raise SystemExit(f"the package was not accepted: {package.findings}")
    began = time.perf_counter()
    suites.ensure_builtin()
    print(
        f"learning what {len(suites.known())} checks say of themselves (once a process): {time.perf_counter() - began:.2f} s"
    )
    taken: list[float] = []
    for _ in range(runs):
        run = services.start(package, actor=SYSTEM, wanted=["static-full"], fresh=True)
        began = time.perf_counter()
        operations.run_due()
        taken.append(time.perf_counter() - began)
    run.refresh_from_db()
    outcomes = list(run.results.values_list("outcome", flat=True))
    print(f"static certification: {len(outcomes)} checks, {_summary(taken, 's')}; walls: {run.walls.get('kind')}")
    print(f"  outcomes: { {name: outcomes.count(name) for name in sorted(set(outcomes))} }, verdict {run.verdict}")
    again = services.start(package, actor=SYSTEM, wanted=["static-full"])
    began = time.perf_counter()
    operations.run_due()
    carried = again.results.exclude(carried_from=None).count()
    print(f"the same again, {carried} results taken over: {time.perf_counter() - began:.2f} s")
    assert Run.objects.filter(state="finished").count() == runs + 1


def _verify(runs: int) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography.hazmat.primitives.asymmetric import ec

    from appstore.certification import certificates
    from appstore.certification.certificates import Lab
    from appstore.packages import signatures
    from core import dsse

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    sha256 = hashlib.sha256(b"package").hexdigest()
    checks = [{"name": f"check-{n}", "version": "1", "digest": sha256, "outcome": "passed"} for n in range(50)]
    body = certificates.predicate(
        certificate="c", lab="Lab", lab_key=dsse.key_id(key.public_key()), application={"name": "hello"}, suites=[],
        checks=checks, environment={}, level="basic", levels=["basic"], verdict="passed",
        not_before=now - timedelta(days=1), not_after=now + timedelta(days=1),
    )  # fmt: skip
    envelope = dsse.statement({"hello": sha256}, certificates.PREDICATE, body, key)
    labs = [Lab("Lab", key.public_key())]
    both: list[float] = []
    block, content = _signature()
    for _ in range(max(runs, 50)):
        began = time.perf_counter()
        certificates.verify(envelope, labs, sha256=sha256)
        _, findings = signatures.verify(block, {"hello.mf": content}, "hello.mf")
        both.append((time.perf_counter() - began) * 1000)
        assert not any(finding.level == "error" for finding in findings), findings
    print(f"verify signature and certificate offline: {_summary(both, 'ms')}")


def _signature() -> tuple[str, bytes]:
    """Return a CMS signature in PEM, and the manifest of fifty members that it is over."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs7
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Publisher")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    content = b"Source: member\nAlgorithm: SHA-256\nHash: 00\n" * 50
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.PEM, options).decode().replace("PKCS7", "CMS"), content


def _summary(taken: list[float], unit: str) -> str:
    return f"median {statistics.median(taken):.2f} {unit}, worst {max(taken):.2f} {unit} of {len(taken)}"


if __name__ == "__main__":
    main()
