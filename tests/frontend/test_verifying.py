"""The commands that the pages print do what they promise, on packages that are really signed."""

from __future__ import annotations

import hashlib
import html
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from tests.appstore import making
from tests.appstore.trust import pki

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on this machine"),
]


def _printed(text: str, begins: str) -> str:
    """Return the commands in the block of a page that begins like that."""
    blocks = [html.unescape(each) for each in re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)]
    return next(each for each in blocks if each.startswith(begins))


def _run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("form", ["inside", "around"])
def test_openssl_verifies_what_the_page_says_it_verifies(
    form: str, pages: Any, make_package: Any, tmp_path: Path
) -> None:
    content = pki.signed(tmp_path) if form == "inside" else pki.signed_beside(making.edgegallery())
    reading = pki.read(tmp_path, content)
    found = make_package("signed", signature=reading.signature.as_dict(), filename="it's signed.csar")
    pages.post(reverse("frontend:add-anchor"), {"certificate": pki.ROOT.pem, "name": "Root", "purpose": "publisher"})
    text = pages.get(reverse("frontend:package-trust", args=[found.pk])).content.decode()
    script = _printed(text, "python3 -m zipfile")
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "it's signed.csar").write_bytes(content)
    (folder / "anchors.pem").write_bytes(pages.get(reverse("frontend:trust-export")).content)
    done = _run(script, folder)
    assert done.returncode == 0, done.stderr
    # A root that nobody trusts, and a file that was changed, are noticed.
    (folder / "anchors.pem").write_text(pki.STRANGER.pem)
    assert _run(script, folder).returncode != 0
    (folder / "anchors.pem").write_text(pki.ROOT.pem)
    members = pki.files(content)
    name = next(each for each in sorted(members) if not each.endswith((".mf", ".cms")))
    (folder / "it's signed.csar").write_bytes(pki.rebuilt(content, put={name: members[name] + b" "}))
    shutil.rmtree(folder / ("content" if form == "inside" else "around"))
    assert _run(script, folder).returncode != 0


def test_a_certificate_is_verified_by_the_command_of_its_page(
    pages: Any, make_package: Any, certification: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appstore.certification import issuing

    run, content = certification["certifications"], b"the bytes of the package"
    sha256 = hashlib.sha256(content).hexdigest()
    found = make_package("proved", "3.0", sha256=sha256, filename="proved one.csar")
    run.package, run.sha256, run.level, run.levels, run.verdict = found, sha256, "basic", ["basic"], "passed"
    run.state, run.finished_at = "done", timezone.now()
    run.save()
    made = issuing.issue(run, [])
    text = pages.get(reverse("frontend:package-certification", args=[found.pk])).content.decode()
    command = shlex.split(_printed(text, "manage.py verify_certificate"))
    assert command[:2] == ["manage.py", "verify_certificate"]
    monkeypatch.chdir(tmp_path)
    envelope = pages.get(f"/api/v1/certificates/{made.pk}/envelope")
    Path(re.findall('filename="(.*)"', envelope.headers["Content-Disposition"])[0]).write_bytes(envelope.content)
    Path("lab.pem").write_bytes(pages.get(reverse("api-lab-key")).content)
    (told,) = re.findall('href="([^"]+)" download="revocations.json"', text)
    Path("revocations.json").write_bytes(pages.get(told).content)
    Path("proved one.csar").write_bytes(content)
    call_command(*command[1:], stdout=io.StringIO())
    Path("proved one.csar").write_bytes(content + b".")
    with pytest.raises(CommandError):
        call_command(*command[1:], stdout=io.StringIO())


def test_what_openssl_cannot_judge_has_no_commands(pages: Any, make_package: Any) -> None:
    for signature in ({}, {"state": "absent"}, {"state": "valid", "covers": "sources"}):
        found = make_package(f"p{len(signature)}", signature=signature)
        assert "Verify it yourself" not in pages.get(f"/packages/{found.pk}/trust").content.decode()
