"""When the inside of a package is known, its manifests are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appstore.oci import services

if TYPE_CHECKING:
    from appstore.contents.models import Contents


def follow(contents: Contents) -> None:
    """Make the manifests of the package anew."""
    services.prepare(contents)
