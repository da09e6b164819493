"""An offline advisory database in OSV's format: which components of an SBOM have known weaknesses.

The file is what an operator carries in: one JSON object a line, a JSON list, or a zip of JSON files (as OSV publishes each
ecosystem). It is read as a stream, and of it only what is about the components at hand is kept. Nothing is fetched.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from appstore.certification import versions
from core.archives import Damaged, Limits, open_archive
from core.errors import Invalid
from core.words import say

SEVERITIES = ("low", "medium", "high", "critical")
#: One advisory is no longer than this, and a database holds no more of them.
_LONGEST, _MOST = 4 << 20, 2_000_000
_LIMITS = Limits(members=_MOST, total_bytes=8 << 30, member_bytes=_LONGEST)
#: Ecosystem in OSV by the type of a package URL; Linux distributions are told by the namespace.
_ECOSYSTEMS = {
    "pypi": "PyPI",
    "npm": "npm",
    "golang": "Go",
    "cargo": "crates.io",
    "maven": "Maven",
    "gem": "RubyGems",
    "nuget": "NuGet",
    "helm": "Helm",
}
_DISTRIBUTIONS = {
    "debian": "Debian",
    "ubuntu": "Ubuntu",
    "alpine": "Alpine",
    "redhat": "Red Hat",
    "rocky": "Rocky Linux",
    "almalinux": "AlmaLinux",
    "opensuse": "openSUSE",
    "suse": "SUSE",
}


@dataclass(frozen=True, slots=True)
class Hit:
    """One component that has one weakness."""

    id: str
    aliases: tuple[str, ...]
    severity: str
    summary: str
    component: str
    version: str
    place: str
    #: The first version without it; empty when there is none.
    fixed: str = ""


@dataclass(frozen=True, slots=True)
class _Component:
    name: str
    version: str
    place: str
    ecosystem: str
    #: Release of the distribution, such as `12`, when the package URL says it.
    release: str = ""


def search(database: Path, components: Iterable[Mapping[str, Any]]) -> Iterator[Hit]:
    """Yield every weakness of `components` (rows of an SBOM with `purl`, `place`), each once for a component.

    `Invalid` when the database cannot be read at all; a single record that is none is passed over.
    """
    wanted: dict[tuple[str, str], list[_Component]] = defaultdict(list)
    for row in components:
        for name, component in _known(row):
            wanted[component.ecosystem.lower(), name].append(component)
    if not wanted:
        return
    for record in records(database):
        seen: set[tuple[str, str, str]] = set()
        for affected in _objects(record.get("affected")):
            package = _mapping(affected.get("package"))
            ecosystem, _, release = str(package.get("ecosystem", "")).partition(":")
            name = _normal(ecosystem, str(package.get("name", "")))
            for component in wanted.get((ecosystem.lower(), name), ()):
                if release and component.release and release.removeprefix("v") != component.release:
                    continue
                mark = (component.name, component.version, component.place)
                hit, fixed = is_affected(ecosystem, component.version, affected)
                if hit and mark not in seen and not record.get("withdrawn"):
                    seen.add(mark)
                    yield _hit(record, affected, component, fixed)


def is_affected(ecosystem: str, version: str, affected: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether `version` is affected, and the version that mends it (OSV schema 1.7, "Evaluation")."""
    ranges = [each for each in _objects(affected.get("ranges")) if each.get("type") in ("ECOSYSTEM", "SEMVER")]
    for each in ranges:
        events = _events(ecosystem, each)
        hit = False
        for kind, at in events:
            order = -1 if at == "0" else versions.compare(ecosystem, at, version)
            if kind == "introduced" and order <= 0:
                hit = True
            elif (kind == "fixed" and order <= 0) or (kind == "last_affected" and order < 0):
                hit = False
        if hit:
            later = [at for kind, at in events if kind == "fixed" and versions.compare(ecosystem, at, version) > 0]
            return True, later[0] if later else ""
    listed = affected.get("versions")
    return (isinstance(listed, list) and version in listed), ""


def severity_of(record: Mapping[str, Any], affected: Mapping[str, Any]) -> str:
    """Return the severity in four words: what the database says, else from the CVSS v3 vector, else `medium`."""
    for source in (
        affected.get("ecosystem_specific"),
        affected.get("database_specific"),
        record.get("database_specific"),
    ):
        word = str(_mapping(source).get("severity") or _mapping(source).get("urgency") or "").lower()
        word = {"moderate": "medium", "important": "high", "negligible": "low", "unimportant": "low"}.get(word, word)
        if word in SEVERITIES:
            return word
    for each in (*_objects(affected.get("severity")), *_objects(record.get("severity"))):
        score = cvss3(str(each.get("score", "")))
        if score is not None:
            return "critical" if score >= 9 else "high" if score >= 7 else "medium" if score >= 4 else "low"
    return "medium"


_METRICS = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}


def cvss3(vector: str) -> float | None:
    """Return the base score of a CVSS v3.0 or v3.1 vector (specification, 7.1); None when it is none."""
    if not re.match(r"CVSS:3\.[01]/", vector[:9]):
        return None
    told = dict(part.partition(":")[::2] for part in vector[:200].split("/")[1:])
    try:
        worth = {name: values[told[name]] for name, values in _METRICS.items()}
        changed = told["S"] == "C"
        privileges = _PRIVILEGES["C" if changed else "U"][told["PR"]]
    except KeyError:
        return None
    impact_base = 1 - (1 - worth["C"]) * (1 - worth["I"]) * (1 - worth["A"])
    impact = 7.52 * (impact_base - 0.029) - 3.25 * (impact_base - 0.02) ** 15 if changed else 6.42 * impact_base
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * worth["AV"] * worth["AC"] * privileges * worth["UI"]
    return _rounded_up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def _rounded_up(value: float) -> float:
    """Round up to one decimal as CVSS v3.1 (appendix A) does, where 4.02 must not come out of 4.000001."""
    whole = round(value * 100_000)
    return whole / 100_000.0 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10.0


def records(database: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the records of a database file, whatever its form; what is no JSON object is passed over."""
    try:
        with database.open("rb") as file:
            head = file.read(4)
    except OSError as problem:
        raise Invalid(
            say("The advisory database cannot be opened: {strerror}", strerror=problem.strerror or problem)
        ) from problem
    if head[:2] == b"PK":
        yield from _zipped(database)
    elif head.lstrip()[:1] == b"[":
        yield from _listed(database)
    else:
        yield from _lines(database)


def _zipped(database: Path) -> Iterator[Mapping[str, Any]]:
    with open_archive(database, _LIMITS) as archive:
        for name in archive.members:
            if name.lower().endswith(".json"):
                try:
                    yield from _parsed(archive.read(name, at_most=_LONGEST))
                except Damaged:
                    continue


def _listed(database: Path) -> Iterator[Mapping[str, Any]]:
    if database.stat().st_size > 512 << 20:
        raise Invalid(say("An advisory database of this size must be one object a line, or a zip"))
    try:
        rows = json.loads(database.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise Invalid(say("The advisory database is no JSON")) from problem
    yield from _objects(rows)


def _lines(database: Path) -> Iterator[Mapping[str, Any]]:
    with database.open("rb") as file:
        while line := file.readline(_LONGEST):
            yield from _parsed(line)


def _parsed(content: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return
    if isinstance(record, dict):
        yield record


def _known(row: Mapping[str, Any]) -> Iterator[tuple[str, _Component]]:
    """Yield name and component by which the database may know a row; a binary package also by its source."""
    try:
        url = PackageURL.from_string(str(row.get("purl") or "")[:2000])
    except ValueError:
        return
    qualifiers = _mapping(url.qualifiers)
    distribution, _, release = str(qualifiers.get("distro", "")).partition("-")
    if url.type in ("deb", "apk", "rpm"):
        ecosystem = _DISTRIBUTIONS.get((url.namespace or distribution or "").lower(), "")
    else:
        ecosystem = _ECOSYSTEMS.get(url.type, "")
    if not ecosystem or not url.version:
        return
    full = f"{url.namespace}/{url.name}" if url.namespace and url.type in ("npm", "golang") else url.name
    full = f"{url.namespace}:{url.name}" if url.type == "maven" else full
    names = [full]
    source = str(qualifiers.get("upstream") or qualifiers.get("source") or "").split("@")[0]
    if source and source != full:
        names.append(source)
    place = str(row.get("place") or "")[:200]
    for name in names:
        yield _normal(ecosystem, name), _Component(full, url.version, place, ecosystem, release)


def _normal(ecosystem: str, name: str) -> str:
    # PEP 503: names of Python packages are compared without case and kind of separator.
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem.lower() == "pypi" else name


def _hit(record: Mapping[str, Any], affected: Mapping[str, Any], component: _Component, fixed: str) -> Hit:
    aliases = record.get("aliases")
    return Hit(
        id=str(record.get("id", ""))[:60],
        aliases=tuple(str(each)[:60] for each in aliases[:20]) if isinstance(aliases, list) else (),
        severity=severity_of(record, affected),
        summary=str(record.get("summary") or record.get("details") or "")[:300],
        component=component.name,
        version=component.version,
        place=component.place,
        fixed=fixed[:100],
    )


def _events(ecosystem: str, each: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the events of a range in the order of their versions; at one version `introduced` comes first."""
    found = [
        (kind, str(event[kind]))
        for event in _objects(each.get("events"))
        for kind in ("introduced", "fixed", "last_affected")
        if kind in event
    ]
    order = versions.key(ecosystem)
    return sorted(found, key=lambda event: (event[1] != "0", order(event[1]), event[0] != "introduced"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
