"""A certifier: finds what waits, runs the static suites, judges what only people can, and decides about releases."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appstore.trust import pki
from tests.browser.walks import goods
from tests.browser.walks.quay import Quay
from tests.browser.walks.walker import Walker
from tests.flows.edgelab import MANAGE, ROOT
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.live, pytest.mark.timeout(300 * PATIENCE)]
PROVIDER = "Buoy Works"
#: What is judged by people: the check, what they write, what they choose.
DECISIONS = [
    (
        "Personal data are accounted for",
        {"Personal data that it handles": "none"},
        {"Legal ground": "none needed", "The handling is acceptable": "yes"},
    ),
    (
        "It does what it says",
        {"What was tried, step by step": "Sent a letter from one buoy to the other."},
        {"It does what its description says": "yes"},
    ),
    (
        "Scanned for viruses",
        {"Scanner and version of its signatures": "clamav 1.4, 27800", "Day of the scan": "2026-11-26"},
        {"Nothing was found": "yes"},
    ),
    (
        "The provider can be reached and answers",
        {"How the provider is reached": "noc@buoy.example"},
        {"Answered within the promised time": "yes"},
    ),
]


def test_a_certifier_reviews_and_certifies(quay: Quay, walker: Callable[..., Walker], tmp_path: Path) -> None:
    good = goods.csar("buoy-mail", "1.0.0", provider=PROVIDER, about="Carries mail between buoys and ships.")
    good = pki.signed(tmp_path, good)
    nosy = goods.csar("buoy-spy", "1.0.0", provider=PROVIDER, about="Listens to the radio of ships.", host_network=True)
    developer = walker(quay.url, "developer")
    for name, content in (("buoy-mail", good), ("buoy-spy", nosy)):
        with developer.step(f"uploads {name} and asks for publication"):
            developer.follow("Upload")
            developer.upload("Drop packages here", f"{name}.csar", content)
            developer.press("Upload")
            developer.heads(name)
            developer.press("Publish")
            developer.agrees("Publish")
            developer.sees("It waits for a reviewer")

    certifier = walker(quay.url, "certifier")
    with certifier.step("finds what waits, and reads why"):
        certifier.follow("To review")
        certifier.sees("buoy-mail 1.0.0")
        certifier.follow("buoy-mail 1.0.0")
        certifier.sees("Why somebody should look")
        certifier.follow("The package")
        certifier.heads("buoy-mail")
    with certifier.step("certifies it by everything that the files show and by what people judge"):
        certifier.follow("Certification", within=certifier.page.get_by_role("main"))
        certifier.sees("Not certified yet")
        certifier.follow("Certify")
        for suite in ("static-basic", "static-full", "manual"):
            certifier.tick(re.compile(rf"^{suite} "))
        certifier.press("Start")
        certifier.heads("buoy-mail")
        certifier.sees(re.compile("checks? waits? for a person"), timeout=90_000 * PATIENCE)
    for title, written, chosen in DECISIONS:
        with certifier.step(f"decides: {title}"):
            certifier.follow(title)
            certifier.heads(title)
            for label, answer in written.items():
                certifier.fill(label, answer)
            for label, answer in chosen.items():
                certifier.choose(label, answer)
            if "viruses" in title:
                certifier.attach("Report of the scanner", "scan.txt", b"27 files, 0 infected\n")
            certifier.tick("It passes", "radio")
            certifier.press("Decide")
            certifier.heads("buoy-mail")
    with certifier.step("sees the certificate and takes it home"):
        certifier.sees("standard")
        certificate = certifier.download("Certificate", tmp_path / "certificate.json")
    with certifier.step("fetches the public key of the lab"):
        certifier.follow("Certification", within=certifier.page.get_by_role("navigation", name="Pages"))
        certifier.follow("Labs")
        key = certifier.download("Public key", tmp_path / "lab.pem")
    package = tmp_path / "buoy-mail.csar"
    package.write_bytes(good)
    told = verified(certificate, key, package)
    assert told.returncode == 0, told.stderr
    package.write_bytes(nosy)
    assert verified(certificate, key, package).returncode == 1
    assert json.loads(certificate.read_text())["payload"]

    with certifier.step("approves the release that was reviewed"):
        certifier.follow("To review")
        certifier.follow("buoy-mail 1.0.0")
        certifier.press("Approve")
        certifier.agrees("Approve")
        certifier.sees("published")
    with certifier.step("sends the other one back with a reason"):
        certifier.follow("To review")
        certifier.follow("buoy-spy 1.0.0")
        certifier.press("Decline")
        dialog = certifier.dialog()
        certifier.fill("Reason", "It must not use the network of its host.", within=dialog)
        certifier.press("Decline", within=dialog)
        certifier.sees("It must not use the network of its host.")
    with developer.step("reads the reason, and that the other is published with its certificate"):
        developer.follow("My packages")
        developer.follow("buoy-spy 1.0.0")
        developer.sees("A reviewer sent it back")
        developer.sees("It must not use the network of its host.")
        developer.follow("Catalogue")
        card = developer.page.get_by_role("article").filter(has_text="buoy-mail")
        developer.sees("standard", within=card)


def verified(certificate: Path, key: Path, package: Path) -> subprocess.CompletedProcess[str]:
    """Verify as somebody who has nothing but these three files: no database, no network, another folder."""
    command = [
        sys.executable,
        MANAGE,
        "verify_certificate",
        str(certificate),
        "--key",
        str(key),
        "--package",
        str(package),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BREAKWATER_")}
    environment |= {"DJANGO_SETTINGS_MODULE": "mecm.settings", "BREAKWATER_VAR": str(package.parent / "nothing")}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
