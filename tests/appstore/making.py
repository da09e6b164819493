"""Packages to test with: real samples, and small ones of every layout that are made on the spot."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

CHART_YAML = "apiVersion: v2\nname: hello\nversion: 1.2.0\ndescription: Says hello\nmaintainers: [{name: Acme}]\n"
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hello}\n"


def sample(name: str) -> Path:
    """A real package of EdgeGallery; skips the test where the samples are not at hand."""
    folder = Path(os.environ.get("TEST_SAMPLES", Path(__file__).resolve().parents[3] / "shared" / "samples"))
    path = folder / name
    if not path.exists():
        pytest.skip(f"the sample package {name} is not here; set TEST_SAMPLES to its folder")
    return path


def tar_bytes(files: Mapping[str, bytes | str], *, packed: bool = False) -> bytes:
    """A tar with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            body = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return gzip.compress(out.getvalue(), mtime=0) if packed else out.getvalue()


def zip_bytes(files: Mapping[str, bytes | str]) -> bytes:
    """A zip with these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)  # of 1980, so that the same files are the same bytes
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(member, content)
    return out.getvalue()


def chart_bytes(name: str = "hello", **files: str) -> bytes:
    """A packed Helm chart; more files by path with `__` for slashes and dots as they are."""
    content: dict[str, bytes | str] = {
        f"{name}/Chart.yaml": CHART_YAML.replace("name: hello", f"name: {name}"),
        f"{name}/values.yaml": "replicas: 1\n",
        f"{name}/templates/hello.yaml": DEPLOYMENT,
    }
    content |= {f"{name}/{path}": text for path, text in files.items()}
    return tar_bytes({path: text for path, text in content.items() if text}, packed=True)


def image_bytes(name: str = "localhost/breakwater/hello:1.0", layer: bytes = b"layer") -> bytes:
    """A docker-archive of one image."""
    manifest = [{"Config": "config.json", "RepoTags": [name] if name else None, "Layers": ["layer.tar"]}]
    config = {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}}
    return tar_bytes({"config.json": json.dumps(config), "layer.tar": layer, "manifest.json": json.dumps(manifest)})


TEMPLATE = """
tosca_definitions_version: tosca_simple_profile_yaml_1_2
topology_template:
  inputs:
    app_name: {type: string, default: hello}
  node_templates:
    logic0:
      type: tosca.nodes.nfv.Vdu.Compute
      properties: {name: logic0, sw_image_data: {name: "localhost/breakwater/hello:1.0"}}
      capabilities:
        virtual_compute:
          properties:
            virtual_memory: {virtual_mem_size: 256}
            virtual_cpu: {num_virtual_cpu: 1, cpu_architecture: X86}
            virtual_local_storage: {size_of_storage: 2}
    app_configuration:
      type: tosca.nodes.nfv.app.configuration
      properties:
        appSupportMp1: true
        appName: {get_input: app_name}
        appServiceProduced: [{serName: hello, version: 1.10, dnsRuleIdList: [d1]}]
        appDNSRule: [{dnsRuleId: d1, domainName: hello.example, ipAddressType: IP_V4, ipAddress: 192.0.2.7}]
"""
VNFD_META = "VNFD-Meta-File-Version: 1.0\n\nEntry-Definitions: Definition/MainServiceTemplate.yaml\n"


def edgegallery_files(*, appd: str = "zip", images: bool = True, **changes: str) -> dict[str, bytes | str]:
    """The files of an EdgeGallery package without its manifest; `appd` is `zip` or `folder`."""
    inner: dict[str, bytes | str] = {
        "TOSCA_VNFD.meta": VNFD_META,
        "Definition/MainServiceTemplate.yaml": changes.get("template", TEMPLATE),
    }
    entry = "APPD/MainServiceTemplate.zip" if appd == "zip" else "APPD/Definition/MainServiceTemplate.yaml"
    files: dict[str, bytes | str] = {
        "TOSCA-Metadata/TOSCA.meta": (
            f"TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: EdgeGallery\nEntry-Definitions: {entry}\n\n"
            f"Name: {entry}\nContent-Type: appd\n\nName: Image/SwImageDesc.json\nContent-Type: SwImageDesc\n"
        ),
        "Artifacts/Deployment/Charts/hello.tgz": chart_bytes(),
        "Artifacts/Docs/template.md": "# hello\n",
    }
    files |= {entry: zip_bytes(inner)} if appd == "zip" else {f"APPD/{name}": text for name, text in inner.items()}
    if images:
        item = {"name": "localhost/breakwater/hello:1.0", "version": "1.0", "swImage": "Image/hello.tar", "size": 1}
        files["Image/SwImageDesc.json"] = json.dumps([item])
        files["Image/hello.tar"] = image_bytes()
    return files


def manifest_of(files: Mapping[str, bytes | str], **values: str) -> str:
    """A right manifest for these files, in EdgeGallery's spelling."""
    metadata = {
        "app_product_name": "hello",
        "app_provider_id": "Acme",
        "app_package_version": "1.0",
        "app_release_data_time": "2021-07-02 14:50",
        "app_class": "container",
        "app_package_description": "Says hello",
        **values,
    }
    lines = ["metadata:", *(f"{key}: {value}" for key, value in metadata.items() if value), ""]
    for name, content in files.items():
        digest = hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
        lines += [f"Source: {name}", "Algorithm: SHA-256", f"Hash: {digest}", ""]
    return "\n".join(lines)


def edgegallery(*, wrapper: str = "", **options: Any) -> bytes:
    """An EdgeGallery package with a right manifest."""
    files = edgegallery_files(**options)
    files = {"hello.mf": manifest_of(files), **files}
    return zip_bytes({wrapper + name: content for name, content in files.items()})
