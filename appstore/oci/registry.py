"""Which charts somebody sees under which name: the one place where the registry face decides who may pull.

A repository is `<organisation>/<name>`, or `<organisation>/<provider>/<name>`, which always works: the short form means
nothing as soon as two providers of an organisation use one name. What was fetched from another store is
`<organisation>/from-<first 12 of the store's id>/<provider>/<name>`, so that nobody's name covers an own one. More of the
id may be written, and has to be where two stores have the beginning in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models import QuerySet

from appstore.oci.models import Artifact
from appstore.packages.models import Package
from core.accounts.access import Actor

_ORIGIN = re.compile(r"from-([0-9a-f]{12,64})\Z")
#: What is read of each artifact of a repository: its configuration and most of a package may be megabytes each.
_READ = (
    *("kind", "name", "provider", "chart_tag", "release_tag", "digest", "body", "config_digest", "layer_digest"),
    *("layer_size", "package__origin", "package__published_at"),
)


@dataclass(slots=True)
class Repository:
    """One repository as one asker sees it: its charts and bills, and the chart of each tag."""

    name: str
    charts: list[Artifact] = field(default_factory=list)
    bills: list[Artifact] = field(default_factory=list)
    #: Longer names that the asker may have meant, when the short one means nothing.
    meant: list[str] = field(default_factory=list)

    @property
    def tags(self) -> dict[str, Artifact]:
        """The chart of each tag. A chart's own version wins over the version of a release, a later release over an earlier."""
        found = {chart.release_tag: chart for chart in self.charts if chart.release_tag}
        return found | {chart.chart_tag: chart for chart in self.charts}

    def manifest(self, reference: str) -> Artifact | None:
        """Return the artifact that a tag or a digest (`sha256:…`) names."""
        if reference.startswith("sha256:"):
            wanted = reference.removeprefix("sha256:")
            return next((each for each in (*self.charts, *self.bills) if each.digest == wanted), None)
        return self.tags.get(reference)


def pullable(actor: Actor) -> QuerySet[Package]:
    """Return the releases that somebody may pull: listed ones, public ones only for people who did not sign in."""
    listed = Package.objects.listed()
    if actor.authenticated:
        return listed.visible_to(actor)
    if settings.OCI_ANONYMOUS:
        return listed.filter(visibility=Package.Visibility.PUBLIC, origin="")
    return listed.none()


def repository(name: str, actor: Actor) -> Repository | None:
    """Return the repository as the actor sees it; None when there is nothing in it for them."""
    steps = name.split("/")
    if not 2 <= len(steps) <= 4 or "\x00" in name:
        return None
    organisation, *middle, last = steps
    packages = pullable(actor).filter(organisation__slug=organisation, artifacts__name=last, artifacts__kind="chart")
    if middle and (origin := _ORIGIN.match(middle[0])):
        packages, middle = packages.filter(origin__startswith=origin[1]), middle[1:]
    else:
        packages = packages.filter(origin="")
    if len(middle) > 1 or (len(steps) == 4 and not middle):
        return None
    if middle:
        packages = packages.filter(artifacts__provider=middle[0])
    found = Repository(name)
    rows = Artifact.objects.filter(package__in=packages).select_related("package").only(*_READ)
    for row in sorted(rows, key=lambda row: (row.package.published_at, str(row.package_id))):  # type: ignore[arg-type, return-value]
        (found.charts if row.kind == Artifact.Kind.CHART else found.bills).append(row)
    if not found.charts:
        return None
    origins = sorted({chart.package.origin for chart in found.charts})
    if len(origins) > 1:
        rest = "/".join(steps[2:])
        return Repository(name, meant=[f"{organisation}/from-{store}/{rest}" for store in origins])
    providers = sorted({chart.provider for chart in found.charts})
    if not middle and len(providers) > 1:
        prefix = "/".join(steps[:-1])
        return Repository(name, meant=[f"{prefix}/{provider}/{last}" for provider in providers])
    return found


def name_of(package: Package, artifact: Artifact) -> str:
    """Return the name that always works for a package of this store."""
    store = f"from-{package.origin[:12]}/" if package.origin else ""
    return f"{package.organisation.slug}/{store}{artifact.provider}/{artifact.name}"


def page(tags: Iterable[str], *, last: str, limit: int) -> tuple[list[str], bool]:
    """Return up to `limit` tags after `last` in lexical order, and whether there are more."""
    rest = [tag for tag in sorted(tags) if tag > last] if last else sorted(tags)
    return rest[:limit], len(rest) > limit
