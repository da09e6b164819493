"""Check `descriptor-fits-chart`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import images_of


class DescriptorFitsChart(Check):
    """Images, ports and services that the descriptor names are those of the chart."""

    name = "descriptor-fits-chart"
    title = say("Descriptor and chart agree")
    reason = say("What is said and what is run are then the same.")
    group = "mec"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR, Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        objects = support.manifests(tools)
        used = set(images_of(objects))
        for each in subject.descriptor.get("images") or ():
            name = str(each.get("name") or "")
            if name and name not in used and not any(name == image.split("@")[0] for image in used):
                message = say("The descriptor names the image {name}, which the chart does not run", name=name[:160])
                yield support.warning("image-unused", "images", message, say("Remove it from the package"))
        ports = any(each.kind == "Service" for each in objects)
        offered = subject.descriptor.get("appServiceProduced") or ()
        if offered and not ports:
            message = say(
                "It offers {offered_count} service(s), and the chart has no Service that leads to them",
                offered_count=len(offered),
            )
            yield support.error("service-unreachable", "appServiceProduced", message, say("Add a Service to the chart"))
