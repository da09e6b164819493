"""Looking into a Helm chart archive without rendering it: is it one, is it whole, what does it say about itself?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from appstore.packages.documents import read_json, read_yaml
from core.archives import Archive, Damaged, finding_of
from core.findings import Finding, Level
from core.words import say

#: Helm itself refuses charts that unpack to more than 100 MiB, and files over 5 MiB in them.
LARGEST_CHART, _LARGEST_FILE = 100 << 20, 5 << 20
_SEMVER = re.compile(r"^v?(0|[1-9]\d*)(\.(0|[1-9]\d*)){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\Z")
_NAME = re.compile(r"^[a-zA-Z0-9._-]{1,250}\Z")


@dataclass(slots=True)
class Chart:
    """What a chart archive says; `root` is its one folder, empty when it is no chart."""

    root: str = ""
    name: str = ""
    version: str = ""
    app_version: str = ""
    description: str = ""
    maintainers: list[str] = field(default_factory=list)
    annotations: Mapping[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def root_of(archive: Archive) -> str:
    """Return the folder that holds Chart.yaml; empty when this archive is no chart."""
    folders = {name.split("/")[0] for name in archive.members if "/" in name}
    return next((f for f in sorted(folders) if f"{f}/Chart.yaml" in archive), "")


def inspect(archive: Archive, place: str) -> Chart:
    """Return what the chart in `archive` says, with everything that is wrong with it."""
    chart = Chart(root_of(archive))
    found = chart.findings
    found += [
        Finding(f.level, f.code, f"{place}: {f.place}".rstrip(": "), f.message, f.remedy) for f in archive.findings
    ]
    if not chart.root:
        found.append(
            Finding(
                Level.ERROR,
                "chart-invalid",
                place,
                say("There is no Chart.yaml in a folder of it"),
                say("Use `helm package`"),
            )
        )
        return chart
    others = {n.split("/")[0] for n in archive.members} - {chart.root}
    if others:
        message = say(
            "It holds more than the folder {root}: {others}", root=chart.root, others=", ".join(sorted(others))[:200]
        )
        found.append(Finding(Level.ERROR, "chart-invalid", place, message, say("Use `helm package`")))
    total = sum(member.size for member in archive.members.values())
    large = [n for n, m in archive.members.items() if m.size > _LARGEST_FILE]
    if total > LARGEST_CHART or large:
        message = say(
            "Helm reads charts up to {largest_chart} MiB with files up to {largest_file} MiB",
            largest_chart=LARGEST_CHART >> 20,
            largest_file=_LARGEST_FILE >> 20,
        )
        found.append(Finding(Level.ERROR, "chart-too-large", place, message, say("Leave large files out of the chart")))
    try:
        _metadata(chart, archive, place)
    except Damaged as problem:
        found.append(finding_of(problem, place))
    found += _files(chart, archive, place)
    return chart


def _metadata(chart: Chart, archive: Archive, place: str) -> None:
    member = f"{chart.root}/Chart.yaml"
    where = f"{place}: Chart.yaml"
    raw = read_yaml(archive.read(member), where)
    if not isinstance(raw, Mapping):
        raise Damaged("chart-invalid", say("Chart.yaml is no object"), where)

    def text(name: str) -> str:
        value = raw.get(name)
        return value.strip() if isinstance(value, str) else ""

    def wrong(message: str, remedy: str, level: Level = Level.ERROR) -> None:
        chart.findings.append(Finding(level, "chart-invalid", where, message, remedy))

    chart.name, chart.version = text("name"), text("version")
    chart.app_version, chart.description = text("appVersion"), text("description")
    annotations = raw.get("annotations")
    if isinstance(annotations, Mapping):
        chart.annotations = {str(k): v for k, v in annotations.items() if isinstance(v, str)}
    people = raw.get("maintainers")
    for person in people if isinstance(people, list) else []:
        if isinstance(person, Mapping) and isinstance(person.get("name"), str):
            chart.maintainers.append(person["name"])
    if text("apiVersion") not in ("v1", "v2"):
        wrong(say("apiVersion must be v1 or v2"), say("Set apiVersion: v2"))
    if not _NAME.match(chart.name):
        wrong(say("The chart has no usable name"), say("Set name to letters, digits and hyphens"))
    elif chart.name != chart.root:
        wrong(
            say("The chart is called {name} and its folder {root}", name=chart.name[:80], root=chart.root[:80]),
            say("Give both one name"),
            Level.INFO,
        )
    if not _SEMVER.match(chart.version):
        wrong(say("The chart has no version as in Semantic Versioning"), say("Set a version such as 1.2.0"))
    if text("type") == "library":
        wrong(say("A library chart cannot be installed"), say("Ship an application chart"))
    dependencies = raw.get("dependencies")
    if not isinstance(dependencies, list) and f"{chart.root}/requirements.yaml" in archive:
        legacy = read_yaml(archive.read(f"{chart.root}/requirements.yaml"), f"{place}: requirements.yaml")
        dependencies = legacy.get("dependencies") if isinstance(legacy, Mapping) else None
    for dependency in dependencies if isinstance(dependencies, list) else []:
        name = dependency.get("name") if isinstance(dependency, Mapping) else None
        inside = f"{chart.root}/charts/{name}"
        if not any(n.startswith((f"{inside}/", f"{inside}-")) or n == f"{inside}.tgz" for n in archive.members):
            wrong(
                say("It depends on the chart {name}, which is not in charts/", name=str(name)[:80]),
                say("Run `helm dependency build`"),
            )


def _files(chart: Chart, archive: Archive, place: str) -> Iterator[Finding]:
    root = chart.root
    if not archive.under(f"{root}/templates") and not archive.under(f"{root}/charts"):
        yield Finding(
            Level.ERROR, "chart-empty", place, say("The chart has no templates"), say("Add at least one workload")
        )
    checks: tuple[tuple[str, Any], ...] = (("values.yaml", read_yaml), ("values.schema.json", read_json))
    for name, read in checks:
        where = f"{place}: {name}"
        if f"{root}/{name}" not in archive:
            continue
        try:
            document = read(archive.read(f"{root}/{name}"), where)
        except Damaged as problem:
            yield finding_of(problem, where)
            continue
        if document is not None and not isinstance(document, Mapping):
            yield Finding(
                Level.ERROR, "chart-invalid", where, say("{name} is no object", name=name), say("Write one object")
            )
