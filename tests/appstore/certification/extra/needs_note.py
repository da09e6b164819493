"""Check `needs-note`, as an operator would add it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Option, Progress, Subject, Tools
from core.findings import Finding, Level


class NeedsNote(Check):
    """Wants a word in the name of the application."""

    name = "needs-note"
    title = "The name holds a word"
    reason = "A test."
    options = (Option("word", "hello", "the word"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        if options["word"] not in subject.name:
            yield Finding(Level.WARNING, "word-missing", "name", f"{options['word']} is not in it")
