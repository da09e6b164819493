"""Check `names-agree`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from appstore.packages.csar import manifests, root_of
from appstore.packages.manifest import read_manifest
from core.findings import Finding
from core.words import say

_SAME = {
    "appName": ("vnf_product_name", "app_product_name"),
    "appProvider": ("vnf_provider_id", "app_provider_id"),
    "appSoftVersion": ("vnf_software_version", "vnf_package_version", "app_package_version"),
    "appDId": ("vnfd_id",),
}


class NamesAgree(Check):
    """Manifest and descriptor give the same name, provider, version and id (NFV-SOL 004, 4.3.2: equal values)."""

    name = "names-agree"
    title = say("Manifest and descriptor speak of the same application")
    reason = say("Two names for one application are how one is passed off as another.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST, Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        archive = tools.archive()
        found = manifests(archive, root_of(archive) or "")
        if not found:
            return
        manifest = read_manifest(archive.read(found[0]), found[0], [])
        for member, names in _SAME.items():
            ours, theirs = str(subject.descriptor.get(member) or ""), manifest.get(*names)
            if ours and theirs and ours != theirs:
                message = say(
                    "The manifest says {theirs}, the descriptor {ours}", theirs=repr(theirs[:80]), ours=repr(ours[:80])
                )
                yield support.error("names-differ", member, message, say("Give both the same value"))
        yield from support.raised(support.told(subject, "appd-name-differs"))
