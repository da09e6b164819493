"""What it costs to verify a signature and to find the path to an anchor, offline; prints medians.

    python benchmarks/signatures.py

`verify` parses the CMS block of a manifest with 50 files and checks it; `judge` validates a path of three certificates with
a revocation list; `standing` is what a list of packages pays once both are known. One thread, everything in memory.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("BREAKWATER_VAR", tempfile.mkdtemp())
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")

import django

django.setup()

from appstore.packages import signatures, signing  # noqa: E402  (models are loaded only now)
from appstore.trust import judging, paths  # noqa: E402
from tests.appstore.trust import pki  # noqa: E402

ROUNDS = 300


def milliseconds(act: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """Return median and 95th percentile of one call."""
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        act()
        spent.append((time.process_time() - begun) * 1000)
    return statistics.median(spent), statistics.quantiles(spent, n=20)[-1]


def main() -> None:
    """Measure and print."""
    lines = ["metadata:", "vnfd_id: " + str(uuid.uuid4()), ""]
    for number in range(50):
        lines += [f"Source: Artifacts/file-{number}.yaml", "Algorithm: SHA-256", f"Hash: {number:064x}", ""]
    text = "\n".join(lines).encode()
    block = signing.sign_text(text, pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate]).decode()
    trust = pki.trusting(pki.ROOT, lists=(pki.crl(pki.MIDDLE), pki.crl(pki.ROOT)))
    now = dt.datetime.now(dt.UTC)

    def verify() -> signatures.Signature:
        return signatures.verify(block, {"manifest": text}, "a.mf")[0]

    facts = verify().as_dict()
    assert str(judging.assess(facts, trust, now).standing.state) == "trusted"

    def cold() -> None:
        for kept in (paths.certificate, paths.revocation_list, paths.fingerprint, paths._signed_by, paths.certified_by):
            kept.cache_clear()
        judging.assess(verify().as_dict(), trust, now)

    print(
        f"manifest of {len(text)} bytes, CMS block of {len(block)} characters, {ROUNDS} rounds; ms of CPU, median / p95"
    )
    for name, act in (
        ("sign", lambda: signing.sign_text(text, pki.SIGNER.key, pki.SIGNER.certificate)),
        ("verify the signature", verify),
        ("judge: path and revocation", lambda: judging.assess(facts, trust, now)),
        ("verify and judge, nothing kept in memory", cold),
    ):
        median, late = milliseconds(act)
        print(f"{name:45} {median:7.2f} / {late:.2f}")


if __name__ == "__main__":
    main()
