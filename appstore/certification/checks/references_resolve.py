"""Check `references-resolve`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import containers, items, mapping


class ReferencesResolve(Check):
    """ConfigMaps, Secrets, claims and accounts that pods refer to are in the chart, or said to be optional."""

    name = "references-resolve"
    title = say("What pods refer to is there")
    reason = say("A pod waits for ever for a ConfigMap that nobody makes.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (Option("given", ["mec-app-credentials"], "names of objects that the platform brings"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        present = {
            (each.kind, str(mapping(each.body.get("metadata")).get("name") or "")) for each in support.manifests(tools)
        }
        given = set(options["given"])
        for place, pod, _ in support.pods(tools):
            for kind, name, optional in _references(pod):
                if (kind, name) in present or optional or name in given or not name:
                    continue
                message = say(
                    "It refers to the {kind} {name}, which is not in the chart", kind=kind, name=repr(name[:80])
                )
                yield support.error("reference-missing", place, message, say("Add it, or mark the reference optional"))


def _references(pod: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield kind, name and whether the pod also starts without it."""
    for volume in items(pod.get("volumes")):
        sources = [volume, *items(mapping(volume.get("projected")).get("sources"))]
        for source in sources:
            for key, kind, member in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
                told = mapping(source.get(key))
                if told:
                    yield kind, str(told.get(member) or told.get("name") or ""), bool(told.get("optional"))
        claim = mapping(volume.get("persistentVolumeClaim")).get("claimName")
        if claim:
            yield "PersistentVolumeClaim", str(claim), False
    for container in containers(pod):
        for source in items(container.get("envFrom")):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                told = mapping(source.get(key))
                if told:
                    yield kind, str(told.get("name") or ""), bool(told.get("optional"))
        for variable in items(container.get("env")):
            origin = mapping(variable.get("valueFrom"))
            for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                told = mapping(origin.get(key))
                if told:
                    yield kind, str(told.get("name") or ""), bool(told.get("optional"))
