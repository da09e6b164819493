"""Keeps the NetworkPolicies of tenants' namespaces as they should be, and reads from the cluster what they depend on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from core.errors import Conflict, Rejected
from core.findings import Finding
from core.words import say
from engines import hosts
from engines.contract import EngineSettings, HostClaim, Manifest
from engines.kubernetes import enforcing, policies
from engines.kubernetes.api import Api, Object
from engines.limits import Isolation
from engines.planning import mapping

#: How long what the cluster's nodes say of its networks is believed, in seconds.
GROUND_SECONDS = 60.0
_OWNER = "meta.helm.sh/release-name"


class Guard:
    """The networks of the tenants on one cluster."""

    def __init__(self, api: Api, settings: EngineSettings) -> None:
        self._api, self._settings = api, settings
        self._ground: tuple[float, policies.Ground] | None = None
        self._lock = threading.Lock()

    def ground(self) -> policies.Ground:
        """Return the networks of the cluster, asked anew from time to time."""
        with self._lock:
            now = time.monotonic()
            if self._ground is None or now - self._ground[0] > GROUND_SECONDS:
                nodes = self._api.all("Node")
                made = policies.ground(nodes, self._settings.pod_networks, self._settings.ue_networks)
                self._ground = (now, made)
            return self._ground[1]

    def findings(
        self, everything: Sequence[Manifest], claimed: Sequence[HostClaim], namespace: str
    ) -> Iterator[Finding]:
        """Tell what only the cluster knows: policies that let other tenants' pods in, hosts that others have."""
        yield from policies.policy_findings(everything, namespace, self.ground())
        if claimed:
            yield from hosts.taken(claimed, self._api.everywhere("Ingress"), namespace)

    def isolation(self) -> Isolation:
        """Return whether the cluster enforces policies, as far as its network plugin tells."""
        return enforcing.isolation(self._api.everywhere("DaemonSet"), self._api.all("Node"))

    def keep(self, namespace: str, going: Iterable[str] = ()) -> None:
        """Make our policies in a namespace as they should be; `going` names those of charts not to count on.

        What somebody removed or changed comes back. Whoever else has policies there, the cluster's owner too, is counted on:
        ours would open what those close.
        """
        try:
            self._keep(namespace, frozenset(going))
        except Rejected as problem:
            raise Rejected(
                say(
                    "The NetworkPolicies that keep tenants apart cannot be kept in {namespace}: {problem}. The user of the "
                    "node's kubeconfig needs to list, create, change and delete NetworkPolicies and to list nodes",
                    namespace=namespace,
                    problem=problem.detail,
                )
            ) from problem

    def _keep(self, namespace: str, without: frozenset[str]) -> None:
        present = self._api.all(policies.KIND, namespace)
        others = [each for each in present if not _ours(each) and _name(each) not in without]
        here = {_name(each): each for each in present if _ours(each)}
        wanted = {each["metadata"]["name"]: each for each in policies.wanted(namespace, others, self.ground())}
        # New ones first, so that no pod is without one in between.
        for name, body in wanted.items():
            if name not in here:
                with suppress(Conflict):  # made by another process just now
                    self._api.create(policies.KIND, body)
            elif here[name].get("spec") != body["spec"]:
                self._api.replace(policies.KIND, body)
        for name in here.keys() - wanted.keys():
            self._delete(namespace, name)

    def release(self, namespace: str) -> None:
        """Take our policies away from a namespace that others made."""
        for each in self._api.all(policies.KIND, namespace):
            if _ours(each):
                self._delete(namespace, _name(each))

    def going(self, release: str, namespace: str, coming: Sequence[Manifest]) -> set[str]:
        """Return which policies of a release go, or select other pods, when it becomes `coming`."""
        new = {each.name: each.body for each in coming if each.kind == policies.KIND}
        return {
            _name(each)
            for each in self._api.all(policies.KIND, namespace)
            if _owner(each) == release
            and not (_name(each) in new and policies.same(each, new[_name(each)]))
        }  # fmt: skip

    def _delete(self, namespace: str, name: str) -> None:
        self._api.delete_any(policies.VERSION, policies.KIND, namespace, name)


def _name(each: Object) -> str:
    return str(mapping(each.get("metadata")).get("name", ""))


def _ours(each: Object) -> bool:
    return _name(each).startswith(policies.NAME)


def _owner(each: Object) -> str:
    return str(mapping(mapping(each.get("metadata")).get("annotations")).get(_OWNER, ""))
