"""Check `images-tagged`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding


class ImagesTagged(Check):
    """No image is called `latest`, or has no tag at all."""

    name = "images-tagged"
    title = "Images have a version"
    reason = "Nobody can say what `latest` was on the day of an incident."
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            image = str(each.body.get("image") or "")
            if not image:
                yield support.error("image-missing", each.place, "It names no image", "Name one")
                continue
            if "@" in image:
                continue
            tag = image.rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                message = f"{image[:160]} has {'the tag latest' if tag else 'no tag'}"
                yield support.error("image-latest", each.place, message, "Give it the tag of a version")
