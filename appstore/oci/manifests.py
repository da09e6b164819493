"""OCI manifests for charts and bills of materials, as Helm and the specification want them. Touches nothing.

OCI Image Specification 1.1 ("Image Manifest Specification", "Guidance for an Empty Descriptor"), Distribution
Specification 1.1, and Helm's HIP 6 for the media types and the tags of charts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
EMPTY_TYPE, EMPTY = "application/vnd.oci.empty.v1+json", "{}"
SBOM = "application/vnd.cyclonedx+json"
#: The version of the release, where it is not the chart's own.
RELEASE = "io.breakwater.release.version"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_STEP = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")


def tag_of(version: str) -> str:
    """Return the tag of a version: Helm writes `_` for the `+` that a tag cannot have; empty when it can be none."""
    tag = version.strip().replace("+", "_")
    return tag if _TAG.match(tag) else ""


def step_of(text: str) -> str:
    """Return a name as one step of a repository's path: small letters, digits, single separators."""
    step = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    step = re.sub(r"([._-])[._-]*", r"\1", step).strip("._-")[:100].strip("._-")
    return step if _STEP.match(step) else ""


def canonical(document: Any) -> str:
    """Return JSON that comes out the same each time."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def chart(metadata: Mapping[str, Any], *, layer: str, size: int, created: str, release: str) -> tuple[str, str]:
    """Return configuration and manifest of a chart whose archive is the layer."""
    config = canonical(dict(metadata))
    annotations = {
        "org.opencontainers.image.title": str(metadata.get("name", "")),
        "org.opencontainers.image.version": str(metadata.get("version", "")),
        "org.opencontainers.image.description": str(metadata.get("description") or "")[:1000],
        "org.opencontainers.image.created": created,
        RELEASE: release,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CHART_CONFIG, digest_of(config), len(config.encode())),
        "layers": [_descriptor(CHART_LAYER, layer, size)],
        "annotations": {name: value for name, value in annotations.items() if value},
    }
    return config, canonical(manifest)


def bill(*, layer: str, size: int, subject: str, subject_size: int, created: str) -> tuple[str, str]:
    """Return configuration and manifest of a bill of materials about the manifest `subject`."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SBOM,
        "config": _descriptor(EMPTY_TYPE, digest_of(EMPTY), len(EMPTY)),
        "layers": [_descriptor(SBOM, layer, size)],
        "subject": _descriptor(MANIFEST, subject, subject_size),
        "annotations": {"org.opencontainers.image.created": created},
    }
    return EMPTY, canonical(manifest)


def referrer(body: str) -> dict[str, Any]:
    """Return how an index of referrers describes a manifest."""
    told = json.loads(body)
    return {
        **_descriptor(MANIFEST, digest_of(body), len(body.encode())),
        "artifactType": told.get("artifactType", ""),
        "annotations": told.get("annotations", {}),
    }


def index(referrers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of the referrers API."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": referrers}


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}
