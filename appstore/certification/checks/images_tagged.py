"""Check `images-tagged`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ImagesTagged(Check):
    """No image is called `latest`, or has no tag at all."""

    name = "images-tagged"
    title = say("Images have a version")
    reason = say("Nobody can say what `latest` was on the day of an incident.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            image = str(each.body.get("image") or "")
            if not image:
                yield support.error("image-missing", each.place, say("It names no image"), say("Name one"))
                continue
            if "@" in image:
                continue
            tag = image.rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                message = (
                    say("{image} has the tag latest", image=image[:160])
                    if tag
                    else say("{image} has no tag", image=image[:160])
                )
                yield support.error("image-latest", each.place, message, say("Give it the tag of a version"))
