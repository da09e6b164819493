"""Trials on a cluster: figures of its metrics-server, pods deleted without grace, Services reached through the API server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from core.errors import Invalid, Missing
from core.words import say
from engines.kubernetes.api import Object
from engines.kubernetes.engine import KubernetesEngine
from engines.planning import containers, items, mapping, quantity
from engines.trials import Request, Trials, Usage

#: What a removed release could leave in its namespace.
KINDS = (
    "Pod", "Service", "Secret", "PersistentVolumeClaim", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job",
    "CronJob",
)  # fmt: skip


class KubernetesTrials(Trials[KubernetesEngine]):
    """One cluster, asked through its API alone."""

    def usage(self, name: str, namespace: str) -> list[Usage]:
        api = self.engine.site.api
        try:
            measured = api.metrics(namespace)
        except Missing:
            raise Invalid(say("The cluster has no metrics-server, so nothing tells what its pods take")) from None
        figures = {
            (_name(pod), str(each.get("name"))): mapping(each.get("usage"))
            for pod in measured
            for each in items(pod.get("containers"))
        }
        found = []
        for pod in self._pods(name, namespace):
            killed = _killed(pod)
            for each in containers(mapping(pod.get("spec"))):
                own = str(each.get("name"))
                usage = figures.get((_name(pod), own), {})
                limits = mapping(mapping(each.get("resources")).get("limits"))
                found.append(
                    Usage(
                        pod=_name(pod),
                        container=own,
                        memory_bytes=int(quantity(usage.get("memory", 0))),
                        memory_limit=int(quantity(limits.get("memory", 0))),
                        cpu_millis=int(quantity(usage.get("cpu", 0)) * 1000),
                        cpu_limit=int(quantity(limits.get("cpu", 0)) * 1000),
                        out_of_memory=killed.get(own, 0),
                    )
                )
        return found

    def kill(self, name: str, namespace: str) -> list[str]:
        killed = []
        for pod in self._pods(name, namespace):
            self.engine.site.api.kill_pod(_name(pod), namespace)
            killed += [f"{_name(pod)}/{each.get('name')}" for each in containers(mapping(pod.get("spec")))]
        return killed

    def ask(self, name: str, namespace: str, request: Request) -> dict[str, Any]:
        service = next(
            (
                each.service
                for each in self.engine.status(name, namespace).endpoints
                if each.cluster_port == request.port and each.protocol == "TCP"
            ),
            "",
        )
        if not service:
            raise Invalid(say("No Service of the application has TCP port {port}", port=request.port), field="port")
        began = time.monotonic()
        scheme = "https:" if request.scheme == "https" else ""
        told = self.engine.site.api.through(
            namespace, f"{scheme}{service}:{request.port}", request.path, request.timeout
        )
        return {**told, "milliseconds": round((time.monotonic() - began) * 1000, 1)}

    def leftovers(self, name: str, namespace: str) -> list[str]:
        api = self.engine.site.api
        space = api.find("Namespace", namespace)
        if space is None:
            return []
        found = [f"{kind} {_name(each)}" for kind in KINDS for each in api.all(kind, namespace)]
        return [*found, f"namespace {namespace}"]

    def _pods(self, name: str, namespace: str) -> list[Object]:
        """Return the release's pods that are not on their way out."""
        pods = self.engine.site.look.pods(name, namespace)
        return [each for each in pods if not mapping(each.get("metadata")).get("deletionTimestamp")]


def _killed(pod: Object) -> dict[str, int]:
    """Return how often each container of a pod was killed for its memory, as far as its status still tells."""
    found = {}
    for each in items(mapping(pod.get("status")).get("containerStatuses")):
        ends = [mapping(mapping(each.get(state)).get("terminated")) for state in ("state", "lastState")]
        if any(end.get("reason") == "OOMKilled" for end in ends):
            found[str(each.get("name"))] = 1
    return found


def _name(each: Mapping[str, Any]) -> str:
    return str(mapping(each.get("metadata")).get("name", ""))
