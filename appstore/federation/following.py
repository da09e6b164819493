"""What the feeds want to hear of packages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appstore.federation import serials
from appstore.packages.followers import Event
from appstore.packages.models import Package


def follow(event: Event, package: Package) -> None:
    """Have the feeds look at a release that changed; a package that never was one concerns no partner."""
    if package.published_at is not None or event == "gone":
        serials.note_change(package)


def certified(package_ids: Iterable[Any]) -> None:
    """Have the feeds look at releases whose certificates changed: a level that falls, falls at partners, too."""
    for package in Package.objects.filter(pk__in=list(package_ids)).exclude(published_at=None):
        serials.note_change(package)
