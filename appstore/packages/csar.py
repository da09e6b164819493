"""What both kinds of CSAR share: finding the root, TOSCA.meta, manifest, service template, chart and images."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from appstore.packages import charts, signatures, tosca
from appstore.packages.documents import read_blocks, read_json, read_yaml
from appstore.packages.formats.contract import ImageMember
from appstore.packages.manifest import Coverage, Manifest, check_digests, read_manifest
from core.appd import Image
from core.appd.reading import Members
from core.archives import Archive, Damaged, finding_of
from core.archives.base import printable
from core.findings import Finding, Level
from core.words import say

META = "TOSCA-Metadata/TOSCA.meta"
_IMAGE_FILE = (".tar", ".tar.gz", ".tgz")


def root_of(archive: Archive) -> str | None:
    """Return the folder of the package in the archive: empty, or one wrapper folder with its slash; None for no CSAR."""
    tops = {name.split("/")[0] for name in archive.members}
    roots = ["", *(f"{top}/" for top in tops if len(tops) == 1)]
    for root in roots:
        if root + META in archive or manifests(archive, root):
            return root
    return None


def manifests(archive: Archive, root: str) -> list[str]:
    """Return the `.mf` members in the folder of the package."""
    return [
        n for n in archive.members if n.startswith(root) and "/" not in n[len(root) :] and n.lower().endswith(".mf")
    ]


def peek(archive: Archive) -> tuple[dict[str, str], Manifest | None]:
    """Return the first block of TOSCA.meta and the manifest, whatever is wrong with them, to recognise the format."""
    root = root_of(archive)
    if root is None:
        return {}, None
    meta: dict[str, str] = {}
    manifest = None
    with suppress(Damaged):
        if root + META in archive:
            meta = next(iter(read_blocks(archive.read(root + META), META)), {})
    with suppress(Damaged):
        named = root + meta.get("etsi-entry-manifest", "")
        place = named if named in archive else next(iter(manifests(archive, root)), "")
        if place:
            manifest = read_manifest(archive.read(place), place, [])
    return meta, manifest


@dataclass(slots=True)
class Csar:
    """One CSAR while it is read: where things are, and what was wrong so far."""

    archive: Archive
    root: str
    findings: list[Finding] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    named: list[dict[str, str]] = field(default_factory=list)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.root + name in self.archive

    def read(self, name: str) -> bytes:
        """Return a small file of the package."""
        return self.archive.read(self.root + name, at_most=2 << 20)

    def note(self, level: Level, code: str, place: str, message: str, remedy: str = "") -> None:
        """Note a problem."""
        self.findings.append(Finding(level, code, printable(place), message, remedy))

    def guard(self, act: Callable[[], Any], place: str) -> Any:
        """Return what `act` returns; None and a finding when it cannot read."""
        try:
            return act()
        except Damaged as problem:
            self.findings.append(finding_of(problem, place))
            return None


def opened(archive: Archive) -> Csar:
    """Start to read a CSAR: note a wrapper folder, read TOSCA.meta, check that what it names is there."""
    root = root_of(archive)
    csar = Csar(archive, root or "")
    csar.findings += archive.findings
    if csar.root:
        csar.note(
            Level.WARNING, "wrapper-folder", csar.root, say("Everything lies in one folder instead of at the top"),
            say("Pack the content of the folder, not the folder"),
        )  # fmt: skip
    if META not in csar:
        csar.note(
            Level.ERROR, "tosca-meta-missing", META, say("There is no TOSCA.meta"), say("Add it, as in NFV-SOL 004")
        )
        return csar
    blocks = csar.guard(lambda: read_blocks(csar.read(META), META), META) or []
    csar.meta, csar.named = (blocks[0] if blocks else {}), blocks[1:]
    entry = csar.meta.get("entry-definitions", "")
    if not entry:
        csar.note(
            Level.ERROR,
            "tosca-meta-invalid",
            META,
            say("It names no Entry-Definitions"),
            say("Name the service template"),
        )
    for name in dict.fromkeys([entry, *(block.get("name", "") for block in csar.named)]):
        if name and name not in csar and not csar.archive.under(csar.root + name):
            level = Level.ERROR if name == entry else Level.WARNING
            csar.note(
                level,
                "listed-member-missing",
                name,
                say("TOSCA.meta names it, but it is not there"),
                say("Add or drop it"),
            )
    return csar


def manifest_of(csar: Csar, place: str) -> Manifest:
    """Read the manifest at `place`; an unreadable one is a finding and an empty manifest."""
    found = csar.guard(lambda: read_manifest(csar.read(place), place, csar.findings), place)
    return found if isinstance(found, Manifest) else Manifest(place)


def check_manifest(csar: Csar, manifest: Manifest, unlisted: Callable[[str], Level]) -> signatures.Signature:
    """Check every digest and the signature of the manifest.

    `unlisted` says how bad a file without a digest is where no signature forbids it: what is signed as a whole has
    no file beside what its signer listed, but those that carry signatures themselves (SOL 004, 5.2).
    """
    if not manifest.entries:
        csar.note(
            Level.ERROR,
            "manifest-no-digests",
            manifest.place,
            say("It lists no file with a digest"),
            say("List all files"),
        )
    if not manifest.cms:
        signature, remarks = signatures.absent(manifest.place)
    else:
        contents = {"manifest": manifest.signed, "sources": manifest.sources_text.encode()}
        signature, remarks = signatures.verify(manifest.cms, contents, manifest.place, loose=manifest.loose)
    csar.findings += remarks
    coverage = Coverage()

    def level(name: str) -> Level:
        if carries_signature(csar, manifest, name):
            return Level.INFO
        return Level.ERROR if signature.covers == "manifest" or signature.state == "invalid" else unlisted(name)

    if csar.archive.sound:
        # A listing that lies may cost any amount of reading, and it is refused anyway.
        exempt = {csar.root + manifest.place}
        csar.findings += check_digests(
            manifest, csar.archive, csar.root, exempt=exempt, unlisted=level, coverage=coverage
        )
    open_ = [name for name in coverage.uncovered if not carries_signature(csar, manifest, name)]
    return signatures.covering(signature, len(coverage.listed), open_)


_SIGNATURE_FILE = (".cert", ".crt", ".pem", ".cms", ".sig", ".p7s")


def carries_signature(csar: Csar, manifest: Manifest, name: str) -> bool:
    """Whether a file is the signature or certificate of a file or of the package, by the names that SOL 004 gives them.

    The manifest or TOSCA.meta names it, or it stands beside the listed file whose name it has, `a.yaml.cms`.
    """
    if not name.lower().endswith(_SIGNATURE_FILE):
        return False
    if name in manifest.beside or name == csar.meta.get("etsi-entry-certificate"):
        return True
    stem = name.rpartition(".")[0]
    listed = {entry.source.removeprefix("./") for entry in manifest.entries}
    return stem in listed or any(each.rpartition(".")[0] == stem for each in listed)


def template_of(csar: Csar) -> tosca.Template | None:
    """Return the service template, from `APPD` as a zip, as a folder, or where Entry-Definitions points."""
    entry = csar.meta.get("entry-definitions", "")
    if entry in csar and not entry.lower().endswith((".zip", ".csar")):
        return _template_in(csar, csar.archive, csar.root, entry, entry)
    candidates = [entry] if entry in csar else []
    candidates += [n[len(csar.root) :] for n in csar.archive.under(f"{csar.root}APPD", ".zip")]
    if candidates:
        place = candidates[0]
        inner = csar.guard(lambda: csar.archive.nested(csar.root + place), place)
        if inner is None:
            return None
        csar.findings += [Finding(f.level, f.code, f"{place}: {f.place}", f.message, f.remedy) for f in inner.findings]
        name = _definition(inner, "")
        if name:
            return _template_in(csar, inner, "", name, f"{place}: {name}")
        _no_template(csar, place)
        return None
    name = _definition(csar.archive, f"{csar.root}APPD/")
    if name:
        return _template_in(csar, csar.archive, csar.root, name[len(csar.root) :], name[len(csar.root) :])
    _no_template(csar, entry or "APPD")
    return None


def _no_template(csar: Csar, place: str) -> None:
    csar.note(
        Level.ERROR,
        "appd-missing",
        place,
        say("There is no application descriptor"),
        say("Add APPD with a service template"),
    )


def _definition(archive: Archive, folder: str) -> str:
    """Return the service template of an APPD: what its meta file names, else the likeliest YAML."""
    for meta in (f"{folder}TOSCA_VNFD.meta", f"{folder}TOSCA-Metadata/TOSCA.meta", f"{folder}TOSCA.meta"):
        if meta in archive:
            try:
                blocks = read_blocks(archive.read(meta), meta)
            except Damaged:
                continue
            named = folder + blocks[0].get("entry-definitions", "") if blocks else ""
            if named in archive:
                return named
    yamls = [n for n in archive.under(folder.rstrip("/")) if n.lower().endswith((".yaml", ".yml"))]
    likely = [n for n in yamls if "types" not in n.lower()]
    best = [n for n in likely if "mainservicetemplate" in n.lower()]
    return next(iter([*best, *likely, *yamls]), "")


def _template_in(csar: Csar, archive: Archive, root: str, name: str, place: str) -> tosca.Template | None:
    doubles: list[str] = []

    def read() -> tosca.Template:
        content = archive.read(root + name, at_most=2 << 20)
        return tosca.read_template(read_yaml(content, place, doubles=doubles), place, csar.findings)

    template: tosca.Template | None = csar.guard(read, place)
    for key in dict.fromkeys(doubles):
        csar.note(
            Level.WARNING,
            "yaml-duplicate-key",
            place,
            say("The key {key} is there twice", key=key[:80]),
            say("Keep one of them"),
        )
    if template is not None:
        folder = posixpath.dirname(name)
        for wanted in template.imports:
            target = posixpath.normpath(posixpath.join(folder, wanted))
            if root + target in archive:
                tosca.add_types(template, csar.guard(partial(_document, archive, root + target), target))
    return template


def _document(archive: Archive, member: str) -> Any:
    return read_yaml(archive.read(member, at_most=2 << 20), member)


def chart_of(csar: Csar, wanted: str = "") -> tuple[str, charts.Chart | None]:
    """Return the member that holds the chart and what it says; every problem of it is noted."""
    found = [wanted] if wanted in csar else []
    found += [n[len(csar.root) :] for n in csar.archive.under(f"{csar.root}Artifacts/Deployment", ".tgz")]
    found += [n[len(csar.root) :] for n in csar.archive.under(f"{csar.root}Artifacts/Deployment", ".tar.gz")]
    found = list(dict.fromkeys(found))
    if not found:
        return "", None
    if len(found) > 1:
        message = say("There are {found_count} charts; {found} is taken", found_count=len(found), found=found[0])
        csar.note(
            Level.WARNING, "chart-several", "Artifacts/Deployment", message, say("Ship one chart with dependencies")
        )
    place = found[0]
    inner = csar.guard(lambda: csar.archive.nested(csar.root + place), place)
    if inner is None:
        return place, None
    chart = charts.inspect(inner, place)
    csar.findings += chart.findings
    return place, chart


def images_of(csar: Csar) -> tuple[tuple[Image, ...], tuple[ImageMember, ...]]:
    """Return the images that SwImageDesc.json describes, and those of them that lie in the package."""
    listed = next((b["name"] for b in csar.named if b.get("content-type", "").lower() == "swimagedesc"), "")
    place = listed if listed in csar else "Image/SwImageDesc.json"
    described: list[Image] = []
    members: list[ImageMember] = []
    if place in csar:
        document = csar.guard(lambda: read_json(csar.read(place), place), place)
        if document is not None and not isinstance(document, list):
            csar.note(
                Level.ERROR, "image-list-invalid", place, say("It is no list of images"), say("Write a JSON list")
            )
        for number, raw in enumerate(document[:256] if isinstance(document, list) else []):
            image = _image(csar, raw, f"{place}[{number}]")
            if image is not None:
                described.append(image)
                if image.archive.lower().endswith(_IMAGE_FILE):  # a disk image of a virtual machine stays where it is
                    members.append(ImageMember(csar.root + image.archive, image.name))
    for name in csar.archive.under(f"{csar.root}Image"):
        if name.lower().endswith(_IMAGE_FILE) and name not in {m.member for m in members}:
            message = say("SwImageDesc.json does not describe it; its own manifest says what it is called")
            csar.note(Level.WARNING, "image-undescribed", name[len(csar.root) :], message, say("Describe every image"))
            members.append(ImageMember(name, ""))
    return tuple(described), tuple(members)


def _image(csar: Csar, raw: Any, place: str) -> Image | None:
    told = Members(raw, place, csar.findings)
    name, reference = told.text("name"), told.text("swImage", "sw_image")
    told.require(name, "name")
    if not name:
        return None
    inside = next((p for p in (reference, f"Image/{posixpath.basename(reference)}") if reference and p in csar), "")
    checksum = told.text("checksum").lower().removeprefix("sha-256:").removeprefix("sha256:")
    size = told.number("size", low=0, high=1 << 50) or 0
    if inside:
        size = csar.archive.member(csar.root + inside).size
        if re.fullmatch(r"[0-9a-f]{64}", checksum) and csar.archive.sound:
            digest = csar.guard(lambda: csar.archive.sha256(csar.root + inside), inside)
            if digest and digest != checksum:
                message = say(
                    "SwImageDesc.json says {checksum}, but the file has {digest}", checksum=checksum, digest=digest
                )
                csar.note(Level.ERROR, "image-checksum", inside, message, say("Build the package again"))
    else:
        message = say(
            "The image {name} is not in the package; a node needs a registry to fetch it from", name=name[:200]
        )
        csar.note(Level.INFO, "image-in-registry", place, message, say("Ship the image as a docker-archive in Image/"))
    return Image(
        name, told.text("version"), inside, name if inside else reference, size, checksum, told.text("architecture")
    )
