"""Reading a package to say what is inside: its files, its chart as written and as rendered, the images it carries.

Knows the files, not the database. Whatever cannot be read is a problem in the facts; nothing here fails a package.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appstore.contents import changelog, charts, licences, markdown, media, permissions
from appstore.contents.charts import ChartInside, guarded
from appstore.contents.facts import Component, Facts, ImageFact
from appstore.contents.images import MOST_COMPONENTS, ImageReading, read_images
from appstore.packages import csar
from appstore.packages.enclosing import open_package
from core.archives import Archive, Limits, open_archive
from core.errors import BreakwaterError, Invalid
from core.words import say
from engines.helm import Rendered, helm
from engines.planning import containers, pod_owners

#: Raised when facts of the same package would come out otherwise; those of an older reader are made anew on request.
VERSION = 2
#: The name under which charts are rendered here, the same for each release so that two can be compared.
RELEASE = "app"
_MOST_OBJECTS, _MOST_PROBLEMS, _MOST_FILES = 1000, 60, 4096
_LONGEST_README, _STUB = 128 << 10, 120
_CHART_LIMITS = Limits(total_bytes=256 << 20, member_bytes=64 << 20)

Tell = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Carried:
    """A container image of the package in the store."""

    name: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """One package as its check left it."""

    path: Path
    sha256: str
    name: str
    provider: str
    version: str
    chart: Path | None
    chart_sha256: str
    images: tuple[Carried, ...]
    descriptor: Mapping[str, Any]
    signature: Mapping[str, Any]


@dataclass(slots=True)
class Inside:
    """Everything that reading found: the facts, and what is kept beside them."""

    facts: Facts = field(default_factory=Facts)
    readme: str = ""
    #: Whether the README is shown as it is, because laying it out takes too long.
    plain: bool = False
    schema: Any = None
    pictures: list[media.Picture] = field(default_factory=list)
    #: SHA-256 by member of the package.
    files: dict[str, str] = field(default_factory=dict)


def read(source: Source, limits: Limits, tell: Tell = lambda percent, note: None) -> Inside:
    """Return what is inside; problems are told in the facts."""
    found = Inside()
    facts = found.facts
    facts.signer = str(source.signature.get("fingerprint") or "")[:200]
    facts.signer_name = str(source.signature.get("signer") or "")[:300]
    chart = ChartInside()
    paper: dict[str, str] = {}
    if source.chart is not None:
        tell(10, say("reading the chart"))
        with_chart = guarded(facts.problems, lambda: _chart(source.chart, found), None)  # type: ignore[arg-type]
        chart = with_chart or chart
    tell(25, say("rendering the chart"))
    rendered = _rendered(source, facts)
    tell(40, say("reading the package"))
    guarded(facts.problems, lambda: _package(source, limits, found, chart, paper), None)
    _from_chart(found, chart)
    _from_objects(facts, rendered, chart)
    tell(60, say("reading images"))
    readings = _images(source, facts, rendered, tell)
    facts.components = _components(facts, chart, readings)
    facts.parts = _parts(source, found, chart, paper)
    found.files = found.files or chart.files  # a chart that is the package
    facts.problems = list(dict.fromkeys(each[:400] for each in facts.problems))[:_MOST_PROBLEMS]
    return found


def _chart(path: Path, found: Inside) -> ChartInside:
    with open_archive(path, _CHART_LIMITS) as archive:
        chart = charts.inside(archive)
        _readme(found, archive, chart.readme, next(iter(archive.members), "").split("/")[0])
    return chart


def _readme(found: Inside, archive: Archive, text: str, folder: str) -> None:
    """Keep a README, and the pictures in the package that it shows."""
    if not text.strip() or found.readme:
        return
    if len(text) > _LONGEST_README:
        text = text[:_LONGEST_README]
        found.facts.problems.append(
            say(
                "The README is longer than {longest_readme} KiB; the rest is not shown",
                longest_readme=_LONGEST_README >> 10,
            )
        )
    found.readme, found.plain = text, not markdown.bearable(text)
    if found.plain:
        found.facts.problems.append(say("The README takes too long to be laid out, so it is shown as plain text"))
        return
    for place in markdown.pictures_of(text)[: media.MOST]:
        if not place.lower().startswith(("http:", "https:", "data:", "//")):
            charts.add_picture(archive, folder, "readme", place, "", found.pictures, found.facts.problems)


def _rendered(source: Source, facts: Facts) -> Rendered:
    nothing = Rendered((), "", "")
    if source.chart is None:
        return nothing
    try:
        rendered = helm().render(source.chart, {}, name=RELEASE, namespace=RELEASE)
    except BreakwaterError as problem:
        # Also where waiting might help: a chart that makes Helm fail each time must not keep the rest from being told.
        facts.rendered = False
        facts.problems.append(
            say(
                "The chart cannot be rendered with its own values, so what it asks for is not known: {detail}",
                detail=problem.detail,
            )
        )
        return nothing
    facts.problems += rendered.problems
    for place in rendered.unknown_hooks[:_MOST_PROBLEMS]:
        facts.problems.append(
            say("{place} is a hook of a moment that Helm does not know, so it is never made", place=place[:200])
        )
    return rendered


def _package(source: Source, limits: Limits, found: Inside, chart: ChartInside, paper: dict[str, str]) -> None:
    """Read the files around the chart; a chart that is the package has none."""
    with open_package(source.path, limits) as opened:
        archive = opened.archive
        if source.chart_sha256 == source.sha256:
            return
        root = csar.root_of(archive) or ""
        for name in list(archive.members)[:_MOST_FILES]:
            digest = guarded(found.facts.problems, lambda name=name: archive.sha256(name), "")  # type: ignore[misc]
            found.files[name.removeprefix(root)] = digest
        facts = found.facts
        facts.licences += charts.licences_in(archive, root.rstrip("/"), facts.problems)
        facts.licences += charts.licences_in(archive, f"{root}Artifacts/Licenses", facts.problems)
        facts.licences += charts.licences_in(archive, f"{root}Licenses", facts.problems)
        documents = [*archive.under(f"{root}Artifacts/Docs", ".md"), f"{root}README.md"]
        documents.sort(key=lambda name: (not name.lower().endswith("readme.md"), name))
        own = [n for n in documents if n in archive]
        if own:
            # What the author wrote for the store comes before what lies in the chart, unless it is a stub of a template.
            text = charts.text_of(archive, own[0], facts.problems)
            if len(text.strip()) >= (_STUB if found.readme else 1):
                found.readme, found.pictures = "", [p for p in found.pictures if p.kind != "readme"]
                _readme(found, archive, text, own[0].rpartition("/")[0])
        _package_pictures(archive, root, found)
        for name in (f"{root}Artifacts/ChangeLog.txt", f"{root}ChangeLog.txt", f"{root}CHANGELOG.md"):
            if name in archive and not facts.changes:
                facts.changes = changelog.of_text(charts.text_of(archive, name, facts.problems), source.version)
        skip = {each.sha256 for each in source.images} | {source.chart_sha256}
        paper |= {n: d for n, d in found.files.items() if d not in skip and _kind_of_member(n) == "documents"}


def _package_pictures(archive: Archive, root: str, found: Inside) -> None:
    for folder, kind in (("Icon", "icon"), ("Artifacts/Icon", "icon"), ("Artifacts/Screenshots", "screenshot")):
        names = [n for n in archive.under(f"{root}{folder}") if n.lower().endswith((".png", ".jpg", ".jpeg", ".webp"))]
        for name in sorted(names)[: 1 if kind == "icon" else 8]:
            base = name.rpartition("/")[2]
            charts.add_picture(archive, name.rpartition("/")[0], kind, base, "", found.pictures, found.facts.problems)


def _from_chart(found: Inside, chart: ChartInside) -> None:
    facts = found.facts
    facts.problems += chart.problems
    facts.licences = list(dict.fromkeys([*chart.licences, *facts.licences]))
    facts.keywords, facts.category, facts.maintainers = chart.keywords, chart.category, chart.maintainers
    facts.changes = facts.changes or chart.changes
    if not facts.changes and chart.changelog:
        facts.changes = changelog.of_text(chart.changelog, chart.version)
    seen = {picture.name for picture in chart.pictures}
    found.pictures = [*chart.pictures, *(p for p in found.pictures if p.name not in seen)][: media.MOST]
    if isinstance(chart.schema, Mapping):
        found.schema = chart.schema
    elif chart.schema is not None:
        facts.problems.append(say("The values schema of the chart is no object"))


def _from_objects(facts: Facts, rendered: Rendered, chart: ChartInside) -> None:
    manifests = rendered.manifests
    seen = {hook.source for hook in rendered.hooks}
    unseen = {path: digest for path, digest in chart.hooks.items() if path not in seen}
    asked = permissions.permissions_of(manifests, RELEASE) + permissions.of_files(chart.crds, unseen)
    asked += permissions.of_hooks(rendered.hooks, RELEASE) + permissions.of_crds(rendered.crds, RELEASE)
    order = {severity: number for number, severity in enumerate(permissions.SEVERITIES)}
    asked.sort(key=lambda each: order[each.severity])
    facts.permissions = asked[: permissions.MOST]
    if len(asked) > permissions.MOST:
        facts.problems.append(
            say(
                "It asks for {asked_count} things; the {most} gravest are listed",
                asked_count=len(asked),
                most=permissions.MOST,
            )
        )
    facts.ports = permissions.ports_of(manifests)
    for manifest in rendered.everything[:_MOST_OBJECTS]:
        metadata = manifest.body.get("metadata")
        namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else ""
        namespace = namespace if isinstance(namespace, str) and namespace != RELEASE else ""
        facts.objects.append({"kind": manifest.kind[:120], "name": manifest.name, "namespace": namespace[:63]})


def _images(source: Source, facts: Facts, rendered: Rendered, tell: Tell) -> list[ImageReading]:
    readings: list[ImageReading] = []
    by_name: dict[str, ImageFact] = {}
    for number, image in enumerate(source.images):
        tell(60 + 30 * number // len(source.images), say("reading {name}", name=image.name)[:200])
        for reading in read_images(image.path, image.name):
            readings.append(reading)
            facts.problems += reading.problems
            for name in reading.names or (image.name,):
                by_name[_full(name)] = ImageFact(
                    name, reading.digest or reading.image_id, carried=True, size=image.size,
                    architecture=reading.architecture, image_id=reading.image_id,
                )  # fmt: skip
    used: dict[str, list[str]] = {}
    for owner in pod_owners(rendered.everything):
        for container in containers(owner.pod):
            reference = container.get("image")
            if isinstance(reference, str) and reference.strip():
                place = f"{owner.place}/{str(container.get('name'))[:120]}"
                used.setdefault(reference.strip()[:500], []).append(place)
    described = [i for i in source.descriptor.get("images") or [] if isinstance(i, Mapping)]
    for reference, places in used.items():
        facts.images.append(_image_fact(reference, places, by_name))
    named = {_full(fact.reference.split("@")[0]) for fact in facts.images}
    facts.images += [fact for name, fact in by_name.items() if name not in named]
    if not facts.images:  # a chart that cannot be rendered, or a machine image: the descriptor speaks
        facts.images = [ImageFact(str(i.get("reference") or i.get("name"))[:500],
                                  size=i["size"] if isinstance(i.get("size"), int) else 0,
                                  architecture=str(i.get("architecture") or "")[:40]) for i in described]  # fmt: skip
    return readings


def _image_fact(reference: str, places: list[str], carried: Mapping[str, ImageFact]) -> ImageFact:
    name, _, digest = reference.partition("@")
    pinned = bool(re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", digest))
    inside = carried.get(_full(name))
    return ImageFact(
        reference,
        digest if pinned else (inside.digest if inside else ""),
        pinned=pinned,
        carried=inside is not None,
        size=inside.size if inside else 0,
        architecture=inside.architecture if inside else "",
        used_by=tuple(dict.fromkeys(places))[:20],
        image_id=inside.image_id if inside else "",
    )


def _full(name: str) -> str:
    """Return the name with the registry and tag that a container engine would add."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _components(facts: Facts, chart: ChartInside, readings: Sequence[ImageReading]) -> list[Component]:
    found = list(chart.components)
    for image in facts.images:
        name, tag = image_parts(image.reference)
        found.append(
            Component(
                "image", name, tag or image.digest, image_purl(image), "", "package" if image.carried else "registry"
            )
        )
    for reading in readings:
        found += reading.components
    if len(found) > MOST_COMPONENTS:
        facts.problems.append(
            say(
                "It holds more than {most_components} components; the rest is not listed",
                most_components=MOST_COMPONENTS,
            )
        )
    return list(dict.fromkeys(found))[:MOST_COMPONENTS]


def image_parts(reference: str) -> tuple[str, str]:
    """Return the name and the tag of an image reference."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    return f"{head}{slash}{base}", tag if colon else ""


def image_purl(image: ImageFact) -> str:
    """Return the package URL of an image (`pkg:oci/...`); empty for a reference that makes none."""
    from packageurl import PackageURL  # only here and for the chart

    name, tag = image_parts(image.reference)
    qualifiers = {"repository_url": name, "tag": tag}
    try:
        return PackageURL(
            "oci",
            None,
            name.rpartition("/")[2].lower(),
            image.digest or None,
            {k: v for k, v in qualifiers.items() if v},
        ).to_string()
    except ValueError:
        return ""


def _kind_of_member(name: str) -> str:
    """Return the part of a release that a member of a CSAR belongs to; chart and images are known by digest."""
    if (name.lower().endswith(".mf") and "/" not in name) or name.startswith("TOSCA-Metadata/"):
        return "manifest"
    if name.startswith(("APPD", "Definitions/")) or (name.lower().endswith((".yaml", ".yml")) and "/" not in name):
        return "descriptor"
    if name.startswith("Image/"):
        return "images"
    return "documents"


def _parts(source: Source, found: Inside, chart: ChartInside, paper: Mapping[str, str]) -> dict[str, str]:
    """Return a digest of each part. In doubt a file counts as changed: then a check runs once too often, never too seldom."""
    described = {k: v for k, v in source.descriptor.items() if k not in ("appDId", "appSoftVersion", "appDVersion")}
    of = {
        part: {n: d for n, d in found.files.items() if _kind_of_member(n) == part}
        for part in ("manifest", "descriptor")
    }
    return {
        "manifest": _digest(of["manifest"] or source.sha256),
        "signature": _digest([dict(source.signature), of["manifest"] or source.sha256]),
        "descriptor": _digest([described, of["descriptor"]]),
        "chart": _digest({n: d for n, d in chart.files.items() if not charts.is_paper(n)} or source.chart_sha256),
        "images": _digest(sorted([i.name, i.sha256] for i in source.images)),
        "documents": _digest([dict(paper), {n: d for n, d in chart.files.items() if charts.is_paper(n)}]),
        "whole": source.sha256,
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def all_licences(facts: Facts) -> list[str]:
    """Return the licences of the application and of everything inside it, sorted."""
    known = {*facts.licences, *(c.licence for c in facts.components if licences.expression(c.licence))}
    return sorted(known)


__all__ = ["RELEASE", "VERSION", "Carried", "Inside", "Invalid", "Source", "all_licences", "image_parts", "read"]
