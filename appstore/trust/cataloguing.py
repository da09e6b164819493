"""What the catalogue is told of signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appstore.packages.models import Package
from appstore.trust import services
from core.accounts.services import operator


def enrich(packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
    """Return `{package id: {"signature": state}}` as the trust list of the store has it."""
    if not packages:
        return {}
    return {pk: {"signature": str(found.state)} for pk, found in services.standings(packages, operator()).items()}
