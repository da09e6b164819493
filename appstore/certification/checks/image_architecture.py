"""Check `image-architecture`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say

_NAMES = {
    "x86": "amd64", "x86_64": "amd64", "amd64": "amd64", "i386": "amd64",
    "arm": "arm64", "arm64": "arm64", "aarch64": "arm64", "armv8": "arm64",
}  # fmt: skip


class ImageArchitecture(Check):
    """The images that the package carries are built for the processors that the descriptor names."""

    name = "image-architecture"
    title = say("Images fit the processor")
    reason = say("Otherwise it is deployed, and dies with `exec format error`.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR, Part.IMAGES})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        wanted = _NAMES.get(str((subject.descriptor.get("compute") or {}).get("architecture") or "").lower(), "")
        found = {
            str(each.get("reference")): _NAMES.get(str(each.get("architecture") or "").lower(), "")
            for each in subject.contents.get("images") or ()
        }
        if not wanted:
            raise Skip(say("The descriptor names no architecture"))
        for reference, architecture in sorted(found.items()):
            if architecture and architecture != wanted:
                message = say(
                    "{reference} is built for {architecture}, the descriptor says {wanted}",
                    reference=reference[:160],
                    architecture=architecture,
                    wanted=wanted,
                )
                yield support.error(
                    "architecture-differs", reference, message, say("Build it for that, or correct the descriptor")
                )
