"""Our own packages become entries of the catalogue, with what the topics beside and below this one know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import util
from typing import Any, Protocol

from django.db import transaction

from appstore.catalog import listing, services
from appstore.catalog.entries import Entry
from appstore.catalog.models import Release
from appstore.packages import states
from appstore.packages.followers import Event
from appstore.packages.models import Package
from core.registry import Registry


class Enrich(Protocol):
    """Tells of packages what it knows: `{package_id: {member of Entry: value}}`; a bounded number of queries."""

    def __call__(self, packages: list[Package]) -> Mapping[Any, Mapping[str, Any]]:
        """Return the members of `Entry` that this topic knows for these packages."""


_BUILT_IN = {
    "contents": "appstore.contents.cataloguing:enrich",
    "certification": "appstore.certification.cataloguing:enrich",
    "trust": "appstore.trust.cataloguing:enrich",
}
#: A topic that is not installed says nothing.
enrichers: Registry[Enrich] = Registry(
    "catalogue-enrichers",
    {name: target for name, target in _BUILT_IN.items() if util.find_spec(target.partition(":")[0]) is not None},
)
_MEMBERS = frozenset(Entry.__dataclass_fields__) - {
    "key",
    "app_key",
    "state",
    "visibility",
    "organisation_id",
    "package_id",
}
#: What releases were before they could be seen is nobody's business here.
_TOLD = states.FINAL


def key_of(package: Package) -> str:
    """Return the key of a package in the index."""
    return f"package:{package.pk}"


def follow(event: Event, package: Package) -> None:
    """Keep the index and those who follow an application up to date; a follower of `appstore.packages`."""
    if event == "gone":
        services.drop([key_of(package)])
    elif package.state in {*_TOLD, *states.LISTED} or Release.objects.filter(key=key_of(package)).exists():
        services.put(entries_of([package]))


def refresh(package_ids: Iterable[Any]) -> int:
    """Put these packages anew, as far as the index holds them; return how many."""
    ids = list(package_ids)
    known = Release.objects.filter(package_id__in=ids, key__startswith="package:").values_list("package_id", flat=True)
    rows = list(Package.objects.filter(pk__in=list(known)).select_related("organisation"))
    return services.put(entries_of(rows)) if rows else 0


def rebuild(tell: Callable[[int, int], None], size: int = 500) -> int:
    """Put every release of this store, and drop what is no longer one; return how many were put."""
    rows = Package.objects.filter(state__in={*_TOLD, *states.LISTED}).select_related("organisation").order_by("pk")
    total, done, last = rows.count(), 0, None
    while batch := list((rows.filter(pk__gt=last) if last else rows)[:size]):
        done += services.put(entries_of(batch), quiet=True)
        last = batch[-1].pk
        tell(done, max(total, done))
    with transaction.atomic():
        present = {f"package:{pk}" for pk in rows.values_list("pk", flat=True)}
        held = Release.objects.filter(key__startswith="package:").values_list("key", flat=True)
        services.drop([key for key in held if key not in present])
    return done


def entries_of(packages: Sequence[Package]) -> list[Entry]:
    """Return what the catalogue is to know of these packages; each enricher is asked once for all of them."""
    rows = list(packages)
    told: list[Mapping[Any, Mapping[str, Any]]] = [enrich(rows) for _, enrich in enrichers]
    offered = _offered(rows)
    return [
        _entry(
            package, [each.get(package.pk, {}) for each in told], offered.get(f"{package.origin}:{package.origin_ref}")
        )
        for package in rows
    ]


def _offered(packages: Iterable[Package]) -> dict[str, tuple[str, str]]:
    """Return the application key and the name of the store of those packages that a partner offers, by store and id there."""
    keys = [f"remote:{row.origin}:{row.origin_ref}" for row in packages if row.origin]
    if not keys:
        return {}
    rows = Release.objects.filter(key__in=keys).values_list("key", "app__key", "data__origin_name")
    return {key.removeprefix("remote:"): (app_key, name or "") for key, app_key, name in rows}


def _entry(package: Package, told: Iterable[Mapping[str, Any]], offer: tuple[str, str] | None) -> Entry:
    appd = package.descriptor if isinstance(package.descriptor, dict) else {}
    compute: Any = appd.get("compute")
    compute = compute if isinstance(compute, dict) else {}
    members: dict[str, Any] = {
        "name": package.name,
        "provider": package.provider,
        "version": package.version,
        "published_at": package.published_at,
        "origin": package.origin,
        "origin_ref": package.origin_ref,
        "description": package.description,
        "architectures": tuple(filter(None, [listing.architecture(str(compute.get("architecture") or ""))])),
        "services": tuple(dict.fromkeys(_services(appd))),
        "sha256": package.sha256,
        "size": package.size,
        "signature": "unknown" if (package.signature or {}).get("state") == "valid" else "unsigned",
        "facts": {
            "compute": package.compute,
            "format": package.format,
            "offers": [row["serName"] for row in _rows(appd, "appServiceProduced")],
        },
    }
    if (package.signature or {}).get("state") == "invalid":
        members["signature"] = "broken"
    for each in told:
        facts = {**members["facts"], **(each.get("facts") or {})}
        members |= {name: value for name, value in each.items() if name in _MEMBERS and value not in (None, "")}
        members["facts"] = facts
    app_key = f"{package.origin}/{package.organisation.slug}/{package.provider}/{package.name}"
    if offer is not None:
        # The copy of a partner's release belongs to the partner's application.
        app_key, members["origin_name"] = offer
    return Entry(
        key=key_of(package),
        app_key=app_key,
        state=package.state,
        visibility=package.visibility,
        organisation_id=package.organisation_id,
        package_id=package.pk,
        **members,
    )


def _services(appd: Mapping[str, Any]) -> Iterator[str]:
    for member in ("appServiceRequired", "appServiceOptional", "appServiceProduced"):
        for row in _rows(appd, member):
            yield row["serName"]


def _rows(appd: Mapping[str, Any], member: str) -> list[dict[str, Any]]:
    rows = appd.get(member)
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("serName"), str) and row["serName"]]
