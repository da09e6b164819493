"""What this topic says before a deed on a package: nothing recalled comes back, nothing frozen changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from appstore.packages.gates import Deed
from appstore.packages.models import Package
from appstore.releases import reviewing, services
from core.errors import Conflict
from core.words import say


def gate(deed: Deed, package: Package, organisation_id: UUID) -> None:
    """Pass, or raise `Conflict` with the reason and what would help."""
    if deed == "amend":
        until = open_until(package)
        if until is not None and timezone.now() >= until:
            raise Conflict(
                say(
                    "{package} was published on {published_at} and is frozen since {until}; publish a "
                    "new version instead.",
                    package=package,
                    published_at=format(package.published_at, "%Y-%m-%d"),
                    until=format(until, "%Y-%m-%d"),
                ),
                frozen_at=until.isoformat(),
            )
        return
    if held := services.recall_of(package):
        raise Conflict(
            say("These very bytes are recalled: {reason} {advice}", reason=held.reason, advice=held.advice).strip(),
            recall=held.id,
        )


def open_until(package: Package) -> datetime | None:
    """Return until when notes and pictures of a release may be changed; None before its publication."""
    if package.published_at is None:
        return None
    return package.published_at + timedelta(days=reviewing.policy().freeze_days)
