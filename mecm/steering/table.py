"""The rules of a node or of one deployment as people see them: what the package says, what is wished, what the node has."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mecm.deployments.models import Deployment
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node
from mecm.steering import names, services
from mecm.steering.models import DNS, ID_OF, TRAFFIC, RuleSet, RuleWish

#: Rules of a node that are shown at all; they are a report, so their number is not ours.
MOST = 20_000
#: Where a rule comes from.
PACKAGE, CHANGED, ADDED, LOST, NODE = "package", "changed", "added", "lost", "node"
_REPORTED = {TRAFFIC: "traffic_rules", DNS: "dns_rules"}
#: Columns of a deployment's package and node that no page about rules reads.
HEAVY = (
    "node__kubeconfig", "node__mep_token", "node__mep_ca", "node__facts", "values", "workloads", "endpoints",
    "package__findings", "package__signature", "package__description", "package__images",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One rule. `own` is what the package says, `wish` what an operator changed, `live` what the node reported."""

    kind: str
    rule_id: str
    app: str
    instance: str
    deployment: Deployment | None = None
    own: Mapping[str, Any] | None = None
    wish: RuleWish | None = None
    live: Mapping[str, Any] | None = None
    fate: Mapping[str, str] = field(default_factory=dict)
    packets: int | None = None
    octets: int | None = None

    @property
    def source(self) -> str:
        """Return where the rule comes from: `package`, `changed`, `added`, `lost` (its release has it no more) or `node`."""
        if self.wish is not None:
            if self.own is not None:
                return CHANGED
            return ADDED if self.wish.made else LOST
        return PACKAGE if self.own is not None else NODE

    @property
    def rule(self) -> Mapping[str, Any]:
        """Return the rule as it is wished: the operator's content, else the package's, else what the node has."""
        if self.wish is not None and self.wish.rule is not None:
            return self.wish.rule
        return self.own or self.live or {}

    @property
    def scope(self) -> str:
        """Return the DNS scope whose clients get the answer, empty for everybody: as wished, else package, else node."""
        said = (each.get("scope") for each in (self.rule, self.own or {}, self.live or {}))
        return next((each for each in said if isinstance(each, str)), "")

    @property
    def wished_state(self) -> str:
        """Return the state that an operator chose; empty when it follows from the application."""
        return self.wish.state if self.wish is not None else ""

    @property
    def state(self) -> str:
        """Return the state that the node has, empty when it has no such rule."""
        return str(self.live.get("state", "")) if self.live else ""

    @property
    def enforcement(self) -> str:
        """Return what the node's user plane or name server made of it: in-force, pending, refused, withdrawn."""
        return str(self.live.get("enforcement") or "") if self.live else ""

    @property
    def pending(self) -> bool:
        """Return whether the wish is on its way."""
        held = self.wish.rule_set if self.wish is not None else None
        return held is not None and held.state in (RuleSet.State.PENDING, RuleSet.State.WAITING)

    @property
    def outcome(self) -> str:
        """Return what became of the wish: applied, refused, lost, pending; empty when nothing is wished."""
        if self.wish is None:
            return ""
        if self.source == LOST:
            return LOST
        if self.wish.rule_set.state == RuleSet.State.FAILED:
            return "failed"
        return str(self.fate.get("outcome") or RuleSet.State.PENDING.value)

    @property
    def reason(self) -> str:
        """Return why it is not as wished, in the node's words."""
        said = self.fate.get("reason") or (str(self.live.get("reason") or "") if self.live else "")
        if not said and self.wish is not None:
            said = self.wish.rule_set.message
        return said

    @property
    def based_on_older(self) -> bool:
        """Return whether the package says something else now than when the content was changed."""
        return bool(
            self.wish and self.wish.rule is not None and self.wish.base and self.own != self.wish.base and self.own
        )

    @property
    def order(self) -> tuple[Any, ...]:
        """Return where the rule stands in a list."""
        priority = self.rule.get("priority")
        number = priority if isinstance(priority, int) and not isinstance(priority, bool) else 256
        return number, self.app, self.rule_id


@dataclass(frozen=True, slots=True)
class Told:
    """What a node last said about rules."""

    apps: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    counts: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    plane: Mapping[str, Any] = field(default_factory=dict)
    scopes: Mapping[str, names.Scope] | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


def told_by(node: uuid.UUID) -> Told:
    """Return what the MEC platform of a node last said; one query. It is shown, never trusted to have our shape."""
    rows = {
        each.key: each for each in ReportedObject.objects.filter(node=node, kind="mep", key__in=["state", "counters"])
    }
    state = rows.get("state")
    status = state.status if state is not None and isinstance(state.status, dict) else {}
    rules: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for kind, member in _REPORTED.items():
        for raw in dicts(status.get(member))[:MOST]:
            rules[kind, str(raw.get("appInstanceId", "")), str(raw.get(ID_OF[kind], ""))] = raw
    plane = status.get("user_plane")
    return Told(
        apps={str(each.get("appInstanceId", "")): str(each.get("appName", "")) for each in dicts(status.get("apps"))},
        rules=rules,
        counts=_counts(rows["counters"].status if "counters" in rows else {}),
        plane=plane if isinstance(plane, dict) else {},
        scopes=names.scopes_of(status),
        status=status,
        at=state.reported_at if state is not None else None,
    )


def lines(told: Told, deployments: Iterable[Deployment], kind: str, *, strangers: bool = True) -> list[Line]:
    """Return the rules of one kind: of these deployments, and with `strangers` what else the node has; one query."""
    held = list(deployments)
    wishes: dict[tuple[uuid.UUID, str], RuleWish] = {}
    fates: dict[tuple[uuid.UUID, str], Mapping[str, str]] = {}
    for wish in RuleWish.objects.filter(rule_set__in=[each.pk for each in held], kind=kind).select_related(
        "rule_set", "changed_by"
    ):
        wishes[wish.rule_set_id, wish.rule_id] = wish
        for fate in dicts(wish.rule_set.outcomes):
            if fate.get("kind") == kind:
                fates[wish.rule_set_id, str(fate.get("id"))] = fate
    wished, living = _by(wishes), _by((key[1], key[2]) for key in told.rules if key[0] == kind)
    found: list[Line] = []
    seen: set[tuple[str, str]] = set()
    for deployment in held:
        instance = str(deployment.app_instance_id)
        own = services.described(deployment, kind)
        ids = {*own, *wished.get(deployment.pk, ()), *living.get(instance, ())}
        for rule_id in ids:
            seen.add((instance, rule_id))
            packets, octets = told.counts.get((instance, rule_id), (None, None))
            found.append(
                Line(
                    kind=kind,
                    rule_id=rule_id,
                    app=deployment.name,
                    instance=instance,
                    deployment=deployment,
                    own=own.get(rule_id),
                    wish=wishes.get((deployment.pk, rule_id)),
                    live=told.rules.get((kind, instance, rule_id)),
                    fate=fates.get((deployment.pk, rule_id), {}),
                    packets=packets,
                    octets=octets,
                )
            )
    if strangers:
        for (of, instance, rule_id), raw in told.rules.items():
            if of == kind and (instance, rule_id) not in seen:
                packets, octets = told.counts.get((instance, rule_id), (None, None))
                name = told.apps.get(instance) or instance
                found.append(Line(kind, rule_id, name, instance, live=raw, packets=packets, octets=octets))
    return sorted(found, key=lambda each: each.order)


def one(told: Told, deployment: Deployment, kind: str, rule_id: str) -> Line | None:
    """Return one rule of a deployment; None when there is none of that id."""
    return next((each for each in lines(told, [deployment], kind, strangers=False) if each.rule_id == rule_id), None)


def on_node(node: Node) -> Any:
    """Return the deployments whose rules belong to a node, with the descriptors of their packages."""
    rows = Deployment.objects.ordinary().present().filter(node=node)
    return rows.select_related("package", "node").defer(*HEAVY).order_by("name", "pk")


def dicts(found: Any) -> list[dict[str, Any]]:
    """Return the objects of a list that somebody reported; one may stand for a list of one."""
    many = found if isinstance(found, list) else [found]
    return [each for each in many if isinstance(each, dict)]


def _by(pairs: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    for key, rule_id in pairs:
        found.setdefault(key, []).append(rule_id)
    return found


def _counts(status: Any) -> dict[tuple[str, str], tuple[int, int]]:
    rows = status.get("rules") if isinstance(status, dict) else None
    found = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, list) and len(row) >= 4 and all(isinstance(each, int) for each in row[2:4]):
            found[str(row[0]), str(row[1])] = (row[2], row[3])
    return found
