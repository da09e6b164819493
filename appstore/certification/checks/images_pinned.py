"""Check `images-pinned`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ImagesPinned(Check):
    """Each image is fixed: named by digest, or carried in the package whose manifest has its digest."""

    name = "images-pinned"
    title = say("Images are pinned")
    reason = say("A tag may mean another image tomorrow.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART, Part.IMAGES})
    options = (Option("strict", True, "fail, instead of a warning"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        carried = {image.name for image in subject.images}
        finding = support.error if options["strict"] else support.warning
        for each in support.all_containers(tools):
            image = str(each.body.get("image") or "")
            if "@sha256:" in image or image in carried:
                continue
            message = say("{image} is neither named by digest nor carried in the package", image=image[:160])
            yield finding(
                "image-not-pinned", each.place, message, say("Name it as name@sha256:..., or ship it in Image/")
            )
