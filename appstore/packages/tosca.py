"""Reading TOSCA service templates (Simple Profile in YAML 1.2 and 1.3) as far as an application descriptor needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.appd import (
    Compute,
    read_dns_rules,
    read_features,
    read_produced,
    read_required,
    read_traffic_rules,
)
from core.appd.reading import Members
from core.archives import Damaged
from core.findings import Finding, Level
from core.words import say

EDGEGALLERY_APP = "tosca.nodes.nfv.app.configuration"
MEC_APP = "tosca.nodes.mec.MecApp"
_SIZE = re.compile(r"^\s*(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?i?B?)\s*\Z", re.IGNORECASE)
_UNITS = {"": 0, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_DEEPEST_DERIVATION = 16


@dataclass(frozen=True, slots=True)
class Node:
    """One node template with its inputs resolved."""

    name: str
    type: str
    properties: Mapping[str, Any]
    capabilities: Mapping[str, Any]
    artifacts: Mapping[str, Any]
    place: str


@dataclass(slots=True)
class Template:
    """A service template: its nodes, and from which type each node type is derived."""

    place: str
    version: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    derived: dict[str, str] = field(default_factory=dict)

    def is_a(self, node: Node, wanted: str) -> bool:
        """Tell whether the type of `node` is `wanted` or derived from it."""
        kind = node.type
        for _ in range(_DEEPEST_DERIVATION):
            if kind == wanted:
                return True
            kind = self.derived.get(kind, "")
        return False

    def of_type(self, wanted: str) -> list[Node]:
        """Return the nodes of a type or of one derived from it."""
        return [node for node in self.nodes if self.is_a(node, wanted)]


def read_template(document: Any, place: str, findings: list[Finding]) -> Template:
    """Read a service template; `Damaged` when the document is none."""
    if not isinstance(document, Mapping) or not isinstance(document.get("topology_template"), Mapping):
        raise Damaged(
            "template-invalid",
            say("{place} is no TOSCA service template: it has no topology_template", place=place),
            place,
        )
    version = str(document.get("tosca_definitions_version") or "")
    if not version.startswith("tosca_simple"):
        message = say("Its tosca_definitions_version is {version}", version=version[:60] or "missing")
        findings.append(Finding(Level.WARNING, "template-version", place, message, say("Use tosca_simple_yaml_1_3")))
    topology = document["topology_template"]
    inputs = _mapping(topology.get("inputs"))
    template = Template(place, version, _mapping(document.get("metadata")), _imports(document.get("imports")))
    add_types(template, document)
    nodes = [*_mapping(topology.get("node_templates")).items()]
    mappings = topology.get("substitution_mappings")
    if isinstance(mappings, Mapping) and mappings.get("properties"):
        # MEC 037 lets the descriptor's properties stand here; one without values of its own is no node.
        nodes.append(("substitution_mappings", {"type": mappings.get("node_type"), **mappings}))
    for name, raw in nodes:
        where = f"{place}: {name}"
        if not isinstance(raw, Mapping):
            findings.append(Finding(Level.ERROR, "template-invalid", where, say("The node template is no object")))
            continue
        template.nodes.append(
            Node(
                str(name),
                str(raw.get("type") or ""),
                _resolved(_mapping(raw.get("properties")), inputs),
                _resolved(_mapping(raw.get("capabilities")), inputs),
                _mapping(raw.get("artifacts")),
                where,
            )
        )
    return template


def add_types(template: Template, document: Any) -> None:
    """Add the node types that a template or an imported file defines."""
    for name, raw in _mapping(_mapping(document).get("node_types")).items():
        parent = _mapping(raw).get("derived_from")
        if isinstance(parent, str):
            template.derived.setdefault(str(name), parent)


def describe(properties: Mapping[str, Any], place: str, findings: list[Finding]) -> dict[str, Any]:
    """Return services, features and rules of an application node, as arguments of `AppDescriptor`.

    EdgeGallery's `appServiceRequired` and MEC 037's `app_service_required` are one name here.
    """
    members = Members(properties, place, findings)

    def part(name: str) -> tuple[Any, str]:
        return members.take(name), f"{place}.{name}"

    latency = Members(members.take("appLatency", "app_latency") or {}, f"{place}.appLatency", findings)
    longest = latency.number("maxLatency", "maxRtt", low=0, high=86_400_000)
    ending = Members(
        members.take("terminateAppInstanceOpConfig") or {}, f"{place}.terminateAppInstanceOpConfig", findings
    )
    # MEC 010-2, 6.2.1.20: in seconds.
    grace = ending.number("minGracefulTerminationTimeout", low=0, high=600)
    return {
        "services_required": read_required(*part("appServiceRequired"), findings),
        "services_optional": read_required(*part("appServiceOptional"), findings),
        "services_produced": read_produced(*part("appServiceProduced"), findings),
        "features_required": read_features(*part("appFeatureRequired"), findings),
        "features_optional": read_features(*part("appFeatureOptional"), findings),
        "traffic_rules": read_traffic_rules(*part("appTrafficRule"), findings),
        "dns_rules": read_dns_rules(*part("appDNSRule"), findings),
        "max_latency_ms": longest or 0,
        **({} if grace is None else {"graceful_termination_timeout": grace}),
    }


def says_more(described: Mapping[str, Any]) -> bool:
    """Tell whether any service, feature or rule was described."""
    return any(described.values())


def compute_of(template: Template, findings: list[Finding]) -> Compute:
    """Return the sum over all compute nodes times their first number of instances."""
    cpu = memory = storage = 0
    architecture = ""
    for node in template.of_type("tosca.nodes.nfv.Vdu.Compute"):
        profile = Members(node.properties.get("vdu_profile") or {}, f"{node.place}.vdu_profile", [])
        times = profile.number("initial_number_of_instances", low=1, high=1000) or 1
        wanted = _mapping(_mapping(node.capabilities.get("virtual_compute")).get("properties"))
        processor = _mapping(wanted.get("virtual_cpu"))
        cpu += times * _millis(processor.get("num_virtual_cpu"), node, findings)
        size = _mapping(wanted.get("virtual_memory")).get("virtual_mem_size")
        memory += times * _bytes(size, 1 << 20, node, "virtual_mem_size", findings)
        for disk in _disks(wanted.get("virtual_local_storage")):
            storage += times * _bytes(disk.get("size_of_storage"), 1 << 30, node, "size_of_storage", findings)
        architecture = architecture or str(processor.get("cpu_architecture") or "")[:40]
    return Compute(cpu, memory, storage, architecture)


def image_references(template: Template) -> list[str]:
    """Return the image names that compute nodes mention; EdgeGallery writes several with commas."""
    found: list[str] = []
    for node in template.nodes:
        data = node.properties.get("sw_image_data")
        name = _mapping(data).get("name")
        if isinstance(name, str):
            found += [part.strip() for part in name.split(",") if part.strip()]
    return list(dict.fromkeys(found))


def artifact_files(template: Template) -> Iterator[tuple[str, str]]:
    """Yield `(type, file)` of every artifact of every node."""
    for node in template.nodes:
        for raw in node.artifacts.values():
            artifact = _mapping(raw)
            if isinstance(artifact.get("file"), str):
                yield str(artifact.get("type") or ""), artifact["file"]


def _millis(value: Any, node: Node, findings: list[Finding]) -> int:
    if value is None:
        return 0
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text):
        findings.append(
            Finding(
                Level.ERROR,
                "appd-invalid",
                f"{node.place}.num_virtual_cpu",
                say("{text} is no number of CPUs", text=repr(text[:40])),
            )
        )
        return 0
    return round(float(text) * 1000)


def _bytes(value: Any, unit: int, node: Node, name: str, findings: list[Finding]) -> int:
    """Return a size in bytes; a plain number counts in `unit` (EdgeGallery), else the unit is written (TOSCA)."""
    if value is None:
        return 0
    match = _SIZE.match(str(value))
    if not match or match[2].lower() not in _UNITS:
        findings.append(
            Finding(
                Level.ERROR,
                "appd-invalid",
                f"{node.place}.{name}",
                say("{value} is no size", value=repr(str(value)[:40])),
            )
        )
        return 0
    return round(float(match[1]) * (_UNITS[match[2].lower()] or unit))


def _disks(value: Any) -> list[Mapping[str, Any]]:
    """Return local disks: one object, or a list of them, or a list of objects by name."""
    if isinstance(value, Mapping):
        return [value]
    return [disk for disk in value if isinstance(disk, Mapping)] if isinstance(value, list) else []


def _imports(raw: Any) -> list[str]:
    entries = raw if isinstance(raw, list) else []
    found = []
    for entry in entries[:64]:
        if isinstance(entry, Mapping):
            entry = entry.get("file") or next((v for v in entry.values() if isinstance(v, str)), "")
        if isinstance(entry, str) and entry:
            found.append(entry)
    return found


def _resolved(value: Any, inputs: Mapping[str, Any], depth: int = 0) -> Any:
    """Replace `{get_input: name}` by the default of that input."""
    if depth > 40:
        return None
    if isinstance(value, Mapping):
        if list(value) == ["get_input"]:
            return _mapping(inputs.get(value["get_input"]) if isinstance(value["get_input"], str) else None).get(
                "default"
            )
        return {key: _resolved(inner, inputs, depth + 1) for key, inner in value.items()}
    return [_resolved(inner, inputs, depth + 1) for inner in value] if isinstance(value, list) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
