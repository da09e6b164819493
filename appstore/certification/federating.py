"""What partner stores are told of certification, and what becomes of the certificates that they send."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from appstore.certification import issuing, revoking
from appstore.certification.models import LEVELS, Certificate
from appstore.packages.models import Package


def describe(package: Package) -> Mapping[str, Any]:
    """Return the member `certification` of a feed release; nothing without a valid certificate."""
    level = issuing.levels_of([package.pk]).get(package.pk, "")
    return {"certification": level} if level else {}


def evidence(packages: list[Package]) -> Mapping[Any, list[Mapping[str, Any]]]:
    """Return by package the envelopes of its valid certificates, the highest level first; one query."""
    rows = list(Certificate.objects.valid().filter(sha256__in={package.sha256 for package in packages}))
    rows.sort(key=lambda row: (-LEVELS.index(row.level), -row.not_after.timestamp()))
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.sha256].append(row.envelope)
    return {package.pk: found[package.sha256] for package in packages if package.sha256 in found}


def revocation_lists() -> list[Mapping[str, Any]]:
    """Return the lists of revocations that partners are told: ours, and those of labs that are trusted here."""
    return list(revoking.lists())


def take_revocations(envelopes: list[Mapping[str, Any]], source: str) -> int:
    """Take over the lists of labs that are trusted here, whoever hands them on; return how many were good."""
    return revoking.take_all(envelopes, source)


def accept(package: Package, envelope: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    """Judge a partner's certificate by the labs that are trusted here, and keep it; `Invalid` says why it counts for nothing.

    Which partner it came from does not matter: only who signed it.
    """
    kept = issuing.accept(package, envelope)
    return {"level": kept.level, "lab": kept.lab}
