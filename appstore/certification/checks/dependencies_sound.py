"""Check `dependencies-sound`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_MEMBERS = ("appServiceRequired", "appServiceOptional", "appServiceProduced")


class DependenciesSound(Check):
    """What it needs is named once, it does not need itself, and a needed service is not optional as well."""

    name = "dependencies-sound"
    title = say("Dependencies make sense")
    reason = say("A dependency that nobody can fulfil keeps the application from ever being placed.")
    group = "mec"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        def names(member: str) -> list[str]:
            return [str(each.get("serName") or "") for each in subject.descriptor.get(member) or ()]

        required, optional, offered = (names(each) for each in _MEMBERS)
        for member, found in zip(_MEMBERS, (required, optional), strict=False):
            for name in sorted({each for each in found if found.count(each) > 1}):
                yield support.warning(
                    "dependency-twice", member, say("{name} is named twice", name=repr(name[:80])), say("Keep one")
                )
        for name in sorted(set(required) & set(offered)):
            yield support.error(
                "dependency-itself",
                _MEMBERS[0],
                say("It needs {name}, which it offers itself", name=repr(name[:80])),
                say("Remove it"),
            )
        for name in sorted(set(required) & set(optional)):
            yield support.warning(
                "dependency-both",
                _MEMBERS[1],
                say("{name} is required and optional", name=repr(name[:80])),
                say("Keep one"),
            )
