"""What checks get of a package: its files, and one document of facts. Made by the worker, which may ask the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings

from appstore.certification.parts import parts_of
from appstore.certification.running.runner import Material
from appstore.certification.verdicts import digest_of
from appstore.packages import blobs
from appstore.packages.models import Package
from appstore.trust import services as trust
from core.accounts.services import operator
from core.errors import BreakwaterError, Invalid, Missing
from core.registry import Registry
from core.words import say
from engines.helm import helm

#: The name and namespace with which charts are rendered to be looked at.
RELEASE = "certification"
#: Raised when checks are shown more of a chart than before: a result of an earlier run then holds no longer.
RENDERING = 2

#: Topics that know more of a package than its row: each returns members of `Subject` (`contents`, `previous`,
#: `signature`), and `parts` where it has counted them already.
sources: Registry[Any] = Registry(
    "certification-sources",
    {"contents": f"{__name__}:of_contents", "trust": f"{__name__}:of_trust"},
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything for a run of checks about one package."""

    material: Material
    parts: Mapping[str, str]
    environment: Mapping[str, Any]


def prepare(package: Package, values: Mapping[str, Any]) -> Prepared:
    """Lay out the files and facts of a package; `Missing` when its file is no longer in the store."""
    path = blobs.path_of(package.sha256)
    if not path.exists():
        raise Missing(say("The file of this package is no longer in the store."))
    more: dict[str, Any] = {}
    for _, source in sources:
        more |= source(package) or {}
    signature = {**package.signature, **more.get("signature", {})}
    name = "package.tgz" if package.format == "helm-chart" else "package.csar"
    files: dict[str, Path] = {name: path}
    images = []
    for number, image in enumerate(package.images):
        place = f"images/{number}.tar"
        if blobs.path_of(image["sha256"]).exists():
            files[place] = blobs.path_of(image["sha256"])
            images.append({**{key: image[key] for key in ("name", "sha256", "size")}, "path": place})
    rendered = None
    if package.chart_sha256:
        files["chart.tgz"] = blobs.path_of(package.chart_sha256)
        rendered = _rendered(files["chart.tgz"], values)
    advisories = Path(settings.ADVISORIES) if settings.ADVISORIES else None
    if advisories is not None and advisories.is_file():
        files["advisories"] = advisories
    subject = {
        "path": name,
        "sha256": package.sha256,
        "format": package.format,
        "name": package.name,
        "provider": package.provider,
        "version": package.version,
        "descriptor": package.descriptor,
        "chart": "chart.tgz" if package.chart_sha256 else None,
        "images": images,
        "signature": signature,
        "findings": [each for each in package.findings if isinstance(each, dict) and "level" in each],
        "contents": more.get("contents", {}),
        "previous": more.get("previous"),
        "advisories": "advisories" if "advisories" in files else None,
        "values": dict(values),
    }
    environment = {
        "breakwater": str(settings.SPECTACULAR_SETTINGS["VERSION"]),
        "advisories": _digest(str(advisories), advisories.stat().st_mtime_ns)
        if "advisories" in files and advisories
        else "",
        "values": digest_of(dict(values)) if values else "",
        "rendering": RENDERING,
    }
    parts = parts_of(package, path, signature)
    return Prepared(Material(files, {"subject": subject, "rendered": rendered}), parts, environment)


def _rendered(chart: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Render once for all checks, in the process that Helm has of its own; what Helm refuses is told to the checks."""
    try:
        found = helm().render(chart, values, name=RELEASE, namespace=RELEASE)
    except Invalid as problem:
        return {"problem": problem.detail}
    return {
        "objects": [dict(manifest.body) for manifest in found.manifests],
        "hooks": [{"events": list(hook.events), "body": dict(hook.manifest.body)} for hook in found.hooks],
        "crds": [dict(manifest.body) for manifest in found.crds],
    }


@lru_cache(maxsize=4)
def _digest(path: str, changed: int) -> str:
    import hashlib  # a database of advisories may be large, so its digest is kept until the file changes

    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_contents(package: Package) -> dict[str, Any]:
    """Return the facts of what is inside this release and the one before; nothing where nobody has looked."""
    try:
        contents = import_module("appstore.contents.services")
    except ImportError:
        return {}
    try:
        mine = contents.facts_of(package)
        before = contents.previous_of(package)
        earlier = contents.facts_of(before) if before is not None else None
    except BreakwaterError:
        return {}
    return {
        "contents": mine.as_dict() if mine is not None else {},
        "previous": _earlier(earlier.as_dict(), before) if earlier is not None and before is not None else None,
    }


def _earlier(facts: dict[str, Any], before: Package) -> dict[str, Any]:
    return {**facts, "version": before.version, "signer": str(before.signature.get("fingerprint") or "")}


def of_trust(package: Package) -> dict[str, Any]:
    """Return what the trust list of the store says of the signature."""
    try:
        found = trust.standing(package, operator())
    except Missing:
        return {}
    return {"signature": {"standing": str(found.state), "anchor": found.anchor, "publisher": found.publisher}}
