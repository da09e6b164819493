"""What the catalogue is told of signatures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone

from appstore.packages.models import Package
from core.accounts.models import Organisation
from core.accounts.services import operator
from core.errors import Missing
from core.operations import services as operations

#: The work of the catalogue, which stands above this topic and is known by name only.
REBUILD = "catalog.rebuild"


def enrich(packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
    """Return `{package id: {"signature": state}}` as the trust list of the store has it."""
    from appstore.trust import services  # it tells of its changes by this module

    if not packages:
        return {}
    return {pk: {"signature": str(found.state)} for pk, found in services.standings_in_store(packages).items()}


def changed(organisation: Organisation, *, again: datetime | None = None) -> None:
    """Have the signatures in the catalogue judged anew, when that list is the one of the store; once more at `again`."""
    try:
        if operator().pk != organisation.pk:
            return
    except Missing:
        return
    operations.request(REBUILD, "catalogue", organisation=organisation)
    if again is not None and again > timezone.now():
        operations.request(REBUILD, f"catalogue:{again:%Y%m%d%H%M}", organisation=organisation, run_after=again)
