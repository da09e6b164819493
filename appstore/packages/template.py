"""The texts inside a package that we write: manifest, TOSCA.meta, service template and its types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from core import yamls
from core.appd import AppDescriptor
from core.errors import Invalid
from core.words import say

ENTRY = "APPD/Definition/MainServiceTemplate.yaml"
TYPES = "APPD/Definition/MecAppDTypes.yaml"
_MEC_VERSION = "3.1.1"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def file_name(name: str) -> str:
    """Return `name` as one harmless file name."""
    return _UNSAFE.sub("-", name).strip("-.")[:80] or "app"


def chart_name(chart_yaml: bytes) -> str:
    """Return the name in a Chart.yaml of our own."""
    name = (yamls.load(chart_yaml.decode(errors="replace"), "Chart.yaml") or {}).get("name")
    if not isinstance(name, str) or file_name(name) != name:
        raise Invalid(say("Chart.yaml has no usable name"))
    return name


def tosca_meta(appd: AppDescriptor, manifest: str, members: Iterable[str]) -> bytes:
    """TOSCA.meta as NFV-SOL 004 V3.3.1, 4.1.2.2 wants it; the blocks after it are EdgeGallery's."""
    del appd
    blocks = [
        [
            "TOSCA-Meta-File-Version: 1.0",
            "CSAR-Version: 1.1",
            "Created-By: Breakwater",
            f"Entry-Definitions: {ENTRY}",
            f"ETSI-Entry-Manifest: {manifest}",
            "ETSI-Entry-Change-Log: Artifacts/ChangeLog.txt",
        ],
        [f"Name: {ENTRY}", "Content-Type: appd"],
    ]
    if "Image/SwImageDesc.json" in set(members):
        blocks.append(["Name: Image/SwImageDesc.json", "Content-Type: SwImageDesc"])
    return "\n\n".join("\n".join(block) for block in blocks).encode() + b"\n"


def manifest(appd: AppDescriptor, metadata: Mapping[str, str], digests: Mapping[str, str]) -> bytes:
    """The manifest with the names of MEC 037, 6.3 and those of EdgeGallery, and a digest for every member."""
    values = {
        "vnfd_id": appd.app_d_id,
        "vnf_provider_id": appd.provider,
        "vnf_product_name": appd.name,
        "vnf_release_date_time": metadata["released_at"],
        "vnf_software_version": appd.version,
        "vnf_package_version": appd.version,
        "compatible_specification_versions": "3.3.1",
        "mec_versions": ",".join(appd.mec_versions) or _MEC_VERSION,
        "vnfm_info": "etsivnfm:v2.3.1",
        "app_info_name": appd.name,
        "app_description": appd.description,
        "app_product_name": appd.name,
        "app_provider_id": appd.provider,
        "app_package_version": appd.version,
        "app_release_data_time": metadata["released_at"],
        "app_type": appd.app_class,
        "app_class": appd.app_class,
        "app_package_description": appd.description,
    }
    values |= {key: value for key, value in metadata.items() if key != "released_at"}
    for key, value in values.items():
        if "\n" in value or "\r" in value:
            values[key] = " ".join(value.split())
    lines = ["metadata:", *(f"{key}: {value}" for key, value in values.items() if value), ""]
    for member, digest in sorted(digests.items()):
        lines += [f"Source: {member}", "Algorithm: SHA-256", f"Hash: {digest}", ""]
    return "\n".join(lines).encode()


def definitions(appd: AppDescriptor) -> dict[str, bytes]:
    """The files under `APPD/`: the service template, its types, and EdgeGallery's pointer to it."""
    meta = (
        "VNFD-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-by: Breakwater\n"
        "Entry-Definitions: Definition/MainServiceTemplate.yaml\n"
    )
    return {
        "APPD/TOSCA_VNFD.meta": meta.encode(),
        ENTRY: _dump(_service_template(appd)),
        TYPES: _TYPES_NOTE + _dump(_types()),
    }


def _service_template(appd: AppDescriptor) -> dict[str, Any]:
    nodes: dict[str, Any] = {"app": {"type": "breakwater.nodes.mec.App", "properties": _mec_app(appd)}}
    if appd.chart:
        nodes["mciop"] = {
            "type": "tosca.nodes.nfv.Mciop",
            "artifacts": {"helm_chart": {"type": "tosca.artifacts.nfv.HelmChart", "file": f"../../{appd.chart}"}},
        }
    nodes["container"] = _container(appd)
    nodes["app_configuration"] = {
        "type": "tosca.nodes.nfv.app.configuration",
        "properties": {
            "appSupportMp1": True,
            "appName": appd.name,
            "appServiceRequired": [s.to_dict() for s in appd.services_required],
            "appServiceOptional": [s.to_dict() for s in appd.services_optional],
            "appServiceProduced": [s.to_dict() for s in appd.services_produced],
            "appTrafficRule": [dict(rule) for rule in appd.traffic_rules],
            "appDNSRule": [dict(rule) for rule in appd.dns_rules],
        },
    }
    return {
        "tosca_definitions_version": "tosca_simple_yaml_1_3",
        "description": f"Application descriptor of {appd.name}",
        "metadata": {"template_name": appd.name, "template_author": appd.provider, "template_version": appd.version},
        "imports": ["MecAppDTypes.yaml"],
        "topology_template": {"node_templates": nodes},
    }


def _mec_app(appd: AppDescriptor) -> dict[str, Any]:
    """Properties of `tosca.nodes.mec.MecApp` (MEC 037), in its snake case spelling."""
    properties: dict[str, Any] = {
        "descriptor_id": appd.app_d_id,
        "descriptor_version": appd.appd_version,
        "provider": appd.provider,
        "product_name": appd.name,
        "software_version": appd.version,
        "product_info_name": appd.name,
        "product_info_description": appd.description,
        "vnfm_info": ["etsivnfm:v2.3.1"],
        "flavour_id": "default",
        "flavour_description": "One instance",
        "mec_version": list(appd.mec_versions) or [_MEC_VERSION],
        "app_service_required": [_snake(s.to_dict()) for s in appd.services_required],
        "app_service_optional": [_snake(s.to_dict()) for s in appd.services_optional],
        "app_service_produced": [_snake(s.to_dict()) for s in appd.services_produced],
        "app_feature_required": [_snake(f.to_dict()) for f in appd.features_required],
        "app_feature_optional": [_snake(f.to_dict()) for f in appd.features_optional],
        "app_traffic_rule": [_hyphened(_snake(dict(rule))) for rule in appd.traffic_rules],
        "app_dns_rule": [_snake(dict(rule)) for rule in appd.dns_rules],
    }
    if appd.max_latency_ms:
        properties["app_latency"] = {"max_latency": appd.max_latency_ms}
    properties["terminate_app_instance_op_config"] = {
        "min_graceful_termination_timeout": appd.graceful_termination_timeout
    }
    return {key: value for key, value in properties.items() if value not in ([], "")}


def _container(appd: AppDescriptor) -> dict[str, Any]:
    """What the application asks for, as one `Vdu.Compute`, which EdgeGallery reads too (MB and GB)."""
    compute = appd.compute
    return {
        "type": "tosca.nodes.nfv.Vdu.Compute",
        "properties": {
            "name": appd.name,
            "description": "What all containers need together",
            "sw_image_data": {"name": ", ".join(image.name for image in appd.images)},
            "vdu_profile": {"min_number_of_instances": 1, "max_number_of_instances": 1},
        },
        "capabilities": {
            "virtual_compute": {
                "properties": {
                    "virtual_memory": {"virtual_mem_size": -(-compute.memory_bytes // (1 << 20))},
                    "virtual_cpu": {
                        "num_virtual_cpu": _whole(compute.cpu_millis / 1000),
                        "cpu_architecture": compute.architecture or "X86",
                    },
                    "virtual_local_storage": {"size_of_storage": _whole(compute.storage_bytes / (1 << 30))},
                }
            }
        },
    }


def _whole(number: float) -> int | float:
    return int(number) if number == int(number) else round(number, 3)


def _snake(value: Any) -> Any:
    """Spell member names as MEC 037 does: `tunnelDstAddress` is `tunnel_dst_address`."""
    if isinstance(value, Mapping):
        return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower(): _snake(inner) for key, inner in value.items()}
    return [_snake(inner) for inner in value] if isinstance(value, list | tuple) else value


def _hyphened(rule: dict[str, Any]) -> dict[str, Any]:
    """MEC 037 writes GTP-U where MEC 011 writes GTP_U."""
    for target in rule.get("dst_interface", ()):
        tunnel = target.get("tunnel_info", {})
        if tunnel.get("tunnel_type") == "GTP_U":
            tunnel["tunnel_type"] = "GTP-U"
    return rule


_TYPES_NOTE = b"# Type definitions for MEC application descriptors, written for Breakwater after ETSI GS MEC 037.\n"


def _types() -> dict[str, Any]:
    def listing(kind: str = "map") -> dict[str, Any]:
        return {"type": "list", "required": False, "entry_schema": {"type": kind}}

    text = {"type": "string", "required": True}
    mec = {
        name: listing()
        for name in (
            "app_service_required",
            "app_service_optional",
            "app_service_produced",
            "app_feature_required",
            "app_feature_optional",
            "app_traffic_rule",
            "app_dns_rule",
        )
    }
    vnf = {
        name: dict(text)
        for name in ("descriptor_id", "descriptor_version", "provider", "product_name", "software_version")
    }
    optional = {"type": "string", "required": False}
    vnf |= {
        name: dict(optional)
        for name in (
            "product_info_name",
            "product_info_description",
            "flavour_id",
            "flavour_description",
        )
    }
    return {
        "tosca_definitions_version": "tosca_simple_yaml_1_3",
        "node_types": {
            "tosca.nodes.nfv.VNF": {
                "derived_from": "tosca.nodes.Root",
                "properties": {**vnf, "vnfm_info": listing("string")},
            },
            "tosca.nodes.mec.MecApp": {
                "derived_from": "tosca.nodes.nfv.VNF",
                "properties": {
                    "mec_version": {"type": "list", "required": True, "entry_schema": {"type": "string"}},
                    **mec,
                    "terminate_app_instance_op_config": {
                        "type": "map",
                        "required": False,
                        "entry_schema": {"type": "integer"},
                    },
                    "app_latency": {"type": "map", "required": False, "entry_schema": {"type": "integer"}},
                },
            },
            "breakwater.nodes.mec.App": {"derived_from": "tosca.nodes.mec.MecApp"},
            "tosca.nodes.nfv.Mciop": {"derived_from": "tosca.nodes.Root"},
            "tosca.nodes.nfv.Vdu.Compute": {"derived_from": "tosca.nodes.Root"},
            "tosca.nodes.nfv.app.configuration": {"derived_from": "tosca.nodes.Root"},
        },
        "artifact_types": {"tosca.artifacts.nfv.HelmChart": {"derived_from": "tosca.artifacts.Root"}},
    }


class _Dumper(yaml.SafeDumper):
    """Writes repeated values out in full: readers refuse or distrust aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _dump(data: Any) -> bytes:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text.encode()
