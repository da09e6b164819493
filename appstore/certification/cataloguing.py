"""What the catalogue is told of certification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appstore.certification.issuing import levels_of
from appstore.packages.models import Package


def enrich(packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
    """Return `{package id: {"certification": level}}`; two queries however many packages there are."""
    return {pk: {"certification": level} for pk, level in levels_of(package.pk for package in packages).items()}
