"""What the catalogue is told of certification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appstore.certification.issuing import levels_by_digest
from appstore.packages.models import Package


def enrich(packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
    """Return `{package id: {"certification": level}}`; one query however many packages there are."""
    levels = levels_by_digest({package.pk: package.sha256 for package in packages})
    return {pk: {"certification": level} for pk, level in levels.items()}
