"""Writing application packages: a CSAR that EdgeGallery and ETSI MEC 037 V3.2.1 readers both take.

The same input gives the same bytes, wherever and whenever it is built.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from appstore.packages import template
from appstore.packages.images import image_names
from core.appd import AppDescriptor, Image
from core.errors import Invalid
from core.words import say

#: The earliest time a zip can hold; ours carry no other, so that they are reproducible.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_PACKED = (".tgz", ".gz", ".zip", ".png", ".jpg", ".jpeg", ".mp4")

Content = Path | bytes


def app_d_id(appd: AppDescriptor) -> str:
    """Return the descriptor's own id, or one that follows from provider, name and version."""
    return appd.app_d_id or str(uuid5(NAMESPACE_URL, f"urn:mec:app:{appd.provider}/{appd.name}/{appd.version}"))


def pack_chart(folder: Path, target: Path) -> Path:
    """Pack a chart folder into the `.tgz` that Helm reads, with the same bytes each time, and return `target`."""
    name = template.chart_name((folder / "Chart.yaml").read_bytes())
    part = _part(target)
    try:
        with (
            part.open("xb") as raw,
            gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
                info = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                info.size, info.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    tar.addfile(info, content)
        part.replace(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return target


def build_csar(
    target: Path,
    *,
    metadata: Mapping[str, str],
    appd: AppDescriptor,
    chart: Path,
    images: Iterable[Path] = (),
    extra: Mapping[str, Content] | None = None,
) -> Path:
    """Write a CSAR and return `target`; what was there is replaced in one step.

    `metadata` needs `released_at` (RFC 3339); its other entries are added to the manifest. `chart` is a chart
    folder or a `.tgz`. `images` are docker-archive files; each goes to `Image/` under its own file name, with the
    name it carries inside. `extra` are more members by their path in the package (`Artifacts/Docs/template.md`, …).
    """
    released = metadata.get("released_at", "")
    try:
        datetime.fromisoformat(released)
    except ValueError as problem:
        raise Invalid(say("metadata needs `released_at`, a time as in RFC 3339")) from problem
    members: dict[str, Content] = {}
    part = _part(target)
    work = part.with_suffix(".work")
    try:
        if chart.is_dir():
            chart = pack_chart(chart, work)
            chart_member = f"Artifacts/Deployment/Charts/{template.file_name(appd.name)}.tgz"
        else:
            chart_member = f"Artifacts/Deployment/Charts/{chart.name}"
        images = list(images)
        shipped = [_describe(path) for path in images]
        kept = tuple(i for i in appd.images if i.name not in {s.name for s in shipped})
        appd = replace(appd, app_d_id=app_d_id(appd), chart=chart_member, images=(*shipped, *kept))
        members |= template.definitions(appd)
        members["Artifacts/ChangeLog.txt"] = f"{appd.version}\n".encode()
        members["Artifacts/Docs/template.md"] = f"# {appd.name}\n\n{appd.description}\n".encode()
        members[chart_member] = chart
        members["Image/SwImageDesc.json"] = _sw_image_desc(appd)
        members |= {image.archive: path for image, path in zip(shipped, images, strict=True)}
        members |= dict(extra or {})
        _write(part, appd, metadata, members)
        part.replace(target)
    finally:
        for leftover in (part, work):
            with suppress(FileNotFoundError):
                leftover.unlink()
    return target


def _describe(path: Path) -> Image:
    names = image_names(path)
    if len(names) != 1:
        raise Invalid(
            say("{name} must hold exactly one named image, not {names_count}", name=path.name, names_count=len(names))
        )
    reference = names[0]
    version = reference.rpartition(":")[2] if ":" in reference.rpartition("/")[2] else "latest"
    digest, size = _digest(path)
    return Image(reference, version, f"Image/{path.name}", reference, size, digest)


def _sw_image_desc(appd: AppDescriptor) -> bytes:
    """The list of software images as EdgeGallery has it; `swImage` is the member that holds the image."""
    entries = [
        {
            "id": str(uuid5(NAMESPACE_URL, f"urn:mec:image:{image.name}:{image.checksum}")),
            "name": image.name,
            "version": image.version,
            "checksum": image.checksum,
            "containerFormat": "docker",
            "diskFormat": "raw",
            "minDisk": 0,
            "minRam": 0,
            "architecture": image.architecture or appd.compute.architecture or "X86",
            "size": image.size,
            "swImage": image.archive or image.reference or image.name,
            "operatingSystem": "linux",
            "supportedVirtualisationEnvironment": "linux",
        }
        for image in appd.images
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False).encode() + b"\n"


def _write(part: Path, appd: AppDescriptor, metadata: Mapping[str, str], members: Mapping[str, Content]) -> None:
    name = template.file_name(appd.name)
    members = {"TOSCA-Metadata/TOSCA.meta": template.tosca_meta(appd, f"{name}.mf", members), **members}
    digests = {member: _digest(content) for member, content in members.items()}
    manifest = template.manifest(appd, metadata, {member: digest for member, (digest, _) in digests.items()})
    order = ["TOSCA-Metadata/TOSCA.meta", f"{name}.mf", *sorted(m for m in members if m != "TOSCA-Metadata/TOSCA.meta")]
    with part.open("xb") as raw, zipfile.ZipFile(raw, "w") as csar:
        for member in order:
            content = manifest if member == f"{name}.mf" else members[member]
            digest, size = _digest(content)
            if member in digests and digests[member] != (digest, size):
                raise Invalid(say("{member} changed while it was packed", member=member))
            info = zipfile.ZipInfo(member, _EPOCH)
            info.compress_type = zipfile.ZIP_STORED if member.lower().endswith(_PACKED) else zipfile.ZIP_DEFLATED
            info.external_attr, info.create_system = 0o100644 << 16, 3
            with csar.open(info, "w", force_zip64=size >= 1 << 31) as out, _opened(content) as source:
                shutil.copyfileobj(source, out, _CHUNK)


def _digest(content: Content) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with _opened(content) as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _opened(content: Content) -> io.BufferedIOBase:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _part(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
