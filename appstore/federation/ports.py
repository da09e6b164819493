"""What federation asks of rooms that it only knows by name, and what it does without them.

Each port is a registry of the names at which the room is looked for when it is needed. A room that is not there answers
nothing; a room that is there and fails, fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from appstore.catalog.entries import Entry
from core.errors import Missing
from core.registry import Registry

if TYPE_CHECKING:
    from appstore.packages.models import Package


class Describe(Protocol):
    """Says more of packages than they know themselves; a bounded number of queries, however many they are."""

    def __call__(self, packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
        """Return by id members of a feed release: `category`, `keywords`, `licences`, `certification`, `signature` ..."""


class Evidence(Protocol):
    """Gives the certificates of packages as signed envelopes; a bounded number of queries, however many they are."""

    def __call__(self, packages: list[Package]) -> Mapping[Any, list[Mapping[str, Any]]]:
        """Return DSSE envelopes by the id of the package, the best first; one without any is left out."""


class Accept(Protocol):
    """Judges a partner's certificate by the labs that we trust, and keeps it when it is good."""

    def __call__(self, package: Package, envelope: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
        """Return `level` and `lab`, or raise `Invalid` with the reason why it counts for nothing."""


class Foreign(Protocol):
    """Does to our copy of a partner's release what the partner did to the original."""

    def __call__(self, package: Package, state: str, reason: str) -> None:
        """Yank, quarantine, recall or restore the copy."""


class RecallList(Protocol):
    """Gives the signed recall list of this store."""

    def __call__(self) -> Mapping[str, Any] | None:
        """Return the present list as a DSSE envelope; None while nothing was ever recalled."""


class Recalls(Protocol):
    """Takes over the signed recall list of a partner (`appstore.releases.services.apply_foreign`)."""

    def __call__(self, envelope: Mapping[str, Any], peer: Any) -> Any:
        """Verify and apply it; the same list again changes nothing. `Invalid` or `Conflict` say what is wrong."""


class RevocationLists(Protocol):
    """Gives the lists of revoked certificates of labs that this store knows."""

    def __call__(self) -> list[Mapping[str, Any]]:
        """Return them as DSSE envelopes, each signed by its lab."""


class TakeRevocations(Protocol):
    """Takes over lists of revoked certificates; only who signed them matters, not who hands them on."""

    def __call__(self, envelopes: list[Mapping[str, Any]], source: str) -> int:
        """Return how many were good. One that is refused keeps what is held, and is no error."""


class Catalogue(Protocol):
    """Shows releases of partners beside our own."""

    def put(self, entries: Iterable[Entry]) -> Any:
        """Show or show anew."""

    def drop(self, keys: Iterable[str]) -> Any:
        """Show no more."""


describers: Registry[Describe] = Registry("federation-describers", {"rooms": "appstore.federation.rooms:describe"})
evidence: Registry[Evidence] = Registry(
    "federation-evidence", {"certification": "appstore.certification.federating:evidence"}
)
judges: Registry[Accept] = Registry("federation-judges", {"certification": "appstore.certification.federating:accept"})
foreign: Registry[Foreign] = Registry("federation-foreign", {"rooms": "appstore.federation.rooms:follow"})
recall_lists: Registry[RecallList] = Registry(
    "federation-recall-lists", {"releases": "appstore.releases.services:recall_list"}
)
recalls: Registry[Recalls] = Registry("federation-recalls", {"releases": "appstore.releases.services:apply_foreign"})
revocation_lists: Registry[RevocationLists] = Registry(
    "federation-revocation-lists", {"certification": "appstore.certification.federating:revocation_lists"}
)
revocations: Registry[TakeRevocations] = Registry(
    "federation-revocations", {"certification": "appstore.certification.federating:take_revocations"}
)
catalogues: Registry[Any] = Registry("federation-catalogues", {"rooms": "appstore.federation.rooms:Catalogue"})


def described(packages: list[Package]) -> dict[Any, dict[str, Any]]:
    """Return what all describers say of each of the packages, by id."""
    said: dict[Any, dict[str, Any]] = {package.pk: {} for package in packages}
    for _, describe in describers:
        for pk, members in describe(packages).items():
            said[pk] |= members
    return said


def first(registry: Registry[Any]) -> Any | None:
    """Return the plugin of a port that has one at most; None without it."""
    names = registry.names()
    if not names:
        return None
    try:
        return registry.get(names[0])
    except Missing:
        return None
