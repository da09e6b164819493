"""Check `manifest-metadata`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding, Level
from core.words import say


class ManifestMetadata(Check):
    """A release is found and told apart by these words, so none may be missing."""

    name = "manifest-metadata"
    title = say("Name, provider, version and description are given")
    reason = say("Stores, people and orchestrators tell applications apart by nothing else.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR, Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for word, text in (("name", subject.name), ("provider", subject.provider), ("version", subject.version)):
            if not text.strip():
                yield Finding(
                    Level.ERROR,
                    f"{word}-missing",
                    word,
                    say("The package has no {word}", word=word),
                    say("Give its {word}", word=word),
                )
        if not str(subject.descriptor.get("appDescription", "")).strip():
            message = say("Nothing says what the application is for")
            yield Finding(
                Level.WARNING, "description-missing", "appDescription", message, say("Describe it in a sentence or two")
            )
