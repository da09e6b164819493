"""What a tenant's chart may not bring to a cluster that tenants share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.planning import CLUSTER_SCOPED, host_findings, items, mapping

#: What a chart may bind its service accounts to: looking, and that without Secrets.
_HARMLESS_ROLES = frozenset(["view"])


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
        if manifest.kind == "Ingress":
            yield from _snippets(manifest, place)
        if manifest.kind in {"Role", "RoleBinding"}:
            yield from _rights(manifest, place)


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
        wide = sorted(resources & {"*", "namespaces", "roles", "rolebindings", "networkpolicies"})
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
