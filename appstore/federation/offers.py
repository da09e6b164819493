"""What is offered to whom: packages as releases of a feed, and partners as members of an audience."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

from appstore.federation import feed, ports, terms
from appstore.federation.feed import Release, tidy
from appstore.federation.models import Peer, ReleaseGrant, RemoteRelease
from appstore.federation.models_feed import FeedOffer, PeerPolicy
from appstore.packages.models import Package

#: What our package check says of a signature, in the words that agreements use; trust lists may say more by a port.
_SIGNATURE: Final = {"valid": "unknown", "absent": "unsigned", "invalid": "broken"}
_LONGEST_VIA = 16
#: So many packages are described by one round of queries.
_BATCH: Final = 500


def effective(peer: Peer) -> dict[str, Any] | None:
    """Return the filter that decides what the peer is offered, as JSON; None when it is offered nothing.

    Peers with equal filters share a feed. What only one of them may have makes its filter its own: releases that were
    granted to it, and its own releases that it shall not be offered back.
    """
    agreement = peer.agreement()
    offer = agreement.read().out if agreement else None
    if offer is None:
        return None
    said: dict[str, Any] = {"offer": asdict(offer)}
    # How much a partner takes a day is counted for each, and says nothing about what there is.
    kept = ("apps", "package_bytes")
    said["offer"]["limits"] = {name: value for name, value in said["offer"]["limits"].items() if name in kept}
    if ReleaseGrant.objects.filter(peer=peer).exists():
        said["peer"] = str(peer.pk)
    if PeerPolicy.objects.filter(peer=peer, republish=True).exists():
        said["without"] = peer.store_id
    return json.loads(feed.packed_json(said))  # type: ignore[no-any-return]


class Offers:
    """Decides for many packages what is said of them to an audience; each package is described once."""

    def __init__(self) -> None:
        self._described: dict[UUID, Release | None] = {}
        self._republished = set(PeerPolicy.objects.filter(republish=True).values_list("peer__store_id", flat=True))

    def said(
        self, effective: Mapping[str, Any], packages: Iterable[Package], present: Mapping[str, Release]
    ) -> dict[str, Release | None]:
        """Return by reference what the feed says of each package now; None for what it says nothing of.

        A release that was offered and is withdrawn or recalled stays, and says so; one that is only no longer for this
        audience goes.
        """
        packages = list(packages)
        granted = self._granted(effective, packages)
        self._describe([package for package in packages if self._is_told(package, package.pk in granted)])
        agreed = _terms(effective)
        most = int(effective["offer"]["limits"]["apps"])
        found: dict[str, Release | None] = {}
        count = len(present)
        for package in packages:
            ref = str(package.pk)
            found[ref] = self._one(package, effective, agreed, package.pk in granted, ref in present)
            if found[ref] is not None and ref not in present:
                count += 1
                if count > most:
                    found[ref] = None
        return found

    def _one(
        self, package: Package, effective: Mapping[str, Any], agreed: terms.Terms, granted: bool, present: bool
    ) -> Release | None:
        release = self._described[package.pk] if self._is_told(package, granted) else None
        if release is None or effective.get("without") in release.get("via", ()):
            return None
        if package.state in feed.OFFERED:
            passes, _ = terms.allows(agreed, terms.OUT, release)
            return release if passes else None
        return release if present else None

    def _is_told(self, package: Package, granted: bool) -> bool:
        """Whether a feed may speak of the package at all, as far as the package itself tells."""
        if package.published_at is None or package.state not in feed.STATES:
            return False
        if package.visibility == "organisation" or (package.visibility == "partners" and not granted):
            return False
        return not package.origin or package.origin in self._republished

    def _describe(self, packages: list[Package]) -> None:
        fresh = [package for package in packages if package.pk not in self._described]
        for start in range(0, len(fresh), _BATCH):
            self._described |= _releases_of(fresh[start : start + _BATCH])

    @staticmethod
    def _granted(effective: Mapping[str, Any], packages: list[Package]) -> set[UUID]:
        if "peer" not in effective:
            return set()
        some = [package.pk for package in packages if package.visibility == "partners"]
        grants = ReleaseGrant.objects.filter(peer=effective["peer"], package__in=some)
        return set(grants.values_list("package_id", flat=True))


def _terms(effective: Mapping[str, Any]) -> terms.Terms:
    """Return an agreement that says of our offer what the filter says."""
    said = dict(effective["offer"])
    limits = terms.Limits(**said.pop("limits"))
    lists: Any = {name: tuple(said.pop(name)) for name in ("categories", "licences", "providers")}
    offer = terms.Offer(**lists, **said, limits=limits)
    return terms.Terms(version=1, us="", them="", out=offer, incoming=None, expires=None)


def _releases_of(packages: list[Package]) -> dict[UUID, Release | None]:
    """Return what a feed says of each package; the same few queries for one and for hundreds."""
    more, papers, before = ports.described(packages), _certificates_of(packages), _vias_of(packages)
    return {
        package.pk: _release_of(package, more[package.pk], papers[package.pk], before.get(package.pk, []))
        for package in packages
    }


def _release_of(
    package: Package, more: Mapping[str, Any], papers: list[tuple[str, bytes]], via: list[str]
) -> Release | None:
    """Return what a feed says of a package; None when there is no saying it in a feed (a name of blanks only)."""
    said: dict[str, Any] = {
        "name": tidy(package.name, 128),
        "provider": tidy(package.provider, 128),
        "version": tidy(package.version, 64),
        "state": package.state,
        "sha256": package.sha256,
        "size": package.size,
        "published": package.published_at.isoformat(timespec="seconds") if package.published_at else "",
        "owner": package.organisation.slug,
        "format": tidy(package.format, 40),
        "description": tidy(package.description, 2000),
        "architectures": _words([str((package.compute or {}).get("architecture") or "")], 16, 40),
        "services": _services(package.descriptor),
        "signature": _SIGNATURE.get(str(package.signature.get("state", "absent")), "unsigned"),
        "reason": tidy(package.state_reason, 500),
        "via": via,
    }
    for name, most, longest in (
        ("keywords", 40, 60),
        ("architectures", 16, 40),
        ("services", 64, 80),
        ("licences", 40, 120),
    ):
        if more.get(name):
            said[name] = _words(more[name], most, longest)
    for name, longest in (("category", 80), ("certification", 40), ("signature", 10), ("reason", 500)):
        if more.get(name):
            said[name] = tidy(str(more[name]), longest)
    said["certificates"] = [digest for digest, _ in papers]
    try:
        return feed.checked_release(
            str(package.pk), {name: value for name, value in said.items() if value not in ("", [])}
        )
    except feed.Refused:
        return None


def certificates(package: Package) -> list[tuple[str, bytes]]:
    """Return the certificates that go with a package as bytes, with their digests."""
    return _certificates_of([package])[package.pk]


def _certificates_of(packages: list[Package]) -> dict[UUID, list[tuple[str, bytes]]]:
    told = [gives(packages) for _, gives in ports.evidence]
    found: dict[UUID, list[tuple[str, bytes]]] = {}
    for package in packages:
        envelopes = [feed.packed_json(envelope) for each in told for envelope in each.get(package.pk, ())]
        found[package.pk] = [(feed.digest(data), data) for data in envelopes[:8]]
    return found


def _vias_of(packages: list[Package]) -> dict[UUID, list[str]]:
    """Return the stores through which packages came, the first one first; our own are left out."""
    foreign = {package.pk: package.origin for package in packages if package.origin}
    offered = RemoteRelease.objects.filter(package__in=foreign).values_list("package_id", "peer__store_id", "metadata")
    before = {pk: said.get("via", []) for pk, store, said in offered if store == foreign[pk]} if foreign else {}
    return {pk: [*before.get(pk, []), origin][-_LONGEST_VIA:] for pk, origin in foreign.items()}


def _services(descriptor: Mapping[str, Any]) -> list[str]:
    named = [
        str(each.get("serName", ""))
        for member in ("appServiceRequired", "appServiceOptional", "appServiceProduced")
        for each in descriptor.get(member) or ()
        if isinstance(each, Mapping)
    ]
    return _words(named, 64, 80)


def _words(values: Iterable[Any], most: int, longest: int) -> list[str]:
    return sorted({word for word in (tidy(str(value), longest) for value in values) if word})[:most]


def candidates() -> QuerySet[Package]:
    """Packages of which a feed might speak."""
    told = Package.objects.filter(published_at__isnull=False).exclude(visibility="organisation")
    republished = PeerPolicy.objects.filter(republish=True).values("peer__store_id")
    return (
        told.filter(Q(origin="") | Q(origin__in=republished))
        .select_related("organisation")
        .order_by("published_at", "pk")
    )


def may_have(peer: Peer, *, sha256: str = "", ref: str = "") -> Package | None:
    """Return a package that is offered to the peer now, by its digest or its reference; None when there is none.

    Nothing is handed out but what the feed of the peer's audience says, and nothing that was taken back since.
    """
    said = FeedOffer.objects.filter(audience__partners__peer=peer, listed=True)
    said = said.filter(sha256=sha256) if sha256 else said.filter(package=ref)
    # What was taken back (a grant, the passing on) counts at once, not when the next feed is made.
    meant = Q(visibility="public") | Q(visibility="partners", grants__peer=peer)
    return candidates().filter(meant, pk__in=said.values("package"), state__in=feed.OFFERED).first()
