"""What this topic says before a deed on a package: nothing recalled comes back, nothing frozen changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from appstore.packages.gates import Deed
from appstore.packages.models import Package
from appstore.releases import reviewing, services
from core.errors import Conflict


def gate(deed: Deed, package: Package, organisation_id: UUID) -> None:
    """Pass, or raise `Conflict` with the reason and what would help."""
    if deed == "amend":
        until = open_until(package)
        if until is not None and timezone.now() >= until:
            raise Conflict(
                f"{package} was published on {package.published_at:%Y-%m-%d} and is frozen since {until:%Y-%m-%d}; "
                "publish a new version instead.",
                frozen_at=until.isoformat(),
            )
        return
    if held := services.recall_of(package):
        raise Conflict(f"These very bytes are recalled: {held.reason} {held.advice}".strip(), recall=held.id)


def open_until(package: Package) -> datetime | None:
    """Return until when notes and pictures of a release may be changed; None before its publication."""
    if package.published_at is None:
        return None
    return package.published_at + timedelta(days=reviewing.policy().freeze_days)
