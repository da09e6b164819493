"""The rooms below this one, as federation asks them: what a release is worth, and what becomes of our copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction

from appstore.catalog import following as cataloguing
from appstore.catalog import services as catalog
from appstore.catalog.entries import Entry
from appstore.packages import services as packages
from appstore.packages import states
from appstore.packages.models import Package
from core.accounts.access import SYSTEM


def describe(packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
    """Return what the catalogue shows of packages beside their descriptors: category, licences, level, signature ..."""
    return {
        entry.package_id: {
            "category": entry.category,
            "keywords": list(entry.keywords),
            "architectures": list(entry.architectures),
            "licences": list(entry.licences),
            "certification": entry.certification,
            "signature": entry.signature,
        }
        for entry in cataloguing.entries_of(packages)
    }


@transaction.atomic
def follow(package: Package, state: str, reason: str) -> None:
    """Do to our copy what the partner did to the original; what we decided ourselves is not undone by it."""
    package = packages.locked(package)
    last = package.events.first()
    by_partner = last is not None and "partner" in last.facts
    wanted = states.YANKED if state == "withdrawn" else state
    while deed := next_deed(package.state, wanted, by_partner=by_partner):
        facts = {"partner": package.origin}
        packages.turn(package, deed, actor=SYSTEM, reason=str(packages.storable(reason))[:500], facts=facts)


def next_deed(state: str, wanted: str, *, by_partner: bool) -> str:
    """Return the next deed that brings a copy from `state` towards what its original is; empty when there is none.

    `by_partner` says that the present state came from there, so that it may also be taken back from there. A recall
    comes and goes with the signed list; until that is here, the copy is held.
    """
    if state in (wanted, states.RECALLED) or state not in states.FINAL or wanted not in states.FINAL:
        return ""
    if wanted in (states.QUARANTINED, states.RECALLED):
        return "quarantine" if state in states.KEPT else ""
    if state == states.PUBLISHED or (state == states.DEPRECATED and wanted == states.YANKED):
        return {states.YANKED: "yank", states.DEPRECATED: "deprecate"}[wanted]
    back = {states.QUARANTINED: "unquarantine", states.YANKED: "unyank", states.DEPRECATED: "undeprecate"}[state]
    return back if by_partner else ""


class Catalogue:
    """Shows releases of partners beside our own."""

    @staticmethod
    def put(entries: Iterable[Entry]) -> None:
        """Show these, or show them anew."""
        catalog.put(entries)

    @staticmethod
    def drop(keys: Iterable[str]) -> None:
        """Show these no more."""
        catalog.drop(keys)
