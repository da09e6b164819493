"""Checking one package: read it whole, take chart and images into the store, and say everything that is wrong.

Knows the store of files, but not the database.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from appstore.packages import blobs, enclosing, formats
from appstore.packages.formats import ImageMember, Reading
from appstore.packages.images import image_names
from core.appd import AppDescriptor
from core.archives import Archive, Limits, finding_of
from core.errors import Invalid
from core.findings import Finding, Level, blocking
from core.words import say

#: More findings than this help nobody; the rest is counted.
_MOST_FINDINGS = 300
#: A descriptor travels to edge nodes in one frame (see core.frames), beside other things.
_LARGEST_DESCRIPTOR = 128 * 1024

Progress = Callable[[int, str], None]


@dataclass(slots=True)
class Verdict:
    """What a check found out, ready to be written down."""

    findings: list[Finding] = field(default_factory=list)
    format: str = ""
    descriptor: AppDescriptor | None = None
    signature: dict[str, Any] = field(default_factory=dict)
    chart_sha256: str = ""
    images: list[dict[str, Any]] = field(default_factory=list)
    #: Size by digest of every file that the check put into the store.
    stored: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the package may be published."""
        return self.descriptor is not None and not blocking(self.findings)


def examine(path: Path, progress: Progress = lambda percent, note: None) -> Verdict:
    """Check the package at `path`. Whatever is wrong with it is a finding, never an error."""
    verdict = Verdict()
    limits = Limits(total_bytes=settings.MAX_UNPACKED_BYTES, member_bytes=settings.MAX_UNPACKED_BYTES)
    try:
        with enclosing.open_package(path, limits) as opened:
            _examine(opened.archive, path, verdict, progress, opened)
    except Invalid as problem:
        verdict.findings.append(finding_of(problem))
    verdict.findings = _bounded(verdict.findings)
    return verdict


def _examine(archive: Archive, path: Path, verdict: Verdict, progress: Progress, opened: enclosing.Opened) -> None:
    verdict.findings += archive.findings
    try:
        format_ = formats.detect(archive)
    except Invalid as problem:
        verdict.findings.append(finding_of(problem))
        return
    verdict.format = format_.name
    progress(10, say("reading as {name}", name=format_.name))
    reading = format_.read(archive)
    if opened.enclosure is not None:
        enclosing.judge(opened.enclosure, reading)
    verdict.findings = reading.findings  # it has the archive's own among them
    verdict.descriptor = reading.descriptor
    verdict.signature = reading.signature.as_dict()
    size = len(json.dumps(reading.descriptor.to_dict()))
    if size > _LARGEST_DESCRIPTOR:
        message = say(
            "The descriptor takes {size} bytes; {largest_descriptor} is the most that travels to a node",
            size=size,
            largest_descriptor=_LARGEST_DESCRIPTOR,
        )
        verdict.findings.append(
            Finding(Level.ERROR, "appd-too-large", "", message, say("Describe fewer rules and services"))
        )
    if not archive.sound:
        return  # a listing that lies is not worth the reading of large members
    progress(60, say("storing chart and images"))
    try:
        _store_chart(archive, path, reading, verdict)
        for number, image in enumerate(reading.images):
            progress(
                65 + 30 * number // len(reading.images), say("storing {name}", name=image.name or image.member)[:200]
            )
            _store_image(archive, image, verdict)
    except Invalid as problem:
        verdict.findings.append(finding_of(problem))


def _store_chart(archive: Archive, path: Path, reading: Reading, verdict: Verdict) -> None:
    if reading.chart_is_package:
        digest, size = blobs.store(path)
    elif reading.chart:
        digest, size = blobs.store(archive.chunks(reading.chart))
    else:
        return
    verdict.chart_sha256, verdict.stored[digest] = digest, size


def _store_image(archive: Archive, image: ImageMember, verdict: Verdict) -> None:
    digest, size = blobs.store(archive.chunks(image.member))
    verdict.stored[digest] = size
    try:
        names = image_names(blobs.path_of(digest))
    except Invalid as problem:
        verdict.findings.append(finding_of(problem, image.member))
        return
    if not names:
        message = say("The image archive does not say what its image is called")
        remedy = say("Write it with `docker save <name>:<tag>`, not by its id")
        verdict.findings.append(Finding(Level.ERROR, "image-unnamed", image.member, message, remedy))
        return
    if image.name and image.name not in names:
        message = say(
            "SwImageDesc.json calls it {name}, the archive {names}; the archive counts",
            name=image.name[:120],
            names=", ".join(names)[:200],
        )
        verdict.findings.append(
            Finding(Level.WARNING, "image-name-differs", image.member, message, say("Use one name"))
        )
    name = image.name if image.name in names else names[0]
    verdict.images.append({"name": name, "sha256": digest, "size": size})


def _bounded(findings: list[Finding]) -> list[Finding]:
    """Return each finding once, the worst ones when there are too many."""
    unique = list(dict.fromkeys(findings))
    if len(unique) <= _MOST_FINDINGS:
        return unique
    worst = sorted(unique, key=lambda f: list(Level).index(f.level))[:_MOST_FINDINGS]
    message = say("There are {unique_count} more findings", unique_count=len(unique) - _MOST_FINDINGS)
    return [
        *worst,
        Finding(blocking(unique)[0].level if blocking(unique) else Level.INFO, "more-findings", "", message),
    ]
