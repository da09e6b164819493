"""Check `images-present`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ImagesPresent(Check):
    """Every image that the chart runs is carried, or its registry is one that the operator allows."""

    name = "images-present"
    title = say("Images can be had")
    reason = say("An edge site reaches few registries, or none.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART, Part.IMAGES})
    options = (Option("registries", [], "registries from which images may come; none named: any, with a warning"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        carried = {image.name for image in subject.images}
        allowed = tuple(str(each) for each in options["registries"])
        for each in support.all_containers(tools):
            image = str(each.body.get("image") or "")
            if not image or image in carried:
                continue
            registry = (
                image.split("/")[0]
                if "/" in image and ("." in image.split("/")[0] or ":" in image.split("/")[0])
                else "docker.io"
            )
            if allowed and registry not in allowed:
                message = say(
                    "{image} would come from {registry}, which the operator does not allow",
                    image=image[:160],
                    registry=registry[:80],
                )
                yield support.error("registry-not-allowed", each.place, message, say("Ship the image in the package"))
            elif not allowed:
                message = say(
                    "{image} is not in the package; the node needs {registry}",
                    image=image[:160],
                    registry=registry[:80],
                )
                yield support.warning("image-in-registry", each.place, message, say("Ship the image in the package"))
