"""After its check a package is looked into, by a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appstore.contents import reading, services
from appstore.contents.models import Contents
from appstore.packages import states

if TYPE_CHECKING:
    from appstore.packages.followers import Event
    from appstore.packages.models import Package


def follow(event: Event, package: Package) -> None:
    """Ask for the inspection of a package that passed its check, and of a release whose inside is not known."""
    if event == "gone" or package.state in (states.DRAFT, states.REJECTED):
        return  # what cannot be published is not worth the reading
    if event == "changed" and known(package):
        return
    services.request_inspection(package)


def known(package: Package) -> bool:
    """Return whether the present reader has read these bytes."""
    return Contents.objects.filter(package=package, sha256=package.sha256, reader=reading.VERSION).exists()
