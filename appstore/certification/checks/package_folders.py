"""Check `package-folders`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from appstore.packages.csar import root_of
from core.findings import Finding
from core.words import say


class PackageFolders(Check):
    """The folders that an operator's tools look into are there; MEAD and Swagger are asked for by some."""

    name = "package-folders"
    title = say("The usual folders are there")
    reason = say("Tools of operators look for files by their folder.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    options = (
        Option(
            "folders", ["APPD", "Artifacts", "TOSCA-Metadata"], "folders at the top that must exist and hold a file"
        ),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        archive = tools.archive()
        root = root_of(archive) or ""
        for folder in options["folders"]:
            if not archive.under(f"{root}{folder}"):
                yield support.error(
                    "folder-missing",
                    folder,
                    say("There is no folder {folder} with a file in it", folder=folder),
                    say("Add it"),
                )
