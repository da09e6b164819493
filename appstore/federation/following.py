"""What the feeds want to hear of packages."""

from __future__ import annotations

from appstore.federation import serials
from appstore.packages.followers import Event
from appstore.packages.models import Package


def follow(event: Event, package: Package) -> None:
    """Have the feeds look at a release that changed; a package that never was one concerns no partner."""
    if package.published_at is not None or event == "gone":
        serials.note_change(package)
