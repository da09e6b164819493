"""Making the manifests under which charts and bills of materials are served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from appstore.contents.models import Contents
from appstore.oci import manifests
from appstore.oci.models import Artifact
from appstore.packages import blobs, charts
from appstore.packages.documents import read_yaml
from appstore.packages.models import Package
from appstore.packages.services import storable
from core.archives import Damaged, Limits, open_archive
from core.errors import Invalid

_LIMITS = Limits(total_bytes=256 << 20, member_bytes=64 << 20)


@transaction.atomic
def prepare(contents: Contents) -> list[Artifact]:
    """Make the manifests of a package; one without a chart that can be named has none. Twice is once."""
    package = contents.package
    metadata = _metadata(package)
    name, provider = manifests.step_of(package.name), manifests.step_of(package.provider)
    tag = manifests.tag_of(str(metadata.get("version", "")))
    Artifact.objects.filter(package=package).delete()
    if not metadata or not name or not tag:
        return []
    created = package.created_at.replace(microsecond=0).isoformat()
    size = blobs.path_of(package.chart_sha256).stat().st_size
    config, body = manifests.chart(
        metadata, layer=package.chart_sha256, size=size, created=created, release=package.version
    )
    about = {"package": package, "name": name, "provider": provider or name}
    chart = Artifact(
        **about, kind=Artifact.Kind.CHART, chart_tag=tag, release_tag=manifests.tag_of(package.version), body=body,
        digest=manifests.digest_of(body), config=config, config_digest=manifests.digest_of(config),
        layer_digest=package.chart_sha256, layer_size=size,
    )  # fmt: skip
    made = [chart]
    if contents.sbom_sha256:
        config, body = manifests.bill(
            layer=contents.sbom_sha256, size=contents.sbom_size, subject=chart.digest,
            subject_size=len(chart.body.encode()), created=created,
        )  # fmt: skip
        made.append(
            Artifact(
                **about,
                kind=Artifact.Kind.SBOM,
                body=body,
                digest=manifests.digest_of(body),
                config=config,
                config_digest=manifests.digest_of(config),
                layer_digest=contents.sbom_sha256,
                layer_size=contents.sbom_size,
            )
        )
    return Artifact.objects.bulk_create(made)


def _metadata(package: Package) -> Mapping[str, Any]:
    """Return Chart.yaml of the package's chart, ready for JSON; empty when it has none that can be read."""
    if not package.chart_sha256:
        return {}
    try:
        with open_archive(blobs.path_of(package.chart_sha256), _LIMITS) as archive:
            root = charts.root_of(archive)
            if not root:
                return {}
            told = read_yaml(archive.read(f"{root}/Chart.yaml"), "Chart.yaml")
    except (Damaged, Invalid):
        return {}
    if not isinstance(told, Mapping):
        return {}
    metadata: dict[str, Any] = storable(json.loads(json.dumps(told, default=str)))
    return metadata
