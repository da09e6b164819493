"""The NetworkPolicies that keep a tenant's pods from other tenants'; decisions only, nothing here asks a cluster.

Policies add up: a pod that several select may be reached by whatever any of them allows. So ours selects the pods that no
policy of a chart selects; where a chart has its own, that one rules alone, and it may narrow. It is refused where it would
let other tenants in.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.kubernetes.api import Object
from engines.planning import items, mapping

VERSION, KIND = "networking.k8s.io/v1", "NetworkPolicy"
#: What the names of our policies begin with; no chart may use such a name.
NAME = "breakwater-tenant"
OURS = {"app.kubernetes.io/managed-by": "breakwater"}
#: Marks the namespaces of tenants that others made; ours are known by OURS.
TENANT = "breakwater.io/tenant"
#: What the names of tenants' namespaces begin with.
PREFIXES = ("t-", "trial-")
DIRECTIONS = ("Ingress", "Egress")
#: More of our policies than this in one namespace and one direction are not made.
MOST = 32
_BY_NAME = "kubernetes.io/metadata.name"
#: Where pods may be when a cluster does not tell it.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_NOT_TENANTS = {
    "matchExpressions": [
        {"key": "app.kubernetes.io/managed-by", "operator": "NotIn", "values": ["breakwater"]},
        {"key": TENANT, "operator": "DoesNotExist"},
    ]
}
_OPPOSITE = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Expression = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Ground:
    """The networks of a cluster: of its pods (empty where it does not tell), of UEs and N6, and its nodes' own addresses."""

    pods: tuple[Network, ...] = ()
    ue: tuple[Network, ...] = ()
    nodes: tuple[Network, ...] = ()

    @property
    def suspected(self) -> tuple[Network, ...]:
        """Where other tenants' pods may be."""
        return self.pods or networks(_PRIVATE)


def networks(texts: Iterable[Any]) -> tuple[Network, ...]:
    """Return what of this is a network or an address, each once."""
    found: dict[Network, None] = {}
    for text in texts:
        try:
            found[ipaddress.ip_network(str(text), strict=False)] = None
        except ValueError:
            continue
    return tuple(found)


def ground(nodes: Sequence[Object], pods: Iterable[str] = (), ue: Iterable[str] = ()) -> Ground:
    """Return the networks of a cluster with these nodes; what an operator set for `pods` wins."""
    told: list[Any] = []
    own: list[Any] = []
    for node in nodes[:100]:  # a policy has to stay readable for the cluster
        spec = mapping(node.get("spec"))
        listed = spec.get("podCIDRs")
        blocks = networks(listed if isinstance(listed, list) else [spec.get("podCIDR")])
        told += blocks
        # The first addresses of a node's block are its own: what it forwards from outside may come from there.
        own += [block[at] for block in blocks for at in (0, 1) if block.num_addresses > 2]
        own += [each.get("address") for each in items(mapping(node.get("status")).get("addresses"))]
    return Ground(networks(pods) or networks(told), networks(ue), networks(own))


def wanted(namespace: str, present: Sequence[Object], ground: Ground) -> list[dict[str, Any]]:
    """Return our policies for a namespace in which charts have the policies `present`."""
    made = []
    for direction in DIRECTIONS:
        if direction == "Egress" and not ground.pods:
            continue  # all that it could say is that everything is open
        selectors = [
            mapping(mapping(each.get("spec")).get("podSelector")) for each in present if rules(each, direction)
        ]
        for expressions in uncovered(selectors) or ():
            selector = {"matchExpressions": [_as_object(each) for each in sorted(expressions)]} if expressions else {}
            mark = hashlib.sha256(json.dumps(selector, sort_keys=True).encode()).hexdigest()[:8]
            name = f"{NAME}-{direction.lower()}" + (f"-{mark}" if selector else "")
            made.append(
                {
                    "metadata": {"name": name, "namespace": namespace, "labels": OURS},
                    "spec": {"podSelector": selector, "policyTypes": [direction], **_open(direction, ground)},
                }
            )
    return made


def _open(direction: str, ground: Ground) -> dict[str, Any]:
    """Return the rules of a direction: the tenant itself, namespaces that are no tenant's, and what is outside."""
    peers: list[dict[str, Any]] = [{"podSelector": {}}, {"namespaceSelector": _NOT_TENANTS}]
    for everything in networks(["0.0.0.0/0", "::/0"]):
        inside = [str(each) for each in ground.suspected if each.version == everything.version]
        peers.append({"ipBlock": {"cidr": str(everything), **({"except": inside} if inside else {})}})
    own = [each for each in ground.nodes if any(_meet(each, inside) for inside in ground.suspected)]
    peers += [{"ipBlock": {"cidr": str(each)}} for each in (*own, *ground.ue)]
    return {"ingress": [{"from": peers}]} if direction == "Ingress" else {"egress": [{"to": peers}]}


def rules(policy: Object, direction: str) -> bool:
    """Return whether a policy says anything about a direction; without `policyTypes` as Kubernetes fills them in."""
    spec = mapping(policy.get("spec"))
    named = spec.get("policyTypes")
    if isinstance(named, list) and named:
        return direction in named
    return direction == "Ingress" or bool(spec.get("egress"))


def uncovered(selectors: Sequence[Mapping[str, Any]]) -> set[frozenset[Expression]]:
    """Return selectors, each a conjunction, that together select the pods which none of `selectors` does.

    Too many to say it with MOST: all pods, so that the tenant stays closed though a chart's policy narrows nothing then.
    """
    found: set[frozenset[Expression]] = {frozenset()}
    for selector in selectors:
        others = _negated(selector)
        found = _least({each | {other} for each in found for other in others})
        if len(found) > MOST:
            return {frozenset()}
    return found


def _least(found: set[frozenset[Expression]]) -> set[frozenset[Expression]]:
    """Leave out what another one selects as well: fewer conditions select more."""
    return {each for each in found if not any(other < each for other in found)}


def _negated(selector: Mapping[str, Any]) -> set[Expression]:
    """Return conditions of which a pod that is not selected meets at least one."""
    labels = {(str(key), "NotIn", (str(value),)) for key, value in mapping(selector.get("matchLabels")).items()}
    return labels | {
        (str(each.get("key")), _OPPOSITE[operator], tuple(sorted(str(value) for value in each.get("values") or ())))
        for each in items(selector.get("matchExpressions"))
        if (operator := str(each.get("operator"))) in _OPPOSITE
    }


def _as_object(expression: Expression) -> dict[str, Any]:
    key, operator, values = expression
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def same(one: Object, other: Object) -> bool:
    """Return whether two policies select the same pods for the same directions."""
    left, right = mapping(one.get("spec")), mapping(other.get("spec"))
    return mapping(left.get("podSelector")) == mapping(right.get("podSelector")) and all(
        rules(one, direction) == rules(other, direction) for direction in DIRECTIONS
    )


def policy_findings(manifests: Iterable[Manifest], namespace: str, ground: Ground) -> Iterator[Finding]:
    """Tell where a chart's own policies would let other tenants in, or take the place of ours."""
    for manifest in manifests:
        if manifest.kind != KIND:
            continue
        place = f"{manifest.kind}/{manifest.name}"
        if manifest.name.startswith(NAME):
            yield Finding(
                Level.ERROR,
                "name-reserved",
                place,
                say("such names belong to the policies that keep tenants apart"),
                say("take another name"),
            )
        spec = mapping(manifest.body.get("spec"))
        for key, member, level in (("ingress", "from", Level.ERROR), ("egress", "to", Level.WARNING)):
            for at, rule in enumerate(items(spec.get(key))):
                peers = items(rule.get(member))
                wide = not peers or any(_reaches_tenants(peer, namespace, ground) for peer in peers)
                if wide:
                    yield _widens(f"{place} spec.{key}[{at}].{member}", level)


def _widens(place: str, level: Level) -> Finding:
    if level is Level.WARNING:
        return Finding(
            level,
            "policy-widens",
            place,
            say("would let the pods reach other tenants; those do not let them in"),
            say("name the pods, or namespaces by kubernetes.io/metadata.name, that they need"),
        )
    return Finding(
        level,
        "policy-widens",
        place,
        say("would let the pods of other tenants in"),
        say("name pods of the app, or namespaces of the platform by kubernetes.io/metadata.name, or leave the policy out by a "
            "value (often networkPolicy.enabled: false); pods that no policy of the chart selects are reached from the "
            "tenant's own pods, the platform and from outside"),
    )  # fmt: skip


def _reaches_tenants(peer: Mapping[str, Any], namespace: str, ground: Ground) -> bool:
    if "ipBlock" in peer:
        return _block_reaches(mapping(peer.get("ipBlock")), ground)
    if "namespaceSelector" not in peer:
        return False
    selector = mapping(peer.get("namespaceSelector"))
    named = [str(value) for key, value in mapping(selector.get("matchLabels")).items() if key == _BY_NAME]
    for each in items(selector.get("matchExpressions")):
        if each.get("key") == _BY_NAME and each.get("operator") == "In" and isinstance(each.get("values"), list):
            named += [str(value) for value in each["values"]]
    return not named or any(name != namespace and name.startswith(PREFIXES) for name in named)


def _block_reaches(block: Mapping[str, Any], ground: Ground) -> bool:
    found = networks([block.get("cidr")])
    excepted = networks(block["except"] if isinstance(block.get("except"), list) else ())
    if not found:
        return False  # the cluster says that it is none
    if not ground.pods:  # planned without a cluster, or it does not tell: only what surely takes pods in
        return found[0].prefixlen == 0 and not excepted
    return any(
        _meet(found[0], pods) and not any(_within(pods, each) for each in excepted) for pods in ground.pods
    )  # fmt: skip


def _meet(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _within(one: Network, other: Network) -> bool:
    return one.version == other.version and one.network_address in other and one.prefixlen >= other.prefixlen
