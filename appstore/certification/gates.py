"""No publishing, deploying or importing below the level that a profile demands; see `appstore.packages.gates`."""

from __future__ import annotations

from uuid import UUID

from appstore.certification import profiles
from appstore.certification.models import Certificate
from appstore.packages.gates import Deed
from appstore.packages.models import Package
from core.errors import Conflict
from core.words import say

_WORDS = {"publish": "published", "deploy": "deployed", "import": "imported"}


def gate(deed: Deed, package: Package, organisation_id: UUID) -> None:
    """Pass when the package has a valid certificate of the level that is needed; else `Conflict` says which."""
    if deed not in _WORDS:
        return  # a deed that no level is about
    needed = profiles.needed(deed, organisation_id)
    if not needed:
        return
    have: set[str] = set()
    for levels in Certificate.objects.valid().filter(sha256=package.sha256).values_list("levels", flat=True):
        have |= set(levels)
    for level, who in needed:
        if level not in have:
            by = "your organisation" if who == "own" else "the operator of this store"
            raise Conflict(
                say(
                    "It can only be {deed} with a valid certificate of the level {level}, as {by} "
                    "demands. Certify it first.",
                    deed=_WORDS[deed],
                    level=level,
                    by=by,
                ),
                level=level,
            )
