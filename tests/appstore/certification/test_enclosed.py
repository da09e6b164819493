"""A package that lies in a zip beside its signature is read and certified by what is in the package, not in the zip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from appstore.certification.models import Run
from appstore.certification.parts import parts_of
from appstore.contents import services as contents
from appstore.packages import blobs
from appstore.packages.models import Package
from core.operations import services as operations
from tests.appstore.contents import inside
from tests.appstore.trust import pki

LISTS_MEMBERS = '''
from appstore.certification.contract import Check
from core.findings import Finding, Level


class ListsMembers(Check):
    """Tells which members it was given."""

    name = "lists-members"
    title = "The members"
    reason = "A test."

    def run(self, subject, options, tools):
        for name in tools.archive().members:
            yield Finding(Level.INFO, "member", name, "is there")
'''


def parts(package: Package) -> dict[str, str]:
    return parts_of(package, blobs.path_of(package.sha256), {})


def test_a_package_beside_its_signature_is_read_and_certified_by_its_own_members(
    make_release: Callable[..., Package], certify: Callable[..., Run], settings: Any, tmp_path: Path
) -> None:
    checks = tmp_path / "checks"
    checks.mkdir()
    (checks / "lists_members.py").write_text(LISTS_MEMBERS)
    settings.CHECKS = [str(checks)]
    plain = inside.csar(image_file=inside.image(inside.DEBIAN), files={"Icon/icon.png": inside.png()})
    package = make_release(pki.signed_beside(plain), "app.zip")
    assert package.signature["state"] == "valid"

    operations.run_due()
    read = contents.of(package)
    assert read is not None
    facts = read.read()
    assert facts.problems == []
    assert [image.carried for image in facts.images] == [True]
    assert [picture["kind"] for picture in read.pictures] == ["icon"]

    run = certify(package, "static-full")
    row = run.results.get(check_name="lists-members")
    assert {finding["place"] for finding in row.findings} == set(pki.files(plain))

    # Signed once more it is another file with the same members: only what is about the whole is to be looked at again.
    again = make_release(pki.signed_beside(plain), "app.zip")
    assert again.sha256 != package.sha256
    assert {name for name, digest in parts(again).items() if digest != parts(package)[name]} == {"whole"}
