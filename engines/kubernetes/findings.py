"""What a tenant's chart may not bring to a cluster that tenants share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.kubernetes.policies import PREFIXES, networks
from engines.planning import CLUSTER_SCOPED, host_findings, items, mapping

#: What a chart may bind its service accounts to: looking, and that without Secrets.
_HARMLESS_ROLES = frozenset(["view"])
#: By what an app could undo the limits of its namespace, and what it may read but not write: these lead a proxy that all tenants
#: share to a host or to an address, and a chart's own are judged before they are made.
_LIMITS = frozenset(["*", "namespaces", "roles", "rolebindings", "networkpolicies"])
_LEADING = frozenset(
    ["ingresses", "httproutes", "grpcroutes", "tlsroutes", "gateways", "routes", "endpoints", "endpointslices"]
)
_READING = frozenset(["get", "list", "watch"])
_ADDRESSES = frozenset(["Endpoints", "EndpointSlice"])


def chart_findings(manifests: Sequence[Manifest], namespace: str) -> Iterator[Finding]:
    """Tell every reason why the cluster must not run these objects for a tenant."""
    yield from host_findings(manifests)
    for manifest in manifests:
        if manifest.kind in CLUSTER_SCOPED:
            continue
        place = f"{manifest.kind}/{manifest.name}"
        own = mapping(manifest.body.get("metadata")).get("namespace")
        if own and own != namespace:
            yield Finding(
                Level.ERROR,
                "other-namespace",
                place,
                say(
                    "asks for the namespace {own}, but the tenant's is {namespace}",
                    own=repr(str(own)[:80]),
                    namespace=repr(namespace),
                ),
                say("leave metadata.namespace out"),
            )
        if manifest.kind == "Service" and mapping(manifest.body.get("spec")).get("externalIPs"):
            yield Finding(
                Level.ERROR,
                "external-ips",
                place,
                say("externalIPs would draw the traffic of other tenants"),
                say("use a Service of type NodePort or LoadBalancer"),
            )
        if manifest.kind in _ADDRESSES:
            yield Finding(
                Level.ERROR,
                "addresses-of-a-service",
                place,
                say("would let the proxy that all tenants share reach pods of other tenants"),
                say("use a Service with a selector"),
            )
        if manifest.kind == "Service":
            yield from _other_name(manifest, place, namespace)
        if manifest.kind == "Ingress":
            yield from _snippets(manifest, place)
        if manifest.kind in {"Role", "RoleBinding"}:
            yield from _rights(manifest, place)


def _other_name(manifest: Manifest, place: str, namespace: str) -> Iterator[Finding]:
    """Tell where a Service is another name of one in another namespace: the proxy reaches it, its tenant's policies or not."""
    spec = mapping(manifest.body.get("spec"))
    if spec.get("type") != "ExternalName":
        return
    name = str(spec.get("externalName") or "").strip().rstrip(".").lower()
    if _leads_elsewhere(name, namespace):
        yield Finding(
            Level.ERROR,
            "other-namespace",
            place,
            say("is another name of {name}, which is not in the tenant's namespace", name=repr(name[:80])),
            say("name a host outside of the cluster, or a Service of the namespace in full"),
        )


def _leads_elsewhere(name: str, namespace: str) -> bool:
    if networks([name]):
        return True  # proxies take an address for one
    labels = name.split(".")
    if len(labels) == 2:  # what a proxy's resolver completes
        return labels[1].startswith(PREFIXES) and labels[1] != namespace
    # Many clusters' DNS makes any address of a name below `pod`.
    return "pod" in labels[2:3] or ("svc" in labels[2:] and labels[labels.index("svc", 2) - 1] != namespace)


def _snippets(manifest: Manifest, place: str) -> Iterator[Finding]:
    """Tell what would be put word for word into the configuration of a proxy that serves every tenant."""
    annotations = mapping(mapping(manifest.body.get("metadata")).get("annotations"))
    named = sorted(str(key) for key in annotations if str(key).endswith("-snippet"))
    if named:
        yield Finding(
            Level.ERROR,
            "ingress-snippet",
            place,
            say("{named} would run as a part of the proxy that all tenants share", named=", ".join(named)[:200]),
            say("use the annotations that say what is wanted"),
        )


def _rights(manifest: Manifest, place: str) -> Iterator[Finding]:
    role = mapping(manifest.body.get("roleRef"))
    if manifest.kind == "RoleBinding" and role.get("kind") == "ClusterRole" and role.get("name") not in _HARMLESS_ROLES:
        yield Finding(
            Level.ERROR,
            "rights-of-the-cluster",
            place,
            say(
                "binds to the cluster's role {name}, which may reach beyond the app",
                name=repr(str(role.get("name"))[:80]),
            ),
            say("bind to a Role of the chart that lists what the app needs"),
        )
    for rule in items(manifest.body.get("rules")):
        listed = rule.get("resources")
        resources = {str(each).partition("/")[0] for each in listed} if isinstance(listed, list) else set()
        verbs = rule.get("verbs")
        reads = isinstance(verbs, list) and _READING.issuperset(str(each) for each in verbs)
        wide = sorted(resources & (_LIMITS if reads else _LIMITS | _LEADING))
        if wide:
            yield Finding(
                Level.ERROR,
                "rights-too-wide",
                place,
                say(
                    "gives rights on {wide}, by which an app could undo the limits of its namespace",
                    wide=", ".join(wide),
                ),
                say("list the resources that the app needs"),
            )
