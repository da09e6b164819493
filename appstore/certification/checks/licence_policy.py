"""Check `licence-policy`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class LicencePolicy(Check):
    """Every licence that was found is one that the operator allows; denied ones fail, unknown ones are told."""

    name = "licence-policy"
    title = say("Licences are allowed")
    reason = say("Some licences bind whoever passes the software on.")
    group = "legal"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DOCUMENTS, Part.CHART, Part.IMAGES})
    options = (
        Option(
            "denied",
            ["AGPL-3.0*", "SSPL-1.0", "BUSL-1.1"],
            "SPDX ids that fail; a star at the end takes all that begin so",
        ),
        Option("allowed", [], "SPDX ids that pass without a word; none named: all that are not denied"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        denied = [str(each).lower() for each in options["denied"]]
        allowed = [str(each).lower() for each in options["allowed"]]
        rows = [("", str(each)) for each in subject.contents.get("licences") or ()]
        for each in subject.contents.get("components") or ():
            if each.get("licence"):
                rows.append((str(each.get("name", ""))[:120], str(each["licence"])))
        if not rows:
            raise Skip(say("No licence was found, see `licence-declared`"))
        for place, expression in dict.fromkeys(rows):
            for choice in _words(expression):
                if any(choice == each or (each.endswith("*") and choice.startswith(each[:-1])) for each in denied):
                    if not _alternative(expression, denied):
                        yield support.error(
                            "licence-denied",
                            place,
                            say("{expression} is denied", expression=expression[:120]),
                            say("Replace it"),
                        )
                        break
                elif allowed and choice not in allowed:
                    yield support.warning(
                        "licence-unlisted",
                        place,
                        say("{expression} is not on the list", expression=expression[:120]),
                        say("Judge it"),
                    )
                    break


def _words(expression: str) -> list[str]:
    """Return the licence ids in an SPDX expression, in lower case."""
    words = re.split(r"[\s()]+", expression)
    return [word.lower() for word in words if word and word.upper() not in ("AND", "OR", "WITH")]


def _alternative(expression: str, denied: list[str]) -> bool:
    """Return whether the expression leaves a choice without a denied licence: a plain `A OR B`."""
    if " OR " not in expression or " AND " in expression:
        return False
    choices = [_words(each) for each in expression.split(" OR ")]
    return any(
        not any(w == d or (d.endswith("*") and w.startswith(d[:-1])) for w in words for d in denied)
        for words in choices
    )
