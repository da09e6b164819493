"""Nodes on a map: GeoJSON (RFC 7946) from one query."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q

if TYPE_CHECKING:
    from mecm.nodes.models import Node, NodeQuerySet

MEDIA_TYPE = "application/geo+json"

_HELD = ~Q(deployments__state__in=("removed", "abandoned"))


def collection(nodes: NodeQuerySet) -> dict[str, Any]:
    """Return the nodes that have coordinates as a FeatureCollection, with what a marker needs to know."""
    rows = (
        nodes.filter(latitude__isnull=False)
        .select_related("organisation")
        .defer("kubeconfig", "mep_token", "mep_ca", "facts")
        .annotate(
            deployed=Count("deployments", filter=_HELD),
            ready=Count("deployments", filter=Q(deployments__state="ready")),
            failed=Count("deployments", filter=Q(deployments__state="failed")),
        )
        .order_by("name", "id")
    )
    return {"type": "FeatureCollection", "features": [_feature(node) for node in rows]}


def encode(document: dict[str, Any]) -> tuple[bytes, str]:
    """Return the document's bytes and its strong ETag (RFC 9110, 8.8.3): equal content has an equal tag."""
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _feature(node: Node) -> dict[str, Any]:
    # No time of the last sign of life: it would change the tag with every heartbeat.
    return {
        "type": "Feature",
        "id": str(node.pk),
        "geometry": {"type": "Point", "coordinates": [node.longitude, node.latitude]},
        "properties": {
            "name": node.name,
            "state": node.state,
            "engine": node.engine,
            "link": node.link,
            "organisation": node.organisation.slug,
            "labels": node.labels,
            "simulated": node.simulated,
            "deployments": node.deployed,  # type: ignore[attr-defined]
            "ready": node.ready,  # type: ignore[attr-defined]
            "failed": node.failed,  # type: ignore[attr-defined]
        },
    }
