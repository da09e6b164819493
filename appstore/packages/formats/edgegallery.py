"""EdgeGallery's CSAR in all its layouts: APPD as a zip or a folder, with or without a wrapper folder at the top."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

from appstore.packages import csar as common
from appstore.packages import signatures, tosca
from appstore.packages.csar import Csar
from appstore.packages.formats.contract import Format, Reading
from appstore.packages.manifest import Manifest
from core.appd import AppDescriptor, Compute, validate
from core.appd.descriptor import CONTAINER
from core.archives import Archive
from core.findings import Level
from core.words import say

#: What EdgeGallery's own test suite demands. `data` is its spelling; the right one is taken too.
_MANDATORY = {
    "app_product_name": (),
    "app_provider_id": (),
    "app_package_version": (),
    "app_release_data_time": ("app_release_date_time",),
}


class EdgeGalleryCsar(Format):
    """Reads packages of EdgeGallery v1.0 to v1.5."""

    name: ClassVar[str] = "edgegallery-csar"

    @classmethod
    def claim(cls, archive: Archive) -> int:
        """Its manifest has `app_product_name`; a CSAR of nobody else is also taken for its."""
        if archive.kind != "zip":
            return 0
        _, manifest = common.peek(archive)
        if manifest is not None and manifest.get("app_product_name"):
            return 50
        return 0 if common.root_of(archive) is None else 10

    def read(self, archive: Archive) -> Reading:
        csar = common.opened(archive)
        manifest, signature = self._manifest(csar)
        template = common.template_of(csar)
        chart_member, chart = common.chart_of(csar)
        images, members = common.images_of(csar)
        name, provider = manifest.get("app_product_name"), manifest.get("app_provider_id")
        version = manifest.get("app_package_version")
        app_class = (manifest.get("app_class", "app_type") or CONTAINER).lower()
        appd = AppDescriptor(
            name=name,
            provider=provider,
            version=version,
            # Its vnfd_id is the same text in every package, so the identity follows from what is unique.
            app_d_id=str(uuid5(NAMESPACE_URL, f"urn:mec:app:{provider}/{name}/{version}")),
            description=manifest.get("app_package_description"),
            app_class=app_class,
            compute=tosca.compute_of(template, csar.findings) if template else Compute(),
            chart=chart_member,
            images=images,
            **(_described(csar, template, name) if template else {}),
        )
        if app_class == CONTAINER and not chart_member:
            csar.note(
                Level.ERROR, "chart-missing", "Artifacts/Deployment/Charts", "There is no Helm chart to run",
                "Add the packed chart",
            )  # fmt: skip
        csar.findings += validate(appd)
        return Reading(
            appd, csar.findings, csar.root + chart_member if chart else "", images=members, signature=signature
        )

    def _manifest(self, csar: Csar) -> tuple[Manifest, signatures.Signature]:
        found = [n[len(csar.root) :] for n in common.manifests(csar.archive, csar.root)]
        if not found:
            csar.note(Level.ERROR, "manifest-missing", "", "There is no manifest (.mf) beside the folders", "Add it")
            return Manifest(""), signatures.Signature()
        if len(found) > 1:
            csar.note(Level.ERROR, "manifest-several", found[1], f"There are {len(found)} manifests", "Keep one")
        manifest = common.manifest_of(csar, found[0])
        for key, others in _MANDATORY.items():
            if not manifest.get(key, *others):
                csar.note(Level.ERROR, "manifest-mandatory", manifest.place, f"It has no {key}", f"Add {key}")

        def unlisted(name: str) -> Level:
            # EdgeGallery itself lists only the descriptor and the chart; an image could be exchanged unseen.
            return Level.WARNING if name.startswith("Image/") and not name.endswith(".json") else Level.INFO

        return manifest, common.check_manifest(csar, manifest, unlisted)


def _described(csar: Csar, template: tosca.Template, name: str) -> dict[str, Any]:
    """Return what the node `app_configuration` describes; a package without one uses no MEC service."""
    nodes = template.of_type(tosca.EDGEGALLERY_APP)
    if not nodes:
        return {}
    if len(nodes) > 1:
        csar.note(Level.WARNING, "appd-several", nodes[1].place, "There are several; the first counts", "Keep one")
    called = nodes[0].properties.get("appName")
    if isinstance(called, str) and called and name and called != name:
        message = say(
            "The descriptor calls the application {called}, the manifest {name}; the manifest counts",
            called=called[:80],
            name=name[:80],
        )
        csar.note(Level.INFO, "appd-name-differs", nodes[0].place, message, "Give both one name")
    return tosca.describe(nodes[0].properties, nodes[0].place, csar.findings)
