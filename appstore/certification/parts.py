"""The digest of each part of a package, so that a new release repeats only the checks that its changes can affect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appstore.certification.contract import Part
from appstore.certification.verdicts import digest_of
from appstore.packages.enclosing import open_package
from core.archives import Archive
from core.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

    from appstore.packages.models import Package

#: A text larger than this is told apart by its listing alone.
_LARGEST_TEXT = 4 << 20


def parts_of(package: Package, path: Path, signature: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each part of a package. What the package check found is in all of them: checks may use it."""
    found = digest_of(package.findings)
    manifest, documents = _members(package, path)
    contents: dict[Part, Any] = {
        Part.MANIFEST: manifest,
        Part.SIGNATURE: dict(signature),
        Part.DESCRIPTOR: package.descriptor,
        Part.CHART: package.chart_sha256,
        Part.IMAGES: [package.images, package.descriptor.get("images", [])],
        Part.DOCUMENTS: documents,
        Part.WHOLE: [package.sha256, package.name, package.provider, package.version],
    }
    return {str(part): digest_of([found, package.format, content]) for part, content in contents.items()}


def _members(package: Package, path: Path) -> tuple[Any, Any]:
    """Return what stands for the manifest and for all other files; a package that cannot be read is a whole."""
    try:
        with open_package(path) as opened:
            archive = opened.archive
            manifest = {
                name: _content(archive, name)
                for name in archive.members
                if name.lower().endswith((".mf", "tosca.meta", "tosca_vnfd.meta"))
            }
            others = {
                name: [member.size, member.crc if member.crc is not None else package.sha256]
                for name, member in archive.members.items()
                if name not in manifest
            }
            return manifest, others
    except Invalid:
        return package.sha256, package.sha256


def _content(archive: Archive, name: str) -> Any:
    member = archive.member(name)
    if member.size > _LARGEST_TEXT:
        return [member.size, member.crc]
    return archive.read(name, at_most=_LARGEST_TEXT).decode("utf-8", "replace")
