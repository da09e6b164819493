"""Check `version-semantic`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

#: Semantic Versioning 2.0.0, clause 9 and 10 included; a leading `v` is told apart.
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


class VersionSemantic(Check):
    """Versions of package and chart are Semantic Versions, so that machines know which one is newer."""

    name = "version-semantic"
    title = say("The version is a Semantic Version")
    reason = say("Upgrades, sorting and advisories compare versions by machine.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        if not _SEMVER.fullmatch(subject.version):
            message = say("The version {version} is not like 1.2.3", version=repr(subject.version[:40]))
            yield support.warning("version-not-semantic", "appSoftVersion", message, say("Use three numbers: 1.2.3"))
        if subject.chart is not None:
            version = str(support.chart_yaml(tools).get("version", ""))
            if not _SEMVER.fullmatch(version):
                message = say(
                    "The chart's version {version} is no Semantic Version; Helm demands one", version=repr(version[:40])
                )
                yield support.error("chart-version", "Chart.yaml", message, say("Use three numbers: 1.2.3"))
