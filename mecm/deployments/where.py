"""Where a release could run: every node that the actor may deploy to, judged by the code that deploying asks.

One pass over the nodes in a fixed number of queries, however many there are; the chart is rendered once per engine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from core.accounts import access
from core.errors import BreakwaterError
from mecm.deployments import plan, requirements, services
from mecm.deployments.models import Deployment
from mecm.deployments.placement import Placement, Reason
from mecm.nodes.models import Node

if TYPE_CHECKING:
    from appstore.packages.models import Package
    from core.accounts.access import Actor
    from core.accounts.models import Organisation
    from mecm.deployments.placement import Requirement

#: What a node says of itself that placement asks; the rest of its row stays where it is.
_ASKED = (
    "name", "organisation", "organisation__name", "organisation__slug", "engine", "link", "cpu_millis", "memory_bytes",
    "storage_bytes", "facts", "kubeconfig", "mep_url", "enrolled_at", "last_seen_at", "simulated",
)  # fmt: skip
#: No release has this name, so none is in the way of it.
_NO_NAME = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A deployment of the same application that is there already."""

    id: UUID
    name: str
    version: str
    state: str


@dataclass(frozen=True, slots=True)
class Place:
    """One node with its verdict, and what of the application runs there."""

    node: Node
    placement: Placement
    running: tuple[Running, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the release could be deployed there now."""
        return self.placement.fits


@dataclass(frozen=True, slots=True)
class Where:
    """The whole answer. `refused` says why the organisation may run the release nowhere; then it fits nowhere."""

    places: list[Place] = field(default_factory=list)
    refused: str = ""

    @property
    def fits(self) -> int:
        """On how many nodes it fits."""
        return sum(place.fits for place in self.places)

    @property
    def running(self) -> int:
        """On how many nodes a release of the application runs already."""
        return sum(bool(place.running) for place in self.places)

    def reasons(self) -> list[tuple[str, int]]:
        """Return each kind of reason with the number of nodes that it speaks against, the most frequent first."""
        return _counted(place.placement.reasons for place in self.places)

    def remarks(self) -> list[tuple[str, int]]:
        """Return each kind of remark with the number of nodes where it fits and the remark is made."""
        return _counted(place.placement.remarks for place in self.places if place.fits)

    def only(self, *, fits: bool | None = None, code: str = "") -> list[Place]:
        """Return the places where it fits (or does not), and those with one kind of reason or remark."""
        return [
            place
            for place in self.places
            if (fits is None or place.fits == fits)
            and (not code or any(code == each.code for each in place.placement.reasons + place.placement.remarks))
        ]


def could_run(package: Package, *, actor: Actor, organisation: Organisation, words: str = "") -> Where:
    """Return where `organisation` could run the release with the chart's own values, the best places first.

    Nodes of every organisation in which the actor may deploy are judged; `words` is a part of a node's name. Nothing is
    said about the name of the deployment, which is chosen when it is made.
    """
    actor.require("deployments.write", organisation)
    nodes = access.scoped(Node.objects.all(), actor, "deployments.write").select_related("organisation").only(*_ASKED)
    rows = list(nodes.filter(name__icontains=words) if words else nodes)
    refused = services.refusal(package, organisation)
    against = (Reason("not-deployable", refused),) if refused else ()
    running = _running(package, actor, rows)
    places = [
        Place(node, Placement(against + verdict.reasons, verdict.remarks), tuple(running.get(node.pk, ())))
        for node, verdict in _verdicts(rows, package, services.namespace_of(organisation))
    ]
    places.sort(key=lambda place: (not place.fits, len(place.placement.remarks), place.node.name))
    return Where(places, refused)


def _verdicts(nodes: list[Node], package: Package, namespace: str) -> Iterable[tuple[Node, Placement]]:
    """Judge nodes by engine: a chart that cannot be rendered for one engine says nothing about the others."""
    needs: dict[str, Requirement] = {}
    failed: dict[str, Placement] = {}
    for engine in {node.engine for node in nodes}:
        try:
            needs[engine] = requirements.of(package, {}, engine=engine, name=_NO_NAME, namespace=namespace)
        except BreakwaterError as error:
            failed[engine] = Placement((Reason("cannot-run", error.detail),))
    yield from plan.verdicts([node for node in nodes if node.engine in needs], lambda node: needs[node.engine])
    yield from ((node, failed[node.engine]) for node in nodes if node.engine in failed)


def _running(package: Package, actor: Actor, nodes: list[Node]) -> dict[UUID, list[Running]]:
    """Return the deployments of the application that the actor may see, by node; one query."""
    found: dict[UUID, list[Running]] = defaultdict(list)
    if not package.name:
        return found
    here = {node.pk for node in nodes}
    rows = (
        Deployment.objects.visible_to(actor)
        .present()
        .filter(package__organisation=package.organisation_id, package__provider=package.provider)
        .filter(package__name=package.name)
        .order_by("name", "id")
    )
    for pk, node, name, version, state in rows.values_list("pk", "node_id", "name", "package__version", "state"):
        if node in here:
            found[node].append(Running(pk, name, version, state))
    return found


def _counted(told: Iterable[Iterable[Reason]]) -> list[tuple[str, int]]:
    return Counter(code for reasons in told for code in {each.code for each in reasons}).most_common()
