"""The release that pages show: its chart and its descriptor."""

from __future__ import annotations

import io
import tarfile
from typing import Any

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: hello\nversion: 1.0.0\n",
    "values.yaml": "replicas: 1\ncpu: 500m\n",
    "values.schema.json": '{"type": "object", "properties": {"replicas": {"type": "integer"}}}',
    "templates/deployment.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n"
        "  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: hello}}\n  template:\n"
        "    metadata: {labels: {app: hello}}\n    spec:\n      containers:\n        - name: web\n"
        "          image: localhost/breakwater/hello:1\n"
        "          resources: {requests: {cpu: {{ .Values.cpu }}, memory: 64Mi}}\n"
    ),
}
DESCRIPTOR: dict[str, Any] = {
    "appName": "hello",
    "appProvider": "Acme",
    "appSoftVersion": "1.0.0",
    "appServiceProduced": [{"serName": "greeting", "version": "1.0"}],
    "appServiceRequired": [{"serName": "location"}],
    "appServiceOptional": [{"serName": "radio"}],
    "appTrafficRule": [
        {
            "trafficRuleId": "tr-1",
            "filterType": "FLOW",
            "priority": 3,
            "trafficFilter": [{"dstAddress": ["192.0.2.0/24"]}],
            "action": "FORWARD_DECAPSULATED",
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "192.0.2.9"}],
        }
    ],
    "appDNSRule": [
        {
            "dnsRuleId": "dns-1",
            "domainName": "hello.example",
            "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.9",
            "ttl": 60,
        }
    ],
}


def chart() -> bytes:
    """Return a packed chart."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in CHART.items():
            member = tarfile.TarInfo(f"hello/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()
