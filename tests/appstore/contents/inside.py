"""Packages that have something inside: a chart that asks for everything, images with package databases, pictures."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from tests.appstore.making import edgegallery_files, manifest_of, tar_bytes, zip_bytes

CHART = """apiVersion: v2
name: hello
version: 1.2.0
description: Says hello
keywords: [greeting, edge]
maintainers: [{name: Acme}]
annotations:
  artifacthub.io/license: Apache-2.0
  artifacthub.io/category: networking
  artifacthub.io/changes: |
    - kind: security
      description: Closes a hole
    - kind: added
      description: Speaks French
    - Says it louder
"""
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
        - name: web
          image: localhost/breakwater/hello:1.0
          ports: [{containerPort: 8080, name: http}]
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {selector: {app: hello}, ports: [{port: 80, targetPort: 8080, name: http}]}
"""
SCHEMA = {
    "type": "object",
    "required": ["replicas"],
    "properties": {
        "replicas": {"type": "integer", "minimum": 1, "default": 2, "description": "How many pods"},
        "log": {"type": "object", "properties": {"level": {"enum": ["info", "debug"], "default": "info"}}},
    },
}
GREEDY = """apiVersion: apps/v1
kind: DaemonSet
metadata: {name: greedy}
spec:
  selector: {matchLabels: {app: greedy}}
  template:
    metadata:
      labels: {app: greedy}
      annotations: {k8s.v1.cni.cncf.io/networks: sriov-n6}
    spec:
      hostNetwork: true
      hostPID: true
      hostIPC: true
      shareProcessNamespace: true
      serviceAccountName: greedy
      priorityClassName: system-node-critical
      securityContext: {sysctls: [{name: kernel.msgmax, value: "1"}], appArmorProfile: {type: Unconfined}}
      volumes:
        - {name: root, hostPath: {path: /}}
        - {name: sock, hostPath: {path: /run/containerd/containerd.sock}}
        - {name: tun, hostPath: {path: /dev/net/tun, type: CharDevice}}
      containers:
        - name: all
          image: registry.example/greedy@sha256:DIGEST
          volumeMounts: [{name: root, mountPath: /host, readOnly: true}]
          securityContext:
            privileged: true
            allowPrivilegeEscalation: true
            runAsUser: 0
            procMount: Unmasked
            capabilities: {add: [CAP_SYS_ADMIN, NET_ADMIN, NET_BIND_SERVICE]}
            seccompProfile: {type: Unconfined}
          ports: [{containerPort: 2152, hostPort: 2152, protocol: UDP}]
          resources: {limits: {nvidia.com/gpu: 1, hugepages-2Mi: 64Mi}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: greedy}
rules:
  - {apiGroups: [""], resources: [secrets], verbs: [get, list]}
  - {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: greedy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: greedy, namespace: app}]
---
apiVersion: v1
kind: Service
metadata: {name: greedy, namespace: kube-system}
spec: {type: NodePort, externalIPs: [192.0.2.1], ports: [{port: 53, nodePort: 30053}]}
""".replace("DIGEST", "a" * 64)

DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u4
Description: library
 with a second line

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b2
"""
APK = "C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\n\nC:Q1y\nP:busybox\nV:1.36.1-r5\nA:x86_64\nL:GPL-2.0-only\n\n"
DEBIAN = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": DPKG}
ALPINE = {"etc/os-release": "ID=alpine\nVERSION_ID=3.18.4\n", "lib/apk/db/installed": APK}
PYTHON = {
    "usr/lib/python3/site-packages/Flask-3.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: Flask\nVersion: 3.0\nLicense: BSD-3-Clause\n\nName: not this\n"
    )
}
NODE = {
    "app/node_modules/@scope/left/package.json": '{"name": "@scope/left", "version": "1.3.0", "license": "WTFPL"}',
    "app/node_modules/left/lib/package.json": '{"type": "module"}',
}


def image(
    *layers: Mapping[str, str | bytes],
    name: str = "localhost/breakwater/hello:1.0",
    packed: bool = False,
    oci: bool = False,
) -> bytes:
    """A docker-archive with these layers, the lowest first; `packed` gzips each layer."""
    config = json.dumps({"architecture": "arm64", "os": "linux", "variant": "v8"}).encode()
    files: dict[str, bytes | str] = {"config.json": config}
    names = []
    for number, layer in enumerate(layers):
        names.append(f"{number}/layer.tar")
        files[names[-1]] = tar_bytes(layer, packed=packed)
    files["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": names}])
    if oci:
        manifest = json.dumps({"config": {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}"}}).encode()
        digest = hashlib.sha256(manifest).hexdigest()
        files[f"blobs/sha256/{digest}"] = manifest
        files["index.json"] = json.dumps({"manifests": [{"digest": f"sha256:{digest}"}]})
    return tar_bytes(files)


def chart(chart_yaml: str = CHART, name: str = "hello", **files: str | bytes) -> bytes:
    """A packed chart with a workload; more files by path with `__` for slashes."""
    content: dict[str, bytes | str] = {
        "Chart.yaml": chart_yaml,
        "values.yaml": "replicas: 2\n",
        "values.schema.json": json.dumps(SCHEMA),
        "templates/hello.yaml": DEPLOYMENT,
    }
    content |= {path.replace("__", "/"): text for path, text in files.items()}
    return tar_bytes({f"{name}/{path}": text for path, text in content.items() if text}, packed=True)


def csar(
    *, version: str = "1.0", chart_file: bytes | None = None, image_file: bytes | None = None, **more: Any
) -> bytes:
    """An EdgeGallery package around a chart and an image; more members by path as a mapping `files`."""
    files = edgegallery_files(images=image_file is not None)
    if image_file is not None:
        files["Image/hello.tar"] = image_file
    files["Artifacts/Deployment/Charts/hello.tgz"] = chart() if chart_file is None else chart_file
    files |= more.pop("files", {})
    facts = {"app_package_version": version, **more}
    return zip_bytes({"hello.mf": manifest_of(files, **facts), **files})


def png(width: int = 2, height: int = 2) -> bytes:
    """A whole PNG."""
    rows = b"".join(b"\0" + b"\x10\x80\xf0" * width for _ in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gzipped(content: bytes) -> bytes:
    """The same as gzip."""
    return gzip.compress(content, mtime=0)


def tar_with_link(name: str, target: str) -> bytes:
    """A tar in which a name is a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        tar.addfile(info)
    return out.getvalue()
