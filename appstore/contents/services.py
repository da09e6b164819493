"""Verbs of contents: ask for an inspection, write down what it found, compare a release with the one before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from appstore.contents import comparing, followers, reading, sbom
from appstore.contents.comparing import Difference
from appstore.contents.facts import Facts
from appstore.contents.models import Contents
from appstore.contents.reading import Carried, Inside, Source
from appstore.packages import blobs, states
from appstore.packages.models import Blob, Package
from appstore.packages.services import storable, target_of
from core.accounts.access import Actor
from core.archives import Limits
from core.operations import services as operations
from core.operations.models import Operation

INSPECT = "contents.inspect"
_NUMBER = re.compile(r"^v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?\Z")


def request_inspection(package: Package, *, actor: Actor | None = None) -> Operation:
    """Ask a worker to look into the package."""
    return operations.request(
        INSPECT, target_of(package), organisation=package.organisation_id, actor=actor, package=str(package.pk)
    )


def inspect(package: Package, tell: reading.Tell = lambda percent, note: None) -> Contents | None:
    """Read the package and write down what is inside; None when it is gone meanwhile. Twice is once."""
    limits = Limits(total_bytes=settings.MAX_UNPACKED_BYTES, member_bytes=settings.MAX_UNPACKED_BYTES)
    return record(package, reading.read(source_of(package), limits, tell))


def source_of(package: Package) -> Source:
    """Return what is read of a package."""
    carried = tuple(
        Carried(str(row.get("name", "")), blobs.path_of(row["sha256"]), row["sha256"], int(row.get("size") or 0))
        for row in package.images
    )
    return Source(
        path=blobs.path_of(package.sha256),
        sha256=package.sha256,
        name=package.name,
        provider=package.provider,
        version=package.version,
        chart=blobs.path_of(package.chart_sha256) if package.chart_sha256 else None,
        chart_sha256=package.chart_sha256,
        images=carried,
        descriptor=package.descriptor,
        signature=package.signature,
    )


def record(package: Package, found: Inside) -> Contents | None:
    """Write down what is inside, with its bill of materials and its pictures as files of the store."""
    found.facts = Facts.of(storable(found.facts.as_dict()))
    about = sbom.About(package.name, package.provider, package.version, package.sha256, package.created_at)
    digest, size = blobs.store([sbom.bill(about, found.facts, storable(found.files))])
    kept = {digest: size}
    pictures: list[dict[str, Any]] = []
    for picture in found.pictures:
        picture_digest, picture_size = blobs.store([picture.content])
        kept[picture_digest] = picture_size
        told = {n: getattr(picture, n) for n in ("kind", "source", "name", "content_type", "width", "height", "title")}
        pictures.append({**told, "sha256": picture_digest, "size": picture_size})
    return _write(package, found, digest, kept, storable(pictures))


@transaction.atomic
def _write(
    package: Package, found: Inside, bill: str, kept: Mapping[str, int], pictures: list[dict[str, Any]]
) -> Contents | None:
    present = Package.objects.select_for_update().filter(pk=package.pk, sha256=package.sha256).first()
    if present is None:
        return None
    before = Contents.objects.filter(package=present).first()
    Blob.objects.bulk_create([Blob(sha256=d, size=s) for d, s in kept.items()], ignore_conflicts=True)
    present.blobs.add(*Blob.objects.filter(pk__in=kept))
    if before is not None:
        content = {present.sha256, present.chart_sha256, *(str(i.get("sha256")) for i in present.images)}
        stale = {before.sbom_sha256, *(str(p.get("sha256")) for p in before.pictures)} - set(kept) - content
        present.blobs.remove(*Blob.objects.filter(pk__in=stale))
    contents, _ = Contents.objects.update_or_create(
        package=present,
        defaults={
            "sha256": present.sha256,
            "reader": reading.VERSION,
            "facts": found.facts.as_dict(),
            "readme": storable(found.readme),
            "readme_plain": found.plain,
            "values_schema": storable(found.schema),
            "pictures": pictures,
            "sbom_sha256": bill,
            "sbom_size": kept[bill],
        },
    )
    followers.tell(contents)
    return contents


def of(package: Package) -> Contents | None:
    """Return what is inside a package, when a worker has looked already."""
    return Contents.objects.filter(package=package).first()


def facts_of(package: Package) -> Facts | None:
    """Return the facts of a package, when they are known."""
    contents = of(package)
    return contents.read() if contents else None


def previous_of(package: Package, *, actor: Actor | None = None) -> Package | None:
    """Return the release before this one: of the same application, the nearest lower version, else the latest.

    With `actor` only among those that the actor may see.
    """
    if not package.name:
        return None
    others = Package.objects.filter(
        organisation=package.organisation_id, origin=package.origin, provider=package.provider, name=package.name,
        state__in=states.FINAL,
    ).exclude(pk=package.pk)  # fmt: skip
    if actor is not None:
        others = others & Package.objects.visible_to(actor)
    if package.published_at:
        others = others.filter(published_at__lt=package.published_at)
    rows = list(others.order_by("-published_at").values_list("pk", "version")[:500])
    chosen = before(package.version, rows)
    return Package.objects.filter(pk=chosen).first() if chosen else None


def before(version: str, others: Iterable[tuple[Any, str]]) -> Any:
    """Return the key of the release before `version`: the nearest lower one, else the first, which is the latest."""
    rows = list(others)
    mine = version_key(version)
    lower = [(key, pk) for pk, other in rows if mine and (key := version_key(other)) and key < mine]
    if lower:
        return max(lower, key=lambda row: row[0])[1]
    return rows[0][0] if rows else None


def version_key(version: str) -> tuple[Any, ...]:
    """Return what versions are sorted by (Semantic Versioning 2, clause 11); empty when it is no such version."""
    at = _NUMBER.match(version.strip())
    if at is None:
        return ()
    numbers = tuple(int(each or 0) for each in at.groups()[:4])
    labels = tuple((0, int(p), "") if p.isdecimal() and len(p) < 10 else (1, 0, p) for p in (at[5] or "").split("."))
    # Without a label it comes after all that have one.
    return (*numbers, 0 if at[5] else 1, labels)


def difference(package: Package, *, actor: Actor | None = None) -> Difference | None:
    """Return what differs from the release before; None for a first release, or when one of the two is not read yet."""
    earlier = previous_of(package, actor=actor)
    if earlier is None:
        return None
    rows = {row.package_id: row for row in Contents.objects.filter(package__in=[package.pk, earlier.pk])}
    if len(rows) < 2:
        return None
    found = comparing.compare(rows[earlier.pk].read(), rows[package.pk].read())
    found.previous = earlier.version
    return found
