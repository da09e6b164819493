"""Packages as a careful developer would build them, small enough for a test: a chart of good habits, and its CSAR."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from appstore.packages.packager import build_csar
from core.appd import AppDescriptor, Compute, ServiceProduced
from tests.appstore.making import image_bytes, tar_bytes

_LABELS = "{app.kubernetes.io/name: NAME, app.kubernetes.io/instance: {{ .Release.Name }}}"
#: `TROUBLE` names what goes wrong in a simulated runtime; nothing does when it is empty. See `engines/memory.py`.
_DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}-NAME", labels: LABELS}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: LABELS}
  template:
    metadata:
      labels: LABELS
      annotations: {breakwater.dev/simulate: {{ TROUBLE | quote }}}
    spec:
      hostNetwork: HOSTED
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: app
          image: "localhost/breakwater/NAME:VERSION"
          imagePullPolicy: IfNotPresent
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
          livenessProbe: {httpGet: {path: /alive, port: http}}
          resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
"""
_SERVICE = """apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}-NAME", labels: LABELS}
spec:
  selector: LABELS
  ports: [{name: http, port: 8080, targetPort: http}]
"""
_SCHEMA = """{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
  "replicas": {"type": "integer", "minimum": 0, "maximum": 9, "description": "How many run at once"},
  "trouble": {"type": "string", "enum": ["", "image-missing", "probe-failing"]}}}"""


def chart(
    name: str,
    version: str,
    *,
    provider: str,
    about: str,
    category: str = "",
    licence: str = "Apache-2.0",
    trouble: str = ".Values.trouble",
    host_network: bool = False,
    schema: bool = True,
) -> bytes:
    """Return a packed chart: probes, limits, no rights beyond the usual (but the host's network, when that is asked for)."""
    words = {
        "LABELS": _LABELS,
        "NAME": name,
        "VERSION": version,
        "TROUBLE": trouble,
        "HOSTED": str(host_network).lower(),
    }

    def written(template: str) -> str:
        for word, meant in words.items():
            template = template.replace(word, meant)
        return template

    notes = f"{{artifacthub.io/category: {category!r}, artifacthub.io/license: {licence!r}}}"
    files = {f"{name}/values.schema.json": _SCHEMA} if schema else {}
    return tar_bytes(
        {
            **files,
            f"{name}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: {version!r}\n"
            f"description: {about!r}\nmaintainers: [{{name: {provider!r}}}]\nannotations: {notes}\n",
            f"{name}/values.yaml": "replicas: 1\ntrouble: ''\n",
            f"{name}/README.md": f"# {name}\n\n{about}\n\n## Requirements\n\nOne core and a view of the water.\n",
            f"{name}/CHANGELOG.md": f"# Changes\n\n## {version}\n\n### Added\n\n- A quieter start.\n",
            f"{name}/templates/deployment.yaml": written(_DEPLOYMENT),
            f"{name}/templates/service.yaml": written(_SERVICE),
        },
        packed=True,
    )


def csar(name: str, version: str, *, provider: str, about: str, **chart_facts: Any) -> bytes:
    """Return an EdgeGallery and ETSI package of that chart with its image."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        image, packed = folder / f"{name}.tar", folder / f"{name}.tgz"
        image.write_bytes(image_bytes(f"localhost/breakwater/{name}:{version}"))
        packed.write_bytes(chart(name, version, provider=provider, about=about, **chart_facts))
        made = build_csar(
            folder / "app.csar",
            metadata={"released_at": "2026-11-23T00:00:00+00:00"},
            appd=AppDescriptor(
                name=name,
                provider=provider,
                version=version,
                description=about,
                mec_versions=("3.1.1",),
                services_produced=(ServiceProduced(ser_name=f"{name}-data", version=version),),
                compute=Compute(architecture="amd64", cpu_millis=50, memory_bytes=32 << 20),
                graceful_termination_timeout=1,
            ),
            chart=packed,
            images=[image],
        )
        return made.read_bytes()


def damaged(content: bytes, member: str) -> bytes:
    """Return the package with one more line in a member, which its manifest does not know of."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "app.csar"
        path.write_bytes(content)
        target = Path(scratch) / "damaged.csar"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            for info in old.infolist():
                new.writestr(
                    info, old.read(info) + (b"\nand a line too many\n" if info.filename.endswith(member) else b"")
                )
        return target.read_bytes()
