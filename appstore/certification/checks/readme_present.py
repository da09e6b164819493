"""Check `readme-present`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ReadmePresent(Check):
    """There is a page that says what the application is and how it is set up."""

    name = "readme-present"
    title = say("It is documented")
    reason = say("Nobody installs what nobody explains.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DOCUMENTS, Part.CHART})
    options = (Option("characters", 80, "the least that counts as a description"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        archives = [(tools.archive(), "")] if support.is_csar(subject) else []
        archives += [(tools.chart_archive(), "chart: ")] if subject.chart is not None else []
        least = int(options["characters"])
        for archive, _ in archives:
            for name, member in archive.members.items():
                last = name.rsplit("/", 1)[-1].lower()
                if (
                    last in ("readme.md", "readme.txt", "readme", "template.md", "user_guide.txt")
                    and member.size >= least
                ):
                    return
        message = say("There is no README of {least} characters or more", least=least)
        yield support.warning("readme-missing", "Artifacts/Docs", message, say("Write one in Markdown"))
