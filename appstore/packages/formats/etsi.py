"""The application package of ETSI GS MEC 037 V3.2.1: a CSAR after NFV-SOL 004 with a TOSCA descriptor."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from appstore.packages import csar as common
from appstore.packages import signatures, tosca
from appstore.packages.csar import Csar
from appstore.packages.formats.contract import Format, Reading
from appstore.packages.manifest import Manifest
from core.appd import AppDescriptor, Compute, validate
from core.appd.descriptor import CONTAINER, VM
from core.appd.reading import Members
from core.archives import Archive
from core.findings import Level
from core.words import say

#: MEC 037, 6.3: names that the manifest must have. `vnfm_info` has a default.
_MANDATORY = (
    "vnfd_id",
    "vnf_provider_id",
    "vnf_product_name",
    "vnf_release_date_time",
    "vnf_software_version",
    "vnf_package_version",
    "compatible_specification_versions",
    "mec_versions",
)
_CONTAINER_NODES = ("tosca.nodes.nfv.Vdu.OsContainerDeployableUnit", "tosca.nodes.nfv.Mciop")


class EtsiCsar(Format):
    """Reads MEC 037 packages, and plain SOL 004 VNF packages that carry a MEC descriptor."""

    name: ClassVar[str] = "etsi-csar"

    @classmethod
    def claim(cls, archive: Archive) -> int:
        """TOSCA.meta names the manifest, or the manifest has the names of SOL 004."""
        if archive.kind != "zip":
            return 0
        meta, manifest = common.peek(archive)
        if meta.get("etsi-entry-manifest"):
            return 90
        return 60 if manifest is not None and manifest.get("vnfd_id", "vnf_product_name") else 0

    def read(self, archive: Archive) -> Reading:
        csar = common.opened(archive)
        manifest, signature = self._manifest(csar)
        template = common.template_of(csar)
        app = _app_node(csar, template) if template else {}
        told = Members(app, template.place if template else "", [])
        images, members = common.images_of(csar)
        chart_member, chart = common.chart_of(csar, _chart_artifact(template) if template else "")
        app_class = _class_of(template, bool(chart_member))
        appd = AppDescriptor(
            name=told.text("productName") or manifest.get("vnf_product_name"),
            provider=told.text("provider") or manifest.get("vnf_provider_id"),
            version=told.text("softwareVersion") or manifest.get("vnf_software_version"),
            app_d_id=told.text("descriptorId", "appDId") or manifest.get("vnfd_id"),
            appd_version=told.text("descriptorVersion") or "1.0",
            description=told.text("productInfoDescription", "appDescription") or manifest.get("app_description"),
            mec_versions=tuple(told.texts("mecVersion")) or _words(manifest.get("mec_versions")),
            app_class=app_class,
            compute=tosca.compute_of(template, csar.findings) if template else Compute(),
            chart=chart_member,
            images=images,
            **(_described(csar, template, app) if template else {}),
        )
        _compare(csar, manifest, told)
        if app_class == CONTAINER and not chart_member:
            csar.note(
                Level.ERROR, "chart-missing", "", "There is no Helm chart to run", "Add it as artifact of an Mciop"
            )
        csar.findings += validate(appd)
        return Reading(
            appd, csar.findings, csar.root + chart_member if chart else "", images=members, signature=signature
        )

    def _manifest(self, csar: Csar) -> tuple[Manifest, signatures.Signature]:
        named = csar.meta.get("etsi-entry-manifest", "")
        found = [n[len(csar.root) :] for n in common.manifests(csar.archive, csar.root)]
        place = named if named in csar else next(iter(found), "")
        if named and place != named:
            csar.note(Level.ERROR, "listed-member-missing", named, "TOSCA.meta names it, but it is not there", "Add it")
        if not place:
            csar.note(Level.ERROR, "manifest-missing", "", "There is no manifest (.mf)", "Add it")
            return Manifest(""), signatures.Signature()
        manifest = common.manifest_of(csar, place)
        for key in _MANDATORY:
            if not manifest.get(key):
                csar.note(Level.ERROR, "manifest-mandatory", place, f"It has no {key}", f"Add {key} (MEC 037, 6.3)")
        released = manifest.get("vnf_release_date_time")
        if released and not _is_rfc3339(released):
            message = say(
                "vnf_release_date_time is {released}, which is no time as in RFC 3339", released=repr(released[:60])
            )
            csar.note(Level.WARNING, "manifest-date", place, message, "Write 2026-01-31T12:00:00Z")

        def unlisted(name: str) -> Level:
            # SOL 004, 5.1: every file has a digest in the manifest, but for what carries the signature.
            return Level.WARNING if name == common.META else Level.ERROR

        return manifest, common.check_manifest(csar, manifest, unlisted)


def _app_node(csar: Csar, template: tosca.Template) -> Mapping[str, Any]:
    """Return the properties of the node that is the application."""
    nodes = template.of_type(tosca.MEC_APP)
    if not nodes:
        # A VNF package that became a MEC package by its properties alone.
        nodes = [
            n for n in template.nodes if any(str(p).startswith(("mec_version", "app_service_")) for p in n.properties)
        ]
        if nodes:
            csar.note(
                Level.WARNING, "appd-type", nodes[0].place, f"Its type is not derived from {tosca.MEC_APP}",
                "Derive the node type and import its definition",
            )  # fmt: skip
    with_values = [n for n in nodes if n.properties]
    if not with_values:
        csar.note(
            Level.ERROR, "appd-missing", template.place, f"There is no node of a type derived from {tosca.MEC_APP}",
            "Describe the application with MEC 037 properties",
        )  # fmt: skip
        return {}
    if "mec_version" not in with_values[0].properties:
        csar.note(Level.ERROR, "appd-mandatory", with_values[0].place, "It has no mec_version", "Add mec_version")
    return with_values[0].properties


def _described(csar: Csar, template: tosca.Template, app: Mapping[str, Any]) -> dict[str, Any]:
    found = tosca.describe(app, f"{template.place}: application", csar.findings)
    if tosca.says_more(found):
        return found
    # Packages for two worlds may describe services only in EdgeGallery's node.
    for node in template.of_type(tosca.EDGEGALLERY_APP):
        return tosca.describe(node.properties, node.place, csar.findings)
    return found


def _chart_artifact(template: tosca.Template) -> str:
    """Return the path of the Helm chart artifact from the top of the package; empty when none is named."""
    folder = posixpath.dirname(template.place.rpartition(": ")[2])
    for kind, file in tosca.artifact_files(template):
        if file.lower().endswith((".tgz", ".tar.gz")) and ("helm" in kind.lower() or "artifacts.file" in kind.lower()):
            path = posixpath.normpath(posixpath.join(folder, file))
            return file.lstrip("/") if path.startswith("..") or file.startswith("/") else path
    return ""


def _class_of(template: tosca.Template | None, has_chart: bool) -> str:
    if has_chart or template is None or any(template.of_type(kind) for kind in _CONTAINER_NODES):
        return CONTAINER
    return VM if template.of_type("tosca.nodes.nfv.Vdu.Compute") else CONTAINER


def _compare(csar: Csar, manifest: Manifest, told: Members) -> None:
    """MEC 037, 6.3: the values of the manifest are those of the descriptor."""
    pairs = {
        "vnfd_id": told.text("descriptorId", "appDId"),
        "vnf_provider_id": told.text("provider"),
        "vnf_product_name": told.text("productName"),
        "vnf_software_version": told.text("softwareVersion"),
    }
    for key, value in pairs.items():
        said = manifest.get(key)
        if said and value and said != value:
            message = say(
                "{key} is {said} here and {value} in the descriptor",
                key=key,
                said=repr(said[:80]),
                value=repr(value[:80]),
            )
            csar.note(Level.ERROR, "manifest-differs", manifest.place, message, "Give both the same value")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_rfc3339(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None and "T" in text.upper()
    except ValueError:
        return False
