"""Check `manifest-fields`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from appstore.packages.csar import manifests, root_of
from appstore.packages.manifest import Manifest, read_manifest
from core.findings import Finding
from core.words import say

_NAMES = {
    "product name": ("vnf_product_name", "app_product_name"),
    "provider": ("vnf_provider_id", "app_provider_id"),
    "package version": ("vnf_package_version", "app_package_version"),
    "release date": ("vnf_release_date_time", "app_release_date_time", "app_release_data_time"),
}
_STRICT = ("vnfd_id", "vnf_software_version", "compatible_specification_versions", "vnfm_info")


class ManifestFields(Check):
    """The metadata that NFV-SOL 004 (4.3.2) and EdgeGallery demand are there, once, and make sense."""

    name = "manifest-fields"
    title = say("The manifest names product, provider, version and release date")
    reason = say("Stores and orchestrators identify a package by these fields alone.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST})
    options = (
        Option("etsi", False, "demand every field of NFV-SOL 004 and MEC 037, not only those that all readers need"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        archive = tools.archive()
        found = manifests(archive, root_of(archive) or "")
        if not found:
            yield support.error("manifest-missing", "", say("There is no manifest"), say("Add it"))
            return
        noted: list[Finding] = []
        manifest = read_manifest(archive.read(found[0]), found[0], noted)
        yield from support.raised([each for each in noted if each.code == "manifest-duplicate"])
        for what, names in _NAMES.items():
            if not manifest.get(*names):
                yield support.error(
                    "manifest-mandatory",
                    found[0],
                    say("It has no {what}", what=what),
                    say("Add {names}", names=names[0]),
                )
        for name in _STRICT if options["etsi"] else ():
            if not manifest.get(name):
                yield support.error(
                    "manifest-mandatory",
                    found[0],
                    say("It has no {name} (NFV-SOL 004, 4.3.2)", name=name),
                    say("Add {name}", name=name),
                )
        yield from _dated(manifest, found[0])


def _dated(manifest: Manifest, place: str) -> Iterator[Finding]:
    text = manifest.get(*_NAMES["release date"])
    if not text:
        return
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        remedy = say("Write it like 2026-05-01T12:00:00Z (RFC 3339)")
        yield support.warning(
            "release-date-unreadable", place, say("The release date {text} is no date", text=repr(text[:40])), remedy
        )
        return
    if when.tzinfo is None:
        yield support.info("release-date-zone", place, say("The release date names no time zone"), say("End it with Z"))
        when = when.replace(tzinfo=UTC)
    if when > datetime.now(UTC) + timedelta(days=1):
        yield support.warning(
            "release-date-future", place, say("The release date lies in the future"), say("Correct it")
        )
