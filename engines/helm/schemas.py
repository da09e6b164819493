"""The values schema of a chart: what may be handed to Helm's validator, and what it says about values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from core.words import say

#: A schema is read into memory up to here, and has at most so many parts.
LARGEST, MOST_PARTS = 2 << 20, 200_000
#: What Helm's validator knows by itself; every other address it would fetch.
_KNOWN = re.compile(r"https?://json-schema\.org/(?:draft-0[467]|draft/20(?:19-09|20-12))/schema#?\Z")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_PROBLEM = re.compile(r"^\s*-\s+at\s+'((?:[^'\\]|\\.)*)':\s?(.*)$")
_CHART = re.compile(r"^([^\s:]{1,200}):\s*$")
#: Lines that only say that lines follow.
_HEADINGS = frozenset({"validation failed", "'allOf' failed"})
MOST_PROBLEMS, _LONGEST = 100, 300


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that the schema forbids: a JSON pointer (RFC 6901) into the values, and what is said of it."""

    pointer: str
    message: str


def check(text: bytes) -> None:
    """Pass a schema that speaks only about itself; `Invalid` otherwise.

    Helm's validator follows references to other hosts and to files of this machine, and charts are written by
    strangers: so a reference must stay inside the document.
    """
    if len(text) > LARGEST:
        raise Invalid(say("values.schema.json of the chart is larger than {largest} MiB", largest=LARGEST >> 20))
    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        raise Invalid(say("values.schema.json of the chart is no readable JSON")) from None
    seen = 0
    while waiting:
        each = waiting.pop()
        seen += 1
        if seen > MOST_PARTS:
            raise Invalid(
                say("values.schema.json of the chart has more than {most_parts} parts", most_parts=MOST_PARTS)
            )
        if isinstance(each, dict):
            outside = next(_outside(each), None)
            if outside is not None:
                raise Invalid(
                    say(
                        "values.schema.json of the chart refers to {outside}, outside of itself; it is not fetched",
                        outside=repr(outside[:120]),
                    )
                )
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _outside(part: dict[str, Any]) -> Iterator[str]:
    for name in _REFERENCES:
        reference = part.get(name)
        if isinstance(reference, str) and reference and not reference.startswith("#"):
            yield reference
    dialect = part.get("$schema")
    if isinstance(dialect, str) and not _KNOWN.match(dialect):
        yield dialect


def problems(told: str) -> list[Problem]:
    """Return what Helm's text says about values, subcharts' values below their names; at most `MOST_PROBLEMS`.

    A text without any such line becomes one problem of the values as a whole.
    """
    found: list[Problem] = []
    prefix, charts = "", 0
    for line in told.splitlines():
        chart = _CHART.match(line)
        if chart:
            # The chart itself comes first, then those inside of it.
            prefix, charts = (f"/{chart[1]}" if charts else ""), charts + 1
            continue
        at = _PROBLEM.match(line)
        if at is None or at[2].strip() in _HEADINGS:
            continue
        problem = Problem(prefix + re.sub(r"\\(.)", r"\1", at[1]), at[2].strip()[:_LONGEST])
        if problem not in found:
            found.append(problem)
        if len(found) >= MOST_PROBLEMS:
            break
    return found or [Problem("", " ".join(told.split())[:_LONGEST])]
