"""ConfigMaps, Secrets and the downward API as environment and files."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.planning import items, mapping
from engines.pods.wanted import File, Variable

POD_FIELDS = frozenset(
    ["metadata.name", "metadata.namespace", "metadata.uid", "status.podIP", "status.podIPs", "status.hostIP",
     "spec.nodeName", "spec.serviceAccountName"]
)  # fmt: skip


class Sources:
    """What the chart's own ConfigMaps and Secrets hold; whatever is asked for and absent becomes a finding."""

    def __init__(self, manifests: Sequence[Manifest], findings: list[Finding]) -> None:
        self.findings = findings
        self._held: dict[tuple[str, str], dict[str, bytes]] = {}
        for manifest in manifests:
            if manifest.kind in {"ConfigMap", "Secret"}:
                self._held[manifest.kind, manifest.name] = self._data(manifest)

    def _data(self, manifest: Manifest) -> dict[str, bytes]:
        body, held = manifest.body, {}
        plain, coded = ("stringData", "data") if manifest.kind == "Secret" else ("data", "binaryData")
        for key, text in mapping(body.get(coded)).items():
            try:
                held[str(key)] = base64.b64decode("".join(str(text).split()), validate=True)
            except (binascii.Error, ValueError):
                place = f"{manifest.kind}/{manifest.name}"
                self._error(
                    place, "not-base64", say("{coded}.{key} is no base64", coded=coded, key=key), say("encode it")
                )
        for key, text in mapping(body.get(plain)).items():
            held[str(key)] = str(text).encode()
        return held

    def _error(self, place: str, code: str, message: str, remedy: str) -> None:
        self.findings.append(Finding(Level.ERROR, code, place, message, remedy))

    def _get(self, place: str, kind: str, reference: Mapping[str, Any], name_key: str = "name") -> dict[str, bytes]:
        name = str(reference.get(name_key) or "")
        found = self._held.get((kind, name))
        if found is None and not reference.get("optional"):
            self._error(
                place,
                "config-missing",
                say("wants {kind} {name}, which the chart does not bring", kind=kind, name=repr(name)),
                say("add it"),
            )
        return found or {}

    # Environment

    def variables(self, place: str, container: Mapping[str, Any]) -> tuple[Variable, ...]:
        """Return the environment of a container, `envFrom` first as in Kubernetes; later names win."""
        found: dict[str, Variable] = {}
        for entry in items(container.get("envFrom")):
            prefix = str(entry.get("prefix") or "")
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in entry:
                    for name, body in self._get(place, kind, mapping(entry[key])).items():
                        found[prefix + name] = Variable(prefix + name, body.decode(errors="replace"))
        for entry in items(container.get("env")):
            name = str(entry.get("name") or "")
            if not name or "=" in name or "\0" in name:
                self._error(
                    place,
                    "variable-name",
                    say("{name} is no name of a variable", name=repr(name[:80])),
                    say("correct it"),
                )
                continue
            variable = self._variable(place, name, entry, container)
            if variable is not None:
                found.pop(name, None)  # a variable that refers to others must come after them
                found[name] = variable
        return tuple(found.values())

    def _variable(
        self, place: str, name: str, entry: Mapping[str, Any], container: Mapping[str, Any]
    ) -> Variable | None:
        source = mapping(entry.get("valueFrom"))
        if not source:
            value = entry.get("value")
            return Variable(name, "" if value is None else str(value))
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if key in source:
                reference = mapping(source[key])
                held = self._get(place, kind, reference)
                wanted = str(reference.get("key") or "")
                if wanted in held:
                    return Variable(name, held[wanted].decode(errors="replace"))
                if held and not reference.get("optional"):
                    where = f"{kind} {reference.get('name')!r}"
                    self._error(
                        place,
                        "config-missing",
                        say("wants the key {wanted} of {where}, which is absent", wanted=repr(wanted), where=where),
                        say("add it"),
                    )
                return None
        if "fieldRef" in source:
            field = str(mapping(source["fieldRef"]).get("fieldPath") or "")
            if field in POD_FIELDS or field.startswith(("metadata.labels[", "metadata.annotations[")):
                return Variable(name, pod_field=field)
            self._error(
                place,
                "field-reference",
                say("{field} is not known here", field=repr(field)),
                say("use one of {pod_fields}", pod_fields=sorted(POD_FIELDS)),
            )
            return None
        if "resourceFieldRef" in source:
            asked = str(mapping(source["resourceFieldRef"]).get("resource") or "")
            verb, _, what = asked.partition(".")
            value = mapping(mapping(container.get("resources")).get(verb)).get(what, "0")
            return Variable(name, str(value))
        self._error(
            place,
            "variable-source",
            say("{name} comes from somewhere unknown", name=name),
            say("use a value or a ConfigMap"),
        )
        return None

    # Files

    def files(self, place: str, volume: Mapping[str, Any]) -> tuple[File, ...] | None:
        """Return the files of a ConfigMap, Secret, downwardAPI or projected volume; None for any other kind."""
        if "configMap" in volume:
            return self._chosen(place, "ConfigMap", mapping(volume["configMap"]), "name")
        if "secret" in volume:
            return self._chosen(place, "Secret", mapping(volume["secret"]), "secretName")
        if "projected" in volume:
            projected = mapping(volume["projected"])
            found: list[File] = []
            for source in items(projected.get("sources")):
                shared = {"defaultMode": projected.get("defaultMode")}
                if "configMap" in source:
                    found += self._chosen(place, "ConfigMap", {**shared, **mapping(source["configMap"])}, "name")
                elif "secret" in source:
                    found += self._chosen(place, "Secret", {**shared, **mapping(source["secret"])}, "name")
                else:
                    return None
            return tuple(found)
        return None

    def _chosen(self, place: str, kind: str, source: Mapping[str, Any], name_key: str) -> tuple[File, ...]:
        held = self._get(place, kind, source, name_key)
        mode = _mode(source.get("defaultMode"), 0o644)
        if "items" not in source:
            return tuple(File(key, body, mode) for key, body in held.items() if self._inside(place, key))
        found = []
        for item in items(source.get("items")):
            key, path = str(item.get("key") or ""), str(item.get("path") or "")
            if key not in held:
                if not source.get("optional"):
                    self._error(
                        place,
                        "config-missing",
                        say("wants the key {key} of {kind}, which is absent", key=repr(key), kind=kind),
                        say("add it"),
                    )
            elif self._inside(place, path):
                found.append(File(path, held[key], _mode(item.get("mode"), mode)))
        return tuple(found)

    def _inside(self, place: str, path: str) -> bool:
        pure = PurePosixPath(path)
        if path and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path and pure.parts:
            return True
        self._error(
            place,
            "file-path",
            say("{path} would lie outside of its volume", path=repr(path[:200])),
            say("use a relative path"),
        )
        return False


def _mode(value: Any, default: int) -> int:
    return value & 0o777 if isinstance(value, int) and not isinstance(value, bool) else default
