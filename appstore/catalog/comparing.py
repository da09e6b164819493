"""Two releases side by side: what each says, row by row, and where they differ.

What the catalogue tells everybody comes from the index. What stands in a package is told to those who may see the
package; for others those rows are left out, not guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appstore.catalog import apps_of
from appstore.catalog.models import App, Release
from appstore.certification.models import CheckResult
from appstore.contents.facts import Facts
from appstore.contents.models import Contents
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.errors import Missing
from core.words import say

_WEAKNESSES = "known-vulnerabilities"
_SEVERITIES = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a release says; `note` grades it, such as the severity of a permission."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One question to both releases. `kind` says how an answer is to be written: a word, a number, lines of text."""

    group: str
    name: str
    left: Any
    right: Any
    kind: str = "text"

    @property
    def differs(self) -> bool:
        """Whether the answers are not the same; the order of lines does not count."""
        if isinstance(self.left, tuple) and isinstance(self.right, tuple):
            return set(self.left) != set(self.right)
        return bool(self.left != self.right)


@dataclass(slots=True)
class Side:
    """One release with all that the actor may know of it."""

    app: App
    release: Release
    #: Every release of the application that the actor may see.
    releases: list[Release]
    package: Package | None = None
    contents: Contents | None = None
    facts: Facts = field(default_factory=Facts)
    #: Findings of the last search for known weaknesses; None where nobody searched, or it is not for the actor.
    weaknesses: int | None = None


def sides(actor: Actor, *wanted: tuple[int, str]) -> list[Side]:
    """Return the releases named by (application, version), an empty version being the newest.

    `Missing` when the actor may not see one of them. A fixed number of queries for two.
    """
    found = [_side(actor, pk, version) for pk, version in wanted]
    if actor.authenticated:
        _look_inside(actor, found)
    return found


def rows(left: Side, right: Side) -> list[Row]:
    """Return every row, in groups: what, use, trust, needs, services, inside."""
    both = (left, right)
    return [
        *_of_the_index(both),
        *(_of_the_package(both) if left.package and right.package else ()),
        *(_of_the_inside(both) if left.contents and right.contents else ()),
    ]


def _side(actor: Actor, pk: int, version: str) -> Side:
    app = App.objects.filter(pk=pk).first() if pk < 2**63 else None
    releases = apps_of.releases(actor, app) if app else []
    release = next((row for row in releases if version in ("", row.version)), None)
    if app is None or release is None:
        raise Missing(say("There is no such release, or you may not see it."))
    return Side(app, release, releases)


def _look_inside(actor: Actor, found: list[Side]) -> None:
    ids = {side.release.package_id for side in found if side.release.package_id}
    visible = Package.objects.visible_to(actor).filter(pk__in=ids).defer("findings", "description")
    packages = {row.pk: row for row in visible}
    contents = {row.package_id: row for row in Contents.objects.filter(package__in=packages).defer("readme")}
    searched = CheckResult.objects.filter(
        run__package__in=packages,
        run__organisation__in=actor.organisations("packages.read"),
        check_name=_WEAKNESSES,
        outcome__in=("passed", "failed", "warned"),
    )
    weak: dict[Any, int] = {
        pk: len(findings)
        for pk, findings in searched.order_by("run__created_at").values_list("run__package_id", "findings")
    }
    for side in found:
        pk = side.release.package_id
        if pk is None:
            continue
        side.package, side.contents, side.weaknesses = packages.get(pk), contents.get(pk), weak.get(pk)
        side.facts = side.contents.read() if side.contents else Facts()


def _of_the_index(both: tuple[Side, Side]) -> Iterable[Row]:
    said: list[Mapping[str, Any]] = [side.release.data for side in both]

    def lines(member: str) -> tuple[tuple[Line, ...], ...]:
        return tuple(tuple(Line(str(each)) for each in each_said.get(member) or ()) for each_said in said)

    def row(group: str, name: str, answers: Iterable[Any], kind: str = "text") -> Row:
        left, right = answers
        return Row(group, name, left, right, kind)

    compute = [(each.get("facts") or {}).get("compute") or {} for each in said]
    yield row("what", "provider", (side.app.provider for side in both))
    yield row("what", "version", (side.release.version for side in both))
    yield row("what", "published", (side.release.published_at for side in both), "moment")
    yield row("what", "store", (each.get("origin_name") or each.get("origin") or "" for each in said), "store")
    yield row("what", "category", (each.get("category") or "" for each in said))
    yield row("what", "state", (side.release.state for side in both), "state")
    yield row("what", "licences", lines("licences"), "lines")
    yield row("what", "size", (each.get("size") or 0 for each in said), "size")
    yield row("what", "format", ((each.get("facts") or {}).get("format") or "" for each in said))
    yield row("use", "rating", ((side.app.rating, side.app.rating_count) for side in both), "rating")
    yield row("use", "downloads", (side.app.downloads for side in both), "number")
    yield row("use", "deployments", (side.app.deployments for side in both), "number")
    yield row("trust", "signature", (each.get("signature") or "unsigned" for each in said), "signature")
    yield row("trust", "certification", (each.get("certification") or "" for each in said), "level")
    yield row("needs", "cpu", (each.get("cpu_millis") or 0 for each in compute), "cpus")
    yield row("needs", "memory", (each.get("memory_bytes") or 0 for each in compute), "size")
    yield row("needs", "storage", (each.get("storage_bytes") or 0 for each in compute), "size")
    yield row("needs", "architectures", lines("architectures"), "lines")
    offers = [tuple(map(str, (each.get("facts") or {}).get("offers") or ())) for each in said]
    yield row("services", "produced", (tuple(map(Line, each)) for each in offers), "lines")
    if not all(side.package for side in both):
        # The index does not tell what must be there from what is only used when it is there.
        used = (
            tuple(Line(str(name)) for name in each.get("services") or () if str(name) not in offered)
            for each, offered in zip(said, offers, strict=True)
        )
        yield row("services", "used", used, "lines")


def _of_the_package(both: tuple[Side, Side]) -> Iterable[Row]:
    for name, member in (("required", "appServiceRequired"), ("optional", "appServiceOptional")):
        left, right = (_services(side.package, member) for side in both)
        yield Row("services", name, left, right, "lines")
    latency = [(_descriptor(side).get("appLatency") or {}).get("maxLatency") or 0 for side in both]
    yield Row("needs", "latency", latency[0], latency[1], "milliseconds")
    for name, member in (("traffic-rules", "appTrafficRule"), ("dns-rules", "appDNSRule")):
        left_count, right_count = (len(_descriptor(side).get(member) or ()) for side in both)
        yield Row("needs", name, left_count, right_count, "number")


def _of_the_inside(both: tuple[Side, Side]) -> Iterable[Row]:
    def asked(facts: Facts) -> tuple[Line, ...]:
        told = sorted(facts.permissions, key=lambda each: (_SEVERITIES.get(each.severity, 3), each.words))
        return tuple(dict.fromkeys(Line(each.words, each.severity) for each in told))

    def images(facts: Facts) -> tuple[Line, ...]:
        return tuple(dict.fromkeys(Line(each.reference, each.architecture) for each in facts.images))

    def software(facts: Facts) -> tuple[Line, ...]:
        counted = Counter(each.kind for each in facts.components)
        return tuple(Line(kind, str(number)) for kind, number in sorted(counted.items()))

    left, right = (side.facts for side in both)
    if left.rendered and right.rendered:
        yield Row("inside", "permissions", asked(left), asked(right), "permissions")
    yield Row("inside", "images", images(left), images(right), "lines")
    yield Row("inside", "components", len(left.components), len(right.components), "number")
    yield Row("inside", "kinds", software(left), software(right), "lines")
    weak = [side.weaknesses for side in both]
    if weak != [None, None]:
        yield Row("inside", "weaknesses", weak[0], weak[1], "weaknesses")


def _descriptor(side: Side) -> Mapping[str, Any]:
    return side.package.descriptor or {} if side.package else {}


def _services(package: Package | None, member: str) -> tuple[Line, ...]:
    listed = ((package.descriptor or {}) if package else {}).get(member)
    told = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return tuple(Line(str(row.get("serName", "")), str(row.get("version") or "")) for row in told)
