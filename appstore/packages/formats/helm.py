"""A plain Helm chart (`helm package` wrote it): the package is the chart.

What a chart cannot say, it says in a descriptor inside: `mec/appd.yaml`, or the file that the annotation
`breakwater/appd` of Chart.yaml names. It has the members of MEC 010-2 `AppD`, all of them optional.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

from appstore.packages import charts, signatures, tosca
from appstore.packages.documents import read_yaml
from appstore.packages.formats.contract import Format, Reading
from core.appd import AppDescriptor, Compute, validate
from core.appd.reading import Members
from core.archives import Archive, Damaged, finding_of
from core.findings import Finding, Level
from core.words import say

PROVIDER, DESCRIPTOR = "breakwater/provider", "breakwater/appd"
_USUAL = "mec/appd.yaml"


class HelmChart(Format):
    """Reads a packed chart."""

    name: ClassVar[str] = "helm-chart"

    @classmethod
    def claim(cls, archive: Archive) -> int:
        """It is a tar with Chart.yaml in its folder."""
        return 80 if archive.kind == "tar" and charts.root_of(archive) else 0

    def read(self, archive: Archive) -> Reading:
        chart = charts.inspect(archive, "chart")
        findings = chart.findings
        said, place = _descriptor(archive, chart, findings)
        told = Members(said, place, findings)
        provider = told.text("appProvider") or chart.annotations.get(PROVIDER, "") or next(iter(chart.maintainers), "")
        name = told.text("appName") or chart.name
        version = told.text("appSoftVersion", "appSoftwareVersion") or chart.version
        if not provider:
            findings.append(
                Finding(
                    Level.ERROR,
                    "appd-mandatory",
                    "chart: Chart.yaml",
                    say("It does not say who provides the application"),
                    say("Add the annotation {provider} or a maintainer", provider=PROVIDER),
                )
            )
            provider = "unknown"
        appd = AppDescriptor(
            name=name,
            provider=provider,
            version=version,
            app_d_id=told.text("appDId") or str(uuid5(NAMESPACE_URL, f"urn:mec:app:{provider}/{name}/{version}")),
            appd_version=told.text("appDVersion") or "1.0",
            description=told.text("appDescription") or chart.description,
            mec_versions=tuple(told.texts("mecVersion")),
            compute=_compute(told),
            **tosca.describe(said, place, findings),
        )
        signature, remarks = signatures.absent("")
        findings += [*remarks, *validate(appd)]
        return Reading(appd, findings, chart_is_package=bool(chart.root and chart.name), signature=signature)


def _descriptor(archive: Archive, chart: charts.Chart, findings: list[Finding]) -> tuple[Mapping[str, Any], str]:
    """Return the descriptor inside the chart and its place; an empty one when there is none."""
    named = chart.annotations.get(DESCRIPTOR, "")
    path = posixpath.normpath(f"{chart.root}/{named or _USUAL}")
    if path not in archive:
        if named:
            message = say(
                "The annotation {descriptor} names {named}, which is not in the chart",
                descriptor=DESCRIPTOR,
                named=named[:120],
            )
            findings.append(
                Finding(Level.ERROR, "listed-member-missing", "chart: Chart.yaml", message, say("Add the file"))
            )
        return {}, "chart"
    place = path.removeprefix(f"{chart.root}/")
    try:
        document = read_yaml(archive.read(path), place)
    except Damaged as problem:
        findings.append(finding_of(problem, place))
        return {}, place
    if not isinstance(document, Mapping):
        findings.append(
            Finding(Level.ERROR, "appd-invalid", place, say("It is no object"), say("Write the members of an AppD"))
        )
        return {}, place
    return document, place


def _compute(told: Members) -> Compute:
    """`virtualComputeDescriptor` and `virtualStorageDescriptor` of MEC 010-2, in their plainest form."""
    asked = Members(told.take("compute") or {}, f"{told.place}.compute", told.findings)
    return Compute(
        asked.number("cpuMillis", low=0, high=10**9) or 0,
        asked.number("memoryBytes", low=0, high=1 << 50) or 0,
        asked.number("storageBytes", low=0, high=1 << 60) or 0,
        asked.text("architecture"),
    )
