"""Verbs of recalls on nodes: note where a package runs, bring the list to every node, and say how far it got."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from appstore.packages.life import of_the_store
from appstore.releases import services as releases
from appstore.releases.models import Recall, RecalledPackage, SignedList
from core import recalls
from core.accounts.access import SYSTEM, Actor
from core.errors import Missing
from core.words import say
from mecm.deployments import services as deployments
from mecm.deployments.models import Deployment
from mecm.edge import services as edge
from mecm.edge.models import DesiredObject, NodeSync, ReportedObject
from mecm.nodes.models import Node
from mecm.recalls.models import Target
from mecm.recalls.progress import Counts, Facts, Standing, counts, standing

SPREAD, RENEW = "recalls.spread", "recalls.renew"
#: How an agent knows the list among its wishes.
KIND, KEY = "recalls", "list"
#: How far ahead of ours a node may claim its list to be; more is no restored database, but a lie.
_FURTHEST_AHEAD = 100_000

_LIGHT = (
    "node__kubeconfig", "node__mep_token", "node__mep_ca", "node__facts", "node__labels",
    "deployment__values", "deployment__workloads", "deployment__endpoints",
    "package__descriptor", "package__findings", "package__signature", "package__description", "package__images",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """One deployment that a recall concerns, and how far it got there."""

    target: Target
    standing: Standing
    what: str
    linked: bool
    dark_since: datetime | None
    serial: int


@dataclass(slots=True)
class Report:
    """One recall with every place that the asker may see, and the sum over them."""

    recall: Recall
    places: list[Place] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def nodes(self) -> list[tuple[Node, list[Place]]]:
        """The places by node, the dark ones first and the done ones last."""
        by_node: dict[UUID, list[Place]] = defaultdict(list)
        for place in self.places:
            by_node[place.target.node_id].append(place)
        order = {Standing.DARK: 0, Standing.UNDER_WAY: 1, Standing.DONE: 2}
        rows = sorted(
            by_node.values(), key=lambda each: (min(order[p.standing] for p in each), each[0].target.node.name)
        )
        return [(each[0].target.node, each) for each in rows]


def note_targets(recall: Recall) -> int:
    """Write down every deployment of any tenant that runs a package of the recall now; returns how many there are."""
    packages = recall.packages.exclude(package=None).values("package")
    # What was given up may still run, on a node that nobody hears of.
    running = Deployment.objects.not_removed().filter(package__in=packages)
    rows = running.values_list("pk", "node_id", "organisation_id", "package_id")
    Target.objects.bulk_create(
        (
            Target(recall=recall, deployment_id=pk, node_id=node, organisation_id=organisation, package_id=package)
            for pk, node, organisation, package in rows
        ),
        batch_size=500,
        ignore_conflicts=True,
    )
    return recall.targets.count()  # type: ignore[attr-defined,no-any-return]


def ask_appliers(recall: Recall) -> None:
    """Have the workers look at what runs on clusters that the centre reaches itself, to end or to start it again."""
    rows = Deployment.objects.not_removed().filter(recall_targets__recall=recall, node__link=Node.Link.DIRECT)
    for deployment in rows.only("pk", "organisation_id"):
        deployments.ask_applier(deployment)


def list_wish() -> dict[str, Any]:
    """Return the spec by which a node gets the list: packed, with the key for nodes that see it for the first time."""
    return {"list": recalls.pack(releases.recall_list()), "keys": releases.public_keys()}


def give_list(node: Node) -> bool:
    """Wish that the node holds the newest list; False while there is none to hold or it is wished for already."""
    ours = SignedList.objects.filter(store="").first()
    if ours is None or not ours.serial:
        return False
    if DesiredObject.objects.filter(node=node, kind=KIND, key=KEY, deleted=False, generation=ours.serial).exists():
        return False
    spec = list_wish()
    serial = SignedList.objects.values_list("serial", flat=True).get(store="")
    edge.put(node, KIND, KEY, generation=serial, spec=spec)
    return True


def nodes_to_tell() -> QuerySet[Node]:
    """Nodes with an agent that has joined and is not told the newest list yet."""
    serial = SignedList.objects.filter(store="").values_list("serial", flat=True).first() or 0
    told = DesiredObject.objects.filter(kind=KIND, key=KEY, deleted=False, generation=serial).values("node")
    return Node.objects.filter(link=Node.Link.AGENT).exclude(enrolled_at=None).exclude(pk__in=told)


def heard(status: Mapping[str, Any]) -> int:
    """Return over which serial a new list must be, when a node holds a newer one than ours; 0 when it does not."""
    held = status.get("serial")
    if status.get("state") != "refused" or not isinstance(held, int) or isinstance(held, bool):
        return 0
    ours = SignedList.objects.filter(store="").values_list("serial", flat=True).first() or 0
    return held if ours <= held <= ours + _FURTHEST_AHEAD and status.get("reason") in ("older", "two-of-one") else 0


# --- how far it got ---------------------------------------------------------------------------------------------------
def visible(actor: Actor) -> QuerySet[Recall]:
    """Return the recalls that the actor may see: of packages of theirs, or that they run; all for the store's own."""
    rows = Recall.objects.prefetch_related("packages")
    if sees_all(actor):
        return rows
    mine = actor.organisations("packages.read")
    running = Target.objects.visible_to(actor).values("recall")
    own = RecalledPackage.objects.filter(package__organisation_id__in=mine).values("recall")
    return rows.filter(Q(pk__in=running) | Q(pk__in=own) | Q(organisation_id__in=mine))


def get(pk: Any, actor: Actor) -> Recall:
    """Return a recall that the actor may see; `Missing` otherwise."""
    found = visible(actor).prefetch_related(None).filter(pk=pk).first()
    if found is None:
        raise Missing(say("There is no such recall, or you may not see it."))
    return found


def sees_all(actor: Actor) -> bool:
    """Return whether the actor follows recalls through all tenants: those who recall for the store."""
    return actor is SYSTEM or of_the_store(actor, "packages.recall")


def reports(found: Iterable[Recall], actor: Actor) -> list[Report]:
    """Return how far each recall got, in a fixed number of queries (five at most).

    Who recalls for the store sees every node; a publisher sees their own, and how it stands elsewhere as numbers only.
    """
    made = {recall.pk: Report(recall) for recall in found}
    targets = Target.objects.filter(recall__in=made).select_related(
        "deployment", "deployment__package", "node", "organisation", "package"
    )
    places = _places(list(targets.defer(*_LIGHT, "deployment__package__descriptor")), made)
    everything = sees_all(actor)
    mine = set() if everything else actor.organisations("deployments.read")
    publishes = set() if everything else actor.organisations("packages.recall")
    numbers: dict[UUID, list[tuple[UUID, Standing]]] = defaultdict(list)
    for place in places:
        report = made[place.target.recall_id]
        seen = everything or place.target.organisation_id in mine
        if seen or report.recall.organisation_id in publishes:
            numbers[place.target.recall_id].append((place.target.node_id, place.standing))
        if seen:
            report.places.append(place)
    for pk, report in made.items():
        report.counts = counts(numbers[pk])
    return list(made.values())


def _places(targets: list[Target], made: Mapping[UUID, Report]) -> list[Place]:
    nodes = {target.node_id for target in targets}
    links = {sync.pk: sync for sync in NodeSync.objects.filter(pk__in=nodes)}
    serials = {
        node_id: status.get("serial", 0) if isinstance(status, dict) else 0
        for node_id, status in ReportedObject.objects.filter(
            node_id__in=nodes, kind=KIND, key=KEY, status__state="held"
        ).values_list("node_id", "status")
    }
    return [
        _place(target, made[target.recall_id].recall, links.get(target.node_id), serials.get(target.node_id, 0))
        for target in targets
    ]


def _place(target: Target, recall: Recall, link: NodeSync | None, serial: Any) -> Place:
    node, deployment = target.node, target.deployment
    direct = node.link == Node.Link.DIRECT
    linked = node.state == Node.State.ONLINE and (direct or bool(link and link.connected))
    serial = serial if isinstance(serial, int) else 0
    how, what = standing(
        Facts(
            action=recall.action,
            recalled_still=deployment.package_id == target.package_id or deployment.package.state == "recalled",
            state=deployment.state,
            reason=deployment.reason,
            current=deployment.observed_generation == deployment.generation,
            linked=linked,
            told=direct or serial >= recall.serial > 0,
        )
    )
    since = None if linked else (link.disconnected_at if link and link.disconnected_at else node.last_seen_at)
    return Place(target, how, what, linked, since, serial)
