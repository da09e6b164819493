"""Check `api-description`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Skip, Subject, Tools
from appstore.packages.documents import read_yaml
from core.archives import Damaged
from core.findings import Finding
from core.words import say
from engines.planning import mapping

_LARGEST = 2 << 20


class ApiDescription(Check):
    """An application that offers a service brings the OpenAPI description of it (operators' Swagger folder)."""

    name = "api-description"
    title = say("Offered services come with an API description")
    reason = say("Developers find a service in the catalogue, and then want to call it.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR, Part.DOCUMENTS})
    options = (Option("required", False, "fail without one, instead of a warning"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        offered = [str(each.get("serName")) for each in subject.descriptor.get("appServiceProduced") or ()]
        if not offered:
            raise Skip(say("It offers no service"))
        archive = tools.archive()
        likely = [
            name
            for name, member in archive.members.items()
            if name.lower().endswith((".json", ".yaml", ".yml"))
            and member.size <= _LARGEST
            and any(word in name.lower() for word in ("swagger", "openapi", "/api"))
        ]
        good = 0
        for name in likely[:20]:
            try:
                content = archive.read(name, at_most=_LARGEST)
                document = json.loads(content) if name.lower().endswith(".json") else read_yaml(content, name)
            except (Damaged, ValueError, RecursionError):
                yield support.warning("api-unreadable", name, say("It is no JSON or YAML"), say("Correct it"))
                continue
            root = mapping(document)
            if "paths" in root and ("openapi" in root or "swagger" in root):
                good += 1
        if not good:
            finding = support.error if options["required"] else support.warning
            remedy = say("Add Artifacts/Docs/openapi.yaml")
            yield finding(
                "api-undescribed",
                "",
                say("No OpenAPI description of {offered}", offered=", ".join(offered)[:120]),
                remedy,
            )
