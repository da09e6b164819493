"""A namespace for each tenant, and Helm shut up in it.

Helm renders a chart with the rights of the cluster's user: a chart may look up other tenants' Secrets, render
something else than it did offline, or bring hooks. So Helm acts as a user of its own for each namespace, who may do
there what Kubernetes' role `admin` may, and nothing anywhere else. The cluster itself enforces that, and by Pod
Security Admission also what pods may be. NetworkPolicies that we keep close the namespace to other tenants' pods.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from core.errors import Conflict, Rejected, Unavailable
from core.words import say
from engines.helm import Cluster
from engines.kubernetes.api import Api, Object
from engines.kubernetes.guard import Guard
from engines.kubernetes.kept import Releases
from engines.kubernetes.kubeconfig import Access
from engines.kubernetes.policies import OURS, TENANT
from engines.planning import mapping

GUARD = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "latest"}
#: The RoleBinding by which the tenant's user gets its rights.
BINDING = "breakwater-tenant"
#: How long `enter` waits for a namespace that is just being removed, and for new rights to be known everywhere.
NAMESPACE_SECONDS, RIGHTS_SECONDS = 45.0, 10.0
#: A namespace that holds one of these is in use, whoever made it.
_SIGNS_OF_USE = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Service", "PersistentVolumeClaim")


class Tenancy:
    """The tenants' namespaces on one cluster."""

    def __init__(self, access: Access, api: Api, releases: Releases, guard: Guard) -> None:
        self._access, self._api, self._releases, self._guard = access, api, releases, guard
        self._confines: bool | None = None

    def cluster(self, namespace: str) -> Cluster:
        """Return the cluster as Helm may see it in this namespace."""
        acting_as = tenant(namespace) if self._can_confine() else ""
        return Cluster(kubeconfig=self._access.kubeconfig(acting_as))

    def enter(self, namespace: str, going: Iterable[str] = ()) -> None:
        """Make the namespace ready for use, made by us when it is not there; `going` as for `Guard.keep`."""
        deadline = time.monotonic() + NAMESPACE_SECONDS
        while (
            mapping(mapping(found := self._api.find("Namespace", namespace)).get("status")).get("phase")
            == "Terminating"
        ):
            if time.monotonic() > deadline:
                raise Unavailable(say("The namespace {namespace} is still being removed", namespace=namespace))
            time.sleep(0.2)
        if found is None:
            with suppress(Conflict):  # made by another process just now
                self._api.create("Namespace", {"metadata": {"name": namespace, "labels": {**OURS, **GUARD}}})
        elif any(_labels(found).get(key) != value for key, value in OURS.items()) and TENANT not in _labels(found):
            # One that others made is no other tenant's, and by its mark the other tenants know that.
            self._api.patch("Namespace", namespace, "", {"metadata": {"labels": {TENANT: namespace}}})
        self._guard.keep(namespace, going)
        if self._can_confine():
            self._give_rights(namespace)

    def leave(self, namespace: str) -> None:
        """Take the namespace away when we made it and nothing is in it; take our binding from one that others made."""
        found = mapping(self._api.find("Namespace", namespace))
        if not found or self._releases.any_in(namespace):
            return
        labels = _labels(found)
        if any(labels.get(key) != value for key, value in OURS.items()):
            self._guard.release(namespace)
            if TENANT in labels:
                self._api.patch("Namespace", namespace, "", {"metadata": {"labels": {TENANT: None}}})
            self._api.delete_any("rbac.authorization.k8s.io/v1", "RoleBinding", namespace, BINDING)
            return
        for kind in _SIGNS_OF_USE:
            for each in self._api.all(kind, namespace):
                if not mapping(each.get("metadata")).get("deletionTimestamp"):
                    return
        self._api.delete_namespace(namespace)

    def _give_rights(self, namespace: str) -> None:
        user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": tenant(namespace)}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
        metadata = {"name": BINDING, "namespace": namespace, "labels": OURS}
        try:
            self._api.create("RoleBinding", {"metadata": metadata, "roleRef": role, "subjects": [user]})
        except Conflict:
            return  # there already
        deadline = time.monotonic() + RIGHTS_SECONDS
        while not self._api.allowed(namespace, "create", "secrets", user=tenant(namespace)):
            if time.monotonic() > deadline:
                raise Rejected(
                    say(
                        "The cluster gives the tenant of {namespace} no rights there; has it a role `admin`?",
                        namespace=namespace,
                    )
                )
            time.sleep(0.05)

    def _can_confine(self) -> bool:
        # A kubeconfig that may not impersonate is (one hopes) confined by whoever made it.
        if self._confines is None:
            self._confines = self._api.allowed("", "impersonate", "users")
        return self._confines


def _labels(found: Object | None) -> Mapping[str, Any]:
    return mapping(mapping(mapping(found).get("metadata")).get("labels"))


def tenant(namespace: str) -> str:
    """Return the name of the user as whom Helm acts in this namespace."""
    return f"breakwater:{namespace}"
