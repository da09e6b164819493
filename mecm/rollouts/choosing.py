"""Which nodes or deployments a rollout is about. Everything is of one organisation, and chosen in one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from appstore.packages.models import Package
from core.accounts.models import Organisation
from core.errors import Invalid
from core.words import say
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node

MOST_LABELS, MOST_IDS, MOST_PLACES = 20, 20_000, 20_000
NODES, DEPLOYMENTS = "nodes", "deployments"


@dataclass(frozen=True, slots=True)
class Selector:
    """What somebody chose. Everything that is set must hold; nothing set means all of the organisation.

    `area` is west, south, east, north in degrees; `ids` are of nodes or of deployments, as `kind` says. `nodes` and
    `release` narrow deployments to those on these nodes, and to those that run that release now.
    """

    kind: str = NODES
    labels: tuple[tuple[str, str], ...] = ()
    area: tuple[float, float, float, float] | None = None
    ids: frozenset[UUID] | None = None
    nodes: frozenset[UUID] | None = None
    words: str = ""
    release: UUID | None = None

    def document(self) -> dict[str, Any]:
        """Return it as it is kept in the database and told by the API."""
        told: dict[str, Any] = {"kind": self.kind}
        if self.labels:
            told["labels"] = dict(self.labels)
        if self.area is not None:
            told["area"] = list(self.area)
        if self.ids is not None:
            told["ids"] = sorted(str(each) for each in self.ids)
        if self.nodes is not None:
            told["nodes"] = sorted(str(each) for each in self.nodes)
        if self.words:
            told["q"] = self.words
        if self.release is not None:
            told["release"] = str(self.release)
        return told


def read(asked: Any) -> Selector:
    """Return the selector that a document writes; `Invalid` names the member that is wrong."""
    if not isinstance(asked, Mapping):
        raise Invalid(say("target must be an object"), field="target")
    unknown = set(asked) - {"kind", "labels", "area", "ids", "nodes", "q", "release"}
    if unknown:
        raise Invalid(say("target has no member {unknown}", unknown=repr(sorted(map(str, unknown))[0])), field="target")
    kind = asked.get("kind", NODES)
    if kind not in (NODES, DEPLOYMENTS):
        raise Invalid(say("kind must be nodes or deployments"), field="target.kind")
    if kind == NODES and asked.get("release") is not None:
        raise Invalid(say("release chooses deployments, not nodes"), field="target.release")
    words = asked.get("q", "")
    if not isinstance(words, str) or "\x00" in words or len(words) > 200:
        raise Invalid(say("q must be a short text"), field="target.q")
    release = asked.get("release")
    return Selector(
        kind,
        _labels(asked.get("labels") or {}),
        _area(asked.get("area")),
        _ids(asked, "ids"),
        _ids(asked, "nodes") if kind == DEPLOYMENTS else None,
        words.strip(),
        _uuid(release, "target.release") if release is not None else None,
    )


def places(
    selector: Selector, *, organisation: Organisation, package: Package, name: str
) -> list[tuple[Node, Deployment | None, str]]:
    """Return each place as (node, what is there under the name, name), those online first, then by name."""
    found: list[tuple[Node, Deployment | None, str]]
    if selector.kind == DEPLOYMENTS:
        found = [(row.node, row, row.name) for row in _deployments(selector, organisation, package)]
    else:
        nodes = _nodes(selector, organisation)
        rows = Deployment.objects.ordinary().present().filter(organisation=organisation, name=name)
        present = {row.node_id: row for row in rows.select_related("package").defer(*_PACKAGE)}
        found = [(node, present.get(node.pk), name) for node in nodes]
    if len(found) > MOST_PLACES:
        raise Invalid(
            say(
                "{found_count} are chosen; one rollout takes at most {most_places}.",
                found_count=len(found),
                most_places=MOST_PLACES,
            ),
            field="target",
        )
    return sorted(found, key=lambda each: (each[0].state != Node.State.ONLINE, each[0].name, each[2]))


_PACKAGE = ("package__descriptor", "package__findings", "package__signature", "package__description", "workloads")


def _nodes(selector: Selector, organisation: Organisation) -> list[Node]:
    rows = Node.objects.filter(organisation=organisation).defer("mep_token", "mep_ca")
    if selector.ids is not None:
        rows = rows.filter(pk__in=selector.ids)
    if selector.words:
        rows = rows.filter(name__icontains=selector.words)
    return [node for node in _within(rows, selector.area) if _labelled(node, selector)]


def _deployments(selector: Selector, organisation: Organisation, package: Package) -> list[Deployment]:
    """Deployments of the same application: another one could not be upgraded to this release anyway."""
    rows = (
        Deployment.objects.ordinary()
        .present()
        .filter(organisation=organisation, package__name=package.name, package__provider=package.provider)
        .select_related("node", "package")
        .defer(*_PACKAGE, "node__mep_token", "node__mep_ca")
    )
    if selector.ids is not None:
        rows = rows.filter(pk__in=selector.ids)
    if selector.nodes is not None:
        rows = rows.filter(node_id__in=selector.nodes)
    if selector.words:
        rows = rows.filter(name__icontains=selector.words)
    if selector.release is not None:
        rows = rows.filter(package_id=selector.release)
    return [row for row in _within(rows, selector.area, "node__") if _labelled(row.node, selector)]


def _within(rows: QuerySet[Any], area: tuple[float, float, float, float] | None, where: str = "") -> QuerySet[Any]:
    if area is None:
        return rows
    west, south, east, north = area
    return rows.filter(
        **{
            f"{where}longitude__gte": west, f"{where}longitude__lte": east,
            f"{where}latitude__gte": south, f"{where}latitude__lte": north,
        }
    )  # fmt: skip


def _labelled(node: Node, selector: Selector) -> bool:
    # Compared here and not in the database: a key may be any text, and in a JSON path some texts are more than a key.
    return all(node.labels.get(key) == value for key, value in selector.labels)


def _labels(asked: Any) -> tuple[tuple[str, str], ...]:
    plain = isinstance(asked, Mapping) and all(
        isinstance(key, str) and isinstance(value, str) and "\x00" not in key + value for key, value in asked.items()
    )
    if not plain or len(asked) > MOST_LABELS:
        raise Invalid(
            say("labels must be up to {most_labels} pairs of texts", most_labels=MOST_LABELS), field="target.labels"
        )
    return tuple(sorted(asked.items()))


def _area(asked: Any) -> tuple[float, float, float, float] | None:
    if asked is None:
        return None
    numbers = isinstance(asked, list) and all(
        isinstance(each, int | float) and not isinstance(each, bool) and -180 <= each <= 180 for each in asked
    )
    if not numbers or len(asked) != 4 or asked[0] > asked[2] or asked[1] > asked[3]:
        raise Invalid(say("area must be west, south, east, north in degrees"), field="target.area")
    west, south, east, north = (float(each) for each in asked)
    return west, south, east, north


def _ids(asked: Mapping[str, Any], member: str) -> frozenset[UUID] | None:
    ids = asked.get(member)
    if ids is not None and (not isinstance(ids, list) or len(ids) > MOST_IDS):
        raise Invalid(
            say("{member} must be a list of at most {most_ids}", member=member, most_ids=MOST_IDS),
            field=f"target.{member}",
        )
    return frozenset(_uuid(each, f"target.{member}") for each in ids) if ids is not None else None


def _uuid(text: Any, field: str) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise Invalid(say("{text} is no id", text=repr(str(text)[:60])), field=field) from None
